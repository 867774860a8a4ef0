"""The images of the labeler as columns: 46 bytes an image in memory, and the rest in the replica's database.

What a round, a page of the catalogue or a restart needs of all images (id, content hash, split, whether it was removed)
is in memory, as arrays. What is only needed for a few of them (the URI) is read on request. Changes are kept in order,
so that a reader can continue after the last change that it knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json
from sqlalchemy import Connection, Engine, delete, inspect, select
from sqlmodel import Field, SQLModel

from shared.storage.database import read, write
from shared.wire.images import ImageEntry
from trainer.columns.growing import Growing
from trainer.columns.hash_index import HASH_BYTES, Hashes, as_hashes
from trainer.columns.id_index import IdIndex, Ids
from trainer.columns.images import NUMBER_OF, SPLITS, Splits

_AT_ONCE = 10_000  # rows read at once
# As text and tuples: SQLAlchemy's own rows and parameters take longer than SQLite, and there may be a million images.
_UPSERT = (
    "INSERT INTO replica_entry (id, uri, sha256, split, removed) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE "
    "SET uri = excluded.uri, sha256 = excluded.sha256, split = excluded.split, removed = excluded.removed"
)
_SOME = "SELECT id, uri, sha256, split, removed FROM replica_entry WHERE id IN (SELECT value FROM json_each(?))"


class CatalogRow(SQLModel, table=True):
    """One image, as of its latest known change."""

    __tablename__ = "replica_entry"
    id: int = Field(primary_key=True)
    uri: str
    sha256: bytes
    split: int  # its place in SPLITS
    removed: bool


TABLE = SQLModel.metadata.tables["replica_entry"]


class Catalog(Mapping[int, ImageEntry]):
    """The images in the database of `engine`. One thread at a time writes; any thread may read."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._clear()
        self._take_over()
        with read(engine) as connection:
            found = connection.exec_driver_sql("SELECT id, sha256, split, removed FROM replica_entry ORDER BY id")
            while rows := found.fetchmany(_AT_ONCE):
                ids, hashes, splits, removed = zip(*rows, strict=True)
                flat = np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, HASH_BYTES)
                self._append(np.array(ids, np.int64), flat, splits, removed)

    @property
    def ids(self) -> Ids:
        """All images (N,), including removed ones, by their position here."""
        return self._ids.values

    @property
    def hashes(self) -> Hashes:
        """Their content hashes (N, 32)."""
        return self._hashes.values

    @property
    def splits(self) -> Splits:
        """Their splits (N,), as places in SPLITS."""
        return self._splits.values

    @property
    def gone(self) -> NDArray[np.bool_]:
        """Whether they were removed (N,)."""
        return self._gone.values

    def changes(self, after: int) -> tuple[Ids, int]:
        """The places of the images that changed after the first `after` changes, and how many changes there are."""
        changes = self._changes.values
        return changes[after:], len(changes)

    def store(self, connection: Connection, entries: Sequence[ImageEntry]) -> None:
        """Write images into a transaction."""
        if entries:
            connection.exec_driver_sql(_UPSERT, [_stored(entry) for entry in entries])

    def take(self, entries: Sequence[ImageEntry]) -> None:
        """Add or update images in memory that are already in the database."""
        entries = list({entry.id: entry for entry in entries}.values())
        places = self.places.of(np.array([entry.id for entry in entries], np.int64))
        new = [entry for entry, place in zip(entries, places, strict=True) if place < 0]
        for entry, place in zip(entries, places.tolist(), strict=True):
            if place >= 0:
                self._hashes.values[place] = as_hashes([entry.sha256])[0]
                self._splits.values[place] = NUMBER_OF[entry.split]
                self._gone.values[place] = entry.removed
                (self.removed.add if entry.removed else self.removed.discard)(entry.id)
        self._changes.append(places[places >= 0])
        if new:
            self._append(
                np.array([entry.id for entry in new], np.int64),
                as_hashes([entry.sha256 for entry in new]),
                [NUMBER_OF[entry.split] for entry in new],
                [entry.removed for entry in new],
            )

    def some(self, image_ids: Sequence[int]) -> list[ImageEntry]:
        """The entries of the known images among these, in the given order."""
        with read(self._engine) as connection:
            rows = connection.exec_driver_sql(_SOME, (to_json(list(image_ids)).decode(),))
            found = {row[0]: _entry(*row) for row in rows}
        return [found[image_id] for image_id in image_ids if image_id in found]

    def entries(self) -> Iterator[ImageEntry]:
        """All entries, by id, a few at a time."""
        last = -1
        while True:
            with read(self._engine) as connection:
                following = select(TABLE).where(TABLE.c.id > last).order_by(TABLE.c.id).limit(_AT_ONCE)
                rows = connection.execute(following).all()
            if not rows:
                return
            for row in rows:
                last = row.id
                yield _entry(*row)

    def forget(self, connection: Connection) -> None:
        """Delete all images; a new `Catalog` follows."""
        connection.execute(delete(CatalogRow))

    def __getitem__(self, image_id: int) -> ImageEntry:
        found = self.some([image_id]) if image_id in self.places else []
        if not found:  # or another catalogue has replaced this one meanwhile
            raise KeyError(image_id)
        return found[0]

    def __contains__(self, image_id: object) -> bool:
        return image_id in self.places

    def __iter__(self) -> Iterator[int]:
        return iter(self.ids.tolist())

    def __len__(self) -> int:
        return len(self._ids)

    def _clear(self) -> None:
        self._ids = Growing[np.int64](np.int64)
        self._hashes = Growing[np.uint8](np.uint8, HASH_BYTES)
        self._splits = Growing[np.uint8](np.uint8)
        self._gone = Growing[np.bool_](np.bool_)
        self._changes = Growing[np.int64](np.int64)
        self.places = IdIndex()
        self.removed: set[int] = set()

    def _append(self, ids: Ids, hashes: Hashes, splits: Sequence[int], removed: Sequence[bool]) -> None:
        places = np.arange(len(self), len(self) + len(ids))
        self._hashes.append(hashes)
        self._splits.append(splits)
        self._gone.append(removed)
        self._ids.append(ids)
        self.places.put(ids, places)
        self._changes.append(places)
        self.removed.update(ids[np.array(removed, bool)].tolist())

    def _take_over(self) -> None:
        """Move the data of an earlier version."""
        if not inspect(self._engine).has_table("replica_image"):
            return
        with write(self._engine) as connection:
            payloads = connection.exec_driver_sql("SELECT payload FROM replica_image").scalars().all()
            for start in range(0, len(payloads), _AT_ONCE):
                entries = [ImageEntry.model_validate_json(each) for each in payloads[start : start + _AT_ONCE]]
                self.store(connection, entries)  # some are here already if an earlier version ran in between
            connection.exec_driver_sql("DROP TABLE replica_image")


def _stored(entry: ImageEntry) -> tuple[Any, ...]:
    return entry.id, entry.uri, bytes.fromhex(entry.sha256), NUMBER_OF[entry.split], entry.removed


def _entry(image_id: int, uri: str, sha256: bytes, split: int, removed: bool) -> ImageEntry:
    return ImageEntry.model_construct(
        id=image_id, uri=uri, sha256=sha256.hex(), split=SPLITS[split], removed=bool(removed)
    )
