"""One file that contains images, such as an archive: local or in a store, read in ranges.

Ranges are read by offset, without a shared position, so several threads can read at once.
"""

from __future__ import annotations

import io
import math
import os
import threading
import time
from abc import ABC, abstractmethod
from io import BufferedReader
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from shared.images.opening import ImageProblem
from shared.images.sources.addresses import Place
from shared.images.sources.source import NONE, ImageAway, Stamp
from shared.images.sources.stores import Store

AHEAD = 1 << 20
"""Bytes per read where a table of contents is read in small pieces."""
MOST_AT_ONCE = 128 << 20
"""Maximum bytes of one read of a table of contents, so that a forged length cannot exhaust memory."""


class Blob(Protocol):
    """One file. Thread-safe."""

    far: bool

    @property
    def place(self) -> Place:
        """Its path or address."""

    def look(self) -> tuple[int, Stamp]:
        """Return the size in bytes and the stamp. Raises ImageProblem, ImageAway."""

    def part(self, start: int, end: int) -> bytes:
        """Return the bytes from `start` to `end`, or fewer at the end of the file. Raises ImageProblem, ImageAway."""


class LocalBlob:
    """A local file."""

    far = False

    def __init__(self, path: Path) -> None:
        self.place = path

    def look(self) -> tuple[int, Stamp]:
        """See Blob."""
        try:
            status = self.place.stat()
        except (OSError, ValueError):
            return 0, NONE
        return status.st_size, (status.st_size, status.st_mtime_ns)

    def part(self, start: int, end: int) -> bytes:
        """See Blob."""
        try:
            with self.place.open("rb") as stream:
                stream.seek(start)
                return stream.read(end - start)
        except FileNotFoundError:
            raise ImageProblem("no longer exists") from None
        except OSError as error:  # for example an unplugged disk, or too many open files
            raise ImageAway(f"cannot be read now ({error.strerror})") from None


class FarBlob:
    """A file in a store."""

    far = True

    def __init__(self, address: str, store: Store) -> None:
        self.place = address
        self._store = store

    def look(self) -> tuple[int, Stamp]:
        """See Blob."""
        return self._store.look(self.place)

    def part(self, start: int, end: int) -> bytes:
        """See Blob."""
        return self._store.read(self.place, start, end)


class Stamped(Protocol):
    """Facts that were read from a file with images."""

    @property
    def stamp(self) -> Stamp:
        """The stamp of the file when they were read."""


C = TypeVar("C", bound=Stamped)


class SourceInFile(ABC, Generic[C]):
    """What sources in one file have in common: the contents are read once, and again when the file has changed."""

    cached_seconds = math.inf
    """How long the stamp of a file in a store is cached. A listing checks it, and a local file is checked each time."""

    def __init__(self, blob: Blob, *, far: bool, readers: int) -> None:
        self.place, self.far, self.readers = blob.place, far, readers
        self._blob = blob
        self._lock = threading.Lock()
        self._contents: C | None = None
        self._looked = -math.inf

    def open(self, uri: str) -> BufferedReader | None:
        """None: an image is read as a whole."""
        return None

    def is_there(self) -> bool:
        """Whether the file exists, if it is local."""
        return self._blob.far or self._blob.look()[1] != NONE

    def _current(self, *, look: bool = False) -> C:
        """The contents. Raises ImageProblem, ImageAway."""
        with self._lock:
            now, kept = time.monotonic(), self._contents
            if kept is not None and self._blob.far and not look and now - self._looked < self.cached_seconds:
                return kept
            size, stamp = self._blob.look()
            if stamp == NONE:
                raise ImageProblem("no longer exists")
            self._looked = now
            if kept is None or kept.stamp != stamp:
                kept = self._contents = self._read_contents(size, stamp)
            return kept

    def _known(self) -> C | None:
        """The contents; None if there are none. Raises ImageAway."""
        try:
            return self._current()
        except ImageAway:
            raise
        except ImageProblem:
            return None

    @abstractmethod
    def _read_contents(self, size: int, stamp: Stamp) -> C:
        """Read the contents of the file. Raises ImageProblem, ImageAway."""


class Stream(io.RawIOBase):
    """A blob as a file object with a position, for libraries that need one. Not thread-safe."""

    def __init__(self, blob: Blob, size: int, most: int = MOST_AT_ONCE) -> None:
        super().__init__()
        self._blob, self._size, self._most = blob, size, most
        self._at = 0
        self._kept, self._kept_at = b"", 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The position."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position."""
        self._at = max(offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence], 0)
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Read from the position. Raises ImageProblem for more than `most` bytes at once."""
        left = max(self._size - self._at, 0)
        wanted = left if size is None or size < 0 else min(size, left)
        if wanted > self._most:
            raise ImageProblem("is damaged, or lists more images than can be read: split it")
        skipped = self._at - self._kept_at
        if not 0 <= skipped <= len(self._kept) - wanted:
            self._kept = self._blob.part(self._at, min(self._at + max(wanted, AHEAD), self._size))
            self._kept_at, skipped = self._at, 0
        data = self._kept[skipped : skipped + wanted]
        self._at += len(data)
        return data

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """See `read`."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
