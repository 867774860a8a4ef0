"""The objects under an address of a store, such as `s3://bucket/photos`, as a source of images.

They are listed in the order in which `shared.images.finding` walks a folder, so a folder and its copy in a bucket give
the same list. The store lists all at once if it can, else one folder at a time. Names alone decide what is an image:
nothing is opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedReader

from shared.images.finding import Passed, counted, is_left_out
from shared.images.opening import ImageLimits, ImageProblem, check_bytes
from shared.images.sources.addresses import climbs
from shared.images.sources.source import NONE, ImageAway, Listed, Stamp, is_image_name
from shared.images.sources.stores import Store

DEEPEST = 64
"""Maximum depth of nested folders."""


class ObjectSource:
    """The objects under one address. A listing includes their stamps."""

    readers = 16
    far = True

    def __init__(self, address: str, store: Store) -> None:
        self.place = address.rstrip("/")
        self._store = store

    def listed(self, passed: Passed) -> Iterator[Listed]:
        """See ImageSource."""
        keys = self._store.keys(self.place)
        return self._folder("", passed, 0) if keys is None else self._flat(keys, passed)

    def stamp(self, uri: str) -> Stamp:
        """See ImageSource."""
        try:
            return self._store.look(self._address(uri))[1]
        except ImageAway:
            raise
        except ImageProblem:
            return NONE

    def read(self, uri: str, limits: ImageLimits) -> bytes:
        """See ImageSource."""
        data = self._store.read(self._address(uri), 0, limits.max_bytes + 1)
        check_bytes(len(data), limits)
        return data

    def open(self, uri: str) -> BufferedReader | None:
        """None: an object is read as a whole."""
        return None

    def is_there(self) -> bool:
        """True, because only a request to the store could tell."""
        return True

    def _address(self, uri: str) -> str:
        if climbs("/" + uri) or uri.startswith("/"):
            raise ImageProblem("is outside the image folder")
        return f"{self.place}/{uri}"

    def _flat(self, keys: Iterator[tuple[str, int, Stamp]], passed: Passed) -> Iterator[Listed]:
        for name, _, stamp in keys:
            if name and not name.endswith("/") and is_image_name(name, passed):  # an object may stand for a folder
                yield name, stamp

    def _folder(self, prefix: str, passed: Passed, depth: int) -> Iterator[Listed]:
        below: list[tuple[str, Stamp]] = []
        for name, _, stamp in self._store.entries(f"{self.place}/{prefix}".rstrip("/")):
            if is_left_out(name.rstrip("/")):
                passed.hidden[name] += 1
            elif not name.strip("/") or climbs("/" + name) or (name.endswith("/") and depth >= DEEPEST):
                passed.unusable[prefix + name] += 1
            elif name.endswith("/") or counted(name, passed):
                below.append((name, stamp))
        for name, stamp in sorted(below):
            if name.endswith("/"):
                yield from self._folder(prefix + name, passed, depth + 1)
            else:
                yield prefix + name, stamp
