"""The files seen, with their root and the image that each contains.

Several files may contain one image (duplicates), and a file with a `reason` contains none (rejected). `catalog`
decides about the images; nothing here reads files.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, bindparam, func, or_, select, update

from labeler.store.database import Store
from labeler.store.tables import FILE
from shared.images.opening import Inspected
from shared.images.sources.source import Stamp
from shared.wire.images import Rejection

Root = str
"""A folder of images: `images`, `images/NAME` for an added one, `test` or `uploads`."""
_CHUNK = 500  # values in one SQL statement
_AT_ONCE = 10_000  # rows read at once
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    """A file that was read, with its content or its problem."""

    uri: str
    size: int
    mtime_ns: int
    inspected: Inspected | None
    reason: str | None = None
    away: bool = False  # its store does not answer now; the file may be intact


class Known(NamedTuple):
    """A file that was read before, and its stamp then."""

    file_id: int
    stamp: Stamp


class Unmet(NamedTuple):
    """A file that is no longer in a listing, and the image that it contained."""

    file_id: int
    uri: str
    image_id: int | None


class Census:
    """The files in a listing: one bit for each file that was known at its start."""

    def __init__(self, last: int) -> None:
        self.last = last
        self._met = bytearray(last // 8 + 1)

    def meet(self, file_id: int) -> None:
        """Note that the listing has this file."""
        if file_id <= self.last:
            self._met[file_id >> 3] |= 1 << (file_id & 7)

    def has_met(self, file_id: int) -> bool:
        """Whether the listing has this file."""
        return bool(self._met[file_id >> 3] & 1 << (file_id & 7))


class FileRegistry:
    """The files of one workspace. Hold the store's lock for methods with a `connection`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        with store.read() as connection:
            self._count(connection)

    @property
    def readable(self) -> int:
        """Number of files that contain an image."""
        return self._readable

    @property
    def rejected(self) -> int:
        """Number of files that contain no image."""
        return self._rejected

    def known(self, root: Root, uris: Sequence[str]) -> dict[str, Known]:
        """The files among `uris` that were read before."""
        statement = select(FILE.c.uri, FILE.c.id, FILE.c.size, FILE.c.mtime_ns).where(FILE.c.root == root)
        known: dict[str, Known] = {}
        with self._store.read() as connection:
            for some in _chunks(uris):
                found = connection.execute(statement.where(FILE.c.uri.in_(some)))
                known |= {uri: Known(file_id, (size, mtime_ns)) for uri, file_id, size, mtime_ns in found}
        return known

    def census(self) -> Census:
        """Start a census, which finds the files that a listing no longer has. Call this before the listing."""
        with self._store.read() as connection:
            return Census(connection.execute(select(func.coalesce(func.max(FILE.c.id), 0))).scalar_one())

    def unmet(self, root: Root, census: Census) -> Iterator[list[Unmet]]:
        """The files of `root` that the census has not met, a few hundred at a time."""
        last = 0
        statement = select(FILE.c.id, FILE.c.uri, FILE.c.image_id).where(FILE.c.root == root, FILE.c.id <= census.last)
        while True:
            with self._store.read() as connection:
                following = statement.where(FILE.c.id > last).order_by(FILE.c.id).limit(_AT_ONCE)
                rows = connection.execute(following).all()
            if not rows:
                return
            last = rows[-1].id
            unmet = [Unmet(row.id, row.uri, row.image_id) for row in rows if not census.has_met(row.id)]
            yield from map(list, _chunks(unmet))

    def images_of(self, root: Root, uris: Sequence[str]) -> dict[str, int]:
        """The images that these files contain."""
        statement = select(FILE.c.uri, FILE.c.image_id).where(FILE.c.root == root, FILE.c.image_id.is_not(None))
        images: dict[str, int] = {}
        with self._store.read() as connection:
            for some in _chunks(uris):
                found = connection.execute(statement.where(FILE.c.uri.in_(some)))
                images |= {row.uri: row.image_id for row in found}
        return images

    def places(self, connection: Connection, image_id: int, limit: int = 20) -> list[tuple[Root, str]]:
        """The files in which the image was seen, in order."""
        statement = select(FILE.c.root, FILE.c.uri).where(FILE.c.image_id == image_id).order_by(FILE.c.id).limit(limit)
        return [(root, uri) for root, uri in connection.execute(statement)]

    def first_places(self, connection: Connection, image_ids: Sequence[int]) -> list[dict[str, Any]]:
        """`image`, `root` and `uri` of the first file of each image that has one."""
        found: list[dict[str, Any]] = []
        for some in _chunks(image_ids):
            first = select(func.min(FILE.c.id)).where(FILE.c.image_id.in_(some)).group_by(FILE.c.image_id)
            statement = select(FILE.c.image_id.label("image"), FILE.c.root, FILE.c.uri).where(FILE.c.id.in_(first))
            found += map(dict, connection.execute(statement.order_by(FILE.c.image_id)).mappings())
        return found

    def write(self, connection: Connection, root: Root, found: Sequence[tuple[Found, int | None, str | None]]) -> None:
        """Record files that were just read, each with its image, or the reason why it has none."""
        uris = [each.uri for each, _, _ in found]
        before = {
            row.uri: row for row in connection.execute(select(FILE).where(FILE.c.root == root, FILE.c.uri.in_(uris)))
        }
        new: list[dict[str, Any]] = []
        changed: list[dict[str, Any]] = []
        for each, image_id, reason in found:
            values = {"size": each.size, "mtime_ns": each.mtime_ns, "image_id": image_id, "reason": reason}
            file = before.get(each.uri)
            if file is None:
                new.append({"root": root, "uri": each.uri, **values})
            else:
                changed.append({"file_id": file.id, **values})
            self._readable += (image_id is not None) - (file is not None and file.image_id is not None)
            self._rejected += (reason is not None) - (file is not None and file.reason is not None)
        if new:
            connection.execute(FILE.insert(), new)
        if changed:
            connection.execute(update(FILE).where(FILE.c.id == bindparam("file_id")), changed)

    def forget(self, root: Root, census: Census) -> None:
        """Forget the files of `root` that the census has not met; `Catalog.settle_images` then handles their images."""
        for some in self.unmet(root, census):
            with self._store.write() as connection:
                connection.execute(FILE.delete().where(FILE.c.id.in_([each.file_id for each in some])))
        with self._store.write() as connection:
            self._count(connection)

    def search(self, text: str) -> list[int]:
        """Images with `text` in the name or folder of a file, ignoring case, in order of name."""
        written = {text, *(unicodedata.normalize(form, text.replace("\\", "/")) for form in ("NFC", "NFD"))}
        holds = or_(*(FILE.c.uri.icontains(each, autoescape=True) for each in written))
        named = holds & FILE.c.image_id.is_not(None)
        with self._store.read() as connection:
            return list(connection.execute(select(FILE.c.image_id).where(named).order_by(FILE.c.uri)).scalars())

    def rejections(self, limit: int = 1_000) -> list[Rejection]:
        """Files that could not be read as images, and why."""
        rejected = select(FILE.c.uri, FILE.c.reason).where(FILE.c.reason.is_not(None))
        with self._store.read() as connection:
            found = connection.execute(rejected.order_by(FILE.c.uri).limit(limit))
            return [Rejection(uri=uri, reason=reason) for uri, reason in found]

    def by_root(self) -> dict[Root, int]:
        """Number of known files per root."""
        with self._store.read() as connection:
            counted = select(FILE.c.root, func.count().label("files")).group_by(FILE.c.root)
            return {row.root: row.files for row in connection.execute(counted)}

    def has(self, root: Root) -> bool:
        """Whether any file of this root is known."""
        with self._store.read() as connection:
            return connection.execute(select(FILE.c.id).where(FILE.c.root == root).limit(1)).first() is not None

    def _count(self, connection: Connection) -> None:
        counted = select(func.count(FILE.c.image_id), func.count(FILE.c.reason))
        self._readable, self._rejected = connection.execute(counted).one()


def _chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))
