"""Which source a place is: a folder, an archive, several of them, or the objects of a store.

Stores are shared by all sources of a process, so that a store that does not answer is left alone by all of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from shared.images.opening import ImageProblem
from shared.images.sources.addresses import WEB, AddressProblem, Place, checked, is_within
from shared.images.sources.archives import COMPRESSED, ENDINGS, ArchiveSource
from shared.images.sources.blobs import Blob, FarBlob, LocalBlob
from shared.images.sources.folder import FolderSource
from shared.images.sources.objects import ObjectSource
from shared.images.sources.shards import ShardSource
from shared.images.sources.source import ImageSource
from shared.images.sources.stores import FileSystemStore, Store
from shared.images.sources.web import WebStore

FILES = ENDINGS
"""Endings, lower case, of files that contain images."""


class Sources:
    """Opens sources. `allowed` are addresses that may be read beside each place itself."""

    def __init__(self, allowed: Sequence[str] = ()) -> None:
        self._allowed = tuple(allowed)
        self._stores: dict[str, Store] = {}
        self._lock = threading.Lock()

    def source(self, place: Place, also: Callable[[], Collection[Path]] = tuple) -> ImageSource:
        """The source at a place. Raises ImageProblem if it cannot be one."""
        kind = ending(place)
        if kind in COMPRESSED:
            raise ImageProblem("is compressed as a whole: unpack it, and name the folder or an uncompressed .tar")
        if isinstance(place, Path) and not kind:
            return FolderSource(place, also)
        store = self.store(place) if isinstance(place, str) else None
        if store is not None and not kind:
            return ObjectSource(str(place), store)
        if is_pattern(place):
            return ShardSource(place, store, lambda blob: ArchiveSource(blob, kind))
        blob: Blob = LocalBlob(Path(place)) if store is None else FarBlob(str(place), store)
        return ArchiveSource(blob, kind)

    def store(self, address: str) -> Store:
        """The store of an address that a person named. Raises ImageProblem."""
        try:
            address = checked(address)
        except AddressProblem as problem:
            raise ImageProblem(str(problem)) from None
        scheme, _, rest = address.partition("://")
        key = address if scheme in WEB else f"{scheme}://{rest.partition('/')[0]}"
        with self._lock:
            if key not in self._stores:
                self._stores[key] = WebStore((address, *self._allowed)) if scheme in WEB else FileSystemStore(scheme)
            return self._stores[key]

    def allows(self, address: str) -> bool:
        """Whether the setting allows this address."""
        try:
            return is_within(checked(address), self._allowed)
        except AddressProblem:
            return False


def ending(place: Place) -> str:
    """The ending of a file that contains images, or of a compressed archive; "" for a folder or prefix."""
    name = str(place).lower()
    if isinstance(place, Path) and place.is_dir():
        return ""
    return next((each for each in (*COMPRESSED, *FILES) if name.endswith(each)), "")


def is_pattern(place: Place) -> bool:
    """Whether the place stands for several files."""
    return any(mark in str(place).rpartition("/")[2] for mark in "*?[") and ending(place) in FILES


def is_read_directly(place: Place) -> bool:
    """Whether every service may read this place by itself, without a table of contents that is far away."""
    return isinstance(place, Path) or not ending(place)


def why_not(place: Place) -> str | None:
    """Why images cannot come from this place of this machine, as the end of a sentence; None if they can, or if only
    a store would know."""
    try:
        source = Sources().source(place)
        if isinstance(place, str) or source.is_there():
            return None
    except ImageProblem as problem:
        return str(problem)
    if isinstance(place, Path) and place.is_file():
        return f"is not a folder, nor a file that contains images ({', '.join(FILES)})"
    return "there is no such file" if ending(place) else "there is no such folder"
