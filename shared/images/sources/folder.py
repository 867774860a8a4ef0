"""A local folder as a source of images: see `shared.images.finding`."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from io import BufferedReader
from pathlib import Path

from shared.images import finding
from shared.images.finding import Passed
from shared.images.near_files import NearFiles
from shared.images.opening import ImageLimits
from shared.images.sources.source import NONE, Listed, Stamp


class FolderSource:
    """One folder. Links may lead into the folders that `also` returns."""

    readers = 2
    far = False

    def __init__(self, folder: Path, also: Callable[[], Collection[Path]] = tuple) -> None:
        self.place = folder
        self._also = also

    def listed(self, passed: Passed) -> Iterator[Listed]:
        """All images, in code point order. Raises ImageProblem."""
        return ((uri, None) for uri in finding.find_images(self.place, passed, self._also()))

    def stamp(self, uri: str) -> Stamp:
        """Size (bytes) and modification time (ns)."""
        try:
            status = os.stat(f"{self.place}/{uri}")  # noqa: PTH116 - a million times
        except (OSError, ValueError):
            return NONE
        return status.st_size, status.st_mtime_ns

    def read(self, uri: str, limits: ImageLimits) -> bytes:
        """The content of a file. Raises ImageProblem."""
        return finding.read(uri, self.place, limits, self._also())

    def near(self, limits: ImageLimits) -> NearFiles:
        """Its files, for reading many of them one after another."""
        return NearFiles(self.place, limits, self._also())

    def open(self, uri: str) -> BufferedReader | None:
        """The open file. Raises ImageProblem."""
        return finding.opened(uri, self.place, self._also())

    def is_there(self) -> bool:
        """Whether the folder exists."""
        return self.place.is_dir()
