"""Several files of one kind in one folder, such as `shards/*.tar`, as a source of images.

The URI of an image begins with the name of its file. The next listing includes new files.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from io import BufferedReader
from pathlib import Path

from shared.images.finding import Passed, is_left_out
from shared.images.opening import ImageLimits, ImageProblem
from shared.images.sources.addresses import Place
from shared.images.sources.blobs import Blob, FarBlob, LocalBlob
from shared.images.sources.source import NONE, ImageSource, Listed, Stamp
from shared.images.sources.stores import Store

MOST_FILES = 10_000


class ShardSource:
    """The files that match a pattern. `read_one` opens each as a source."""

    def __init__(self, place: Place, store: Store | None, read_one: Callable[[Blob], ImageSource]) -> None:
        """`store` is the store of an address; None for a local pattern."""
        self.place, self._store, self._read_one = place, store, read_one
        self.far = store is not None
        text = str(place.absolute() if isinstance(place, Path) else place)
        self._folder, _, self._pattern = text.rpartition("/")
        self.readers = 16 if self.far else 2
        self._sources: dict[str, ImageSource] = {}
        self._lock = threading.Lock()

    def listed(self, passed: Passed) -> Iterator[Listed]:
        """See ImageSource."""
        names = sorted(self._names())
        if len(names) > MOST_FILES:
            raise ImageProblem(f"matches more than {MOST_FILES:,} files: name fewer at a time")
        there = set(names)
        with self._lock:  # forget vanished files with their tables of contents
            self._sources = {name: each for name, each in self._sources.items() if name in there}
        for name in names:
            source = self._of(name)
            try:
                yield from ((f"{name}/{uri}", stamp) for uri, stamp in source.listed(passed))
            except ImageProblem as problem:
                raise type(problem)(f"has the file {name}, which {problem}") from None

    def stamp(self, uri: str) -> Stamp:
        """See ImageSource."""
        name, _, member = uri.partition("/")
        return self._of(name).stamp(member) if self._matches(name) else NONE

    def read(self, uri: str, limits: ImageLimits) -> bytes:
        """See ImageSource."""
        name, _, member = uri.partition("/")
        if not self._matches(name):
            raise ImageProblem("no longer exists")
        return self._of(name).read(member, limits)

    def open(self, uri: str) -> BufferedReader | None:
        """None: an image is read as a whole."""
        return None

    def is_there(self) -> bool:
        """Whether any file matches, if the pattern is local."""
        return self.far or bool(self._names())

    def _matches(self, name: str) -> bool:
        return bool(name) and fnmatchcase(name, self._pattern) and not is_left_out(name)

    def _names(self) -> list[str]:
        if self._store is not None:
            return [name for name, _, _ in self._store.entries(self._folder) if self._matches(name)]
        try:
            return [each.name for each in Path(self._folder).iterdir() if self._matches(each.name)]
        except OSError as error:
            raise ImageProblem(f"is in a folder that cannot be read ({error.strerror})") from None

    def _of(self, name: str) -> ImageSource:
        with self._lock:
            if name not in self._sources:
                path = f"{self._folder}/{name}"
                blob = FarBlob(path, self._store) if self._store is not None else LocalBlob(Path(path))
                self._sources[name] = self._read_one(blob)
            return self._sources[name]
