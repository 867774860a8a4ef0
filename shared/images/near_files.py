"""Reads many files of a folder, one after another, in the order of a listing.

`finding.read` resolves every part of a path for each file, so that nothing outside the folder is read: twenty system
calls. Here a sub-folder is resolved once, and kept open while the files that follow are in it. A file in it is opened
by its name alone, and never through a link. What is unusual in any way (a link, a pipe, an empty or too large file, a
failure) is left to `finding.read`, which knows every case and its sentence.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import NamedTuple, Self

from shared.images.finding import is_inside
from shared.images.opening import ImageLimits

_CAN = os.open in os.supports_dir_fd and all(hasattr(os, name) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_DIRECTORY"))


class Content(NamedTuple):
    """A file's size in bytes, its modification time in ns, and its content."""

    size: int
    mtime_ns: int
    data: bytes


class NearFiles:
    """The files under `root`; links to folders may lead into a folder in `also`. One thread uses it, in a `with` block.

    Keep it for a moment only: while a folder is open, another one may take its place.
    """

    def __init__(self, root: Path, limits: ImageLimits, also: Collection[Path] = ()) -> None:
        self._root, self._limits, self._also = root, limits, also
        self._name: str | None = None  # of the folder that was opened last
        self._folder: int | None = None  # its descriptor, if it can be used

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def read(self, uri: str) -> Content | None:
        """An ordinary file; None if `finding.read` must decide."""
        folder, _, name = uri.rpartition("/")
        if folder != self._name:
            self._close()
            self._folder, self._name = self._opened(folder), folder
        if self._folder is None or name in ("", ".", "..") or uri.startswith("/") or "//" in uri:
            return None
        try:
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._folder)
        except (OSError, ValueError):
            return None
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size <= self._limits.max_bytes:
                return None
            data = os.read(file, status.st_size + 1)  # one more: it may grow meanwhile
        except OSError:
            return None
        finally:
            os.close(file)
        return Content(status.st_size, status.st_mtime_ns, data) if len(data) == status.st_size else None

    def _opened(self, folder: str) -> int | None:
        """The descriptor of a sub-folder inside the root."""
        path = PurePosixPath(folder)
        if not _CAN or path.is_absolute() or ".." in path.parts:
            return None
        try:
            base = os.path.realpath(self._root, strict=True)
            real = os.path.realpath(f"{base}/{folder}", strict=True)
            if not is_inside(real, base, self._also):
                return None
            return os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC)
        except (OSError, ValueError, RuntimeError):  # RuntimeError: circular links, up to Python 3.12
            return None

    def _close(self) -> None:
        if self._folder is not None:
            os.close(self._folder)
        self._name = self._folder = None
