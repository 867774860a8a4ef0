"""Chooses the source for a place: a folder, an archive, a table, several of them, or the objects of a store.

All sources of a process share the stores, so that they all pause requests to a store that does not answer.
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
from shared.images.sources.manifests import ENDINGS as TABLES
from shared.images.sources.manifests import ManifestSource, allowed_beside, beside
from shared.images.sources.objects import ObjectSource
from shared.images.sources.shards import ShardSource
from shared.images.sources.source import ImageSource
from shared.images.sources.stores import FileSystemStore, Store
from shared.images.sources.tables import ENDING as TABLE
from shared.images.sources.tables import TableSource, holds_images
from shared.images.sources.web import WebStore
from shared.storage.contents import Contents

FILES = (*ENDINGS, TABLE, *TABLES)
"""Extensions, lower case, of files that contain images."""


class Sources:
    """Opens sources. `allowed` are further addresses that may be read.

    The tables of contents of archives are kept in the file `kept`, or only as long as this object without it.
    """

    def __init__(self, allowed: Sequence[str] = (), kept: Path | None = None) -> None:
        self._allowed = tuple(allowed)
        self._kept = kept
        self._contents: Contents | None = None
        self._stores: dict[str, Store] = {}
        self._lock = threading.Lock()

    def source(self, place: Place, also: Callable[[], Collection[Path]] = tuple) -> ImageSource:
        """Open the source at a place. Raises ImageProblem if there cannot be one."""
        kind = ending(place)
        if kind in COMPRESSED:
            raise ImageProblem("is compressed as a whole: unpack it, and name the folder or an uncompressed .tar")
        if isinstance(place, Path) and not kind:
            return FolderSource(place, also)
        store = self.store(place) if isinstance(place, str) else None
        if store is not None and not kind:
            return ObjectSource(str(place), store)
        if is_pattern(place):
            return ShardSource(place, store, lambda blob: self._file(blob, kind))
        blob: Blob = LocalBlob(Path(place)) if store is None else FarBlob(str(place), store)
        return self._file(blob, kind)

    def _file(self, blob: Blob, kind: str) -> ImageSource:
        if kind in ENDINGS:
            with self._lock:
                self._contents = self._contents or Contents(self._kept)
            return ArchiveSource(blob, kind, self._contents)
        if kind == TABLE and holds_images(blob):
            return TableSource(blob)
        table = str(blob.place) if blob.far else None
        web = WebStore((*([beside(table)] if table is not None else []), *self._allowed))
        return ManifestSource(blob, lambda address: self._named(address, table, web))

    def _named(self, address: str, table: str | None, web: WebStore) -> Store:
        """The store of an address in a table. Raises ImageProblem unless the address is allowed."""
        plain = address.partition("?")[0]
        if not (self.allows(plain) or (table is not None and allowed_beside(table, plain))):
            raise ImageProblem("is at an address that the setting image_addresses does not allow")
        return web if plain.partition("://")[0].lower() in WEB else self.store(plain)

    def store(self, address: str) -> Store:
        """The store of an address that a person entered. Raises ImageProblem."""
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
    """The extension of a file that contains images, or of a compressed archive; "" for a folder or prefix."""
    if isinstance(place, Path) and place.is_dir():
        return ""
    name = (
        str(place) if isinstance(place, Path) else place.partition("://")[2].partition("/")[2]
    ).lower()  # without the host, which has dots
    return next((each for each in (*COMPRESSED, *FILES) if name.endswith(each)), "")


def is_pattern(place: Place) -> bool:
    """Whether the place is a pattern for several files. An existing file with such a name is not a pattern."""
    if isinstance(place, Path) and place.is_file():
        return False
    return any(mark in str(place).rpartition("/")[2] for mark in "*?[") and ending(place) in FILES


def is_read_directly(place: Place) -> bool:
    """Whether every service can read this place directly, without a remote table of contents."""
    kind = ending(place)
    return not kind or (isinstance(place, Path) and kind in ENDINGS)


def why_not(place: Place) -> str | None:
    """Why this local place cannot be a source of images, as a sentence without its full stop. None if it can, or if
    only a store would know.
    """
    try:
        source = Sources().source(place)
        if isinstance(place, str) or source.is_there():
            return None
    except ImageProblem as problem:
        return f"it {problem}"
    if isinstance(place, Path) and place.is_file():
        return f"it is neither a folder nor a file that contains images ({', '.join(FILES)})"
    return "there is no such file" if ending(place) else "there is no such folder"
