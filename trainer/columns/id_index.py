"""Which row belongs to an image id: four bytes an image, where a dict takes a hundred.

The labeler counts its images from 1, so a table by id has few gaps. Ids far beyond the number of images are rare, and
are kept in a dict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
GAPS = 16
"""Maximum table slots per image."""
LEAST = 65_536
"""Ids up to this one are in the table, however few images there are."""


class IdIndex(Mapping[int, int]):
    """Image id → row. One thread writes, any thread may read."""

    def __init__(self, ids: Ids | None = None) -> None:
        """With the row of each of `ids` (n,), in this order."""
        self._table = np.full(1_024, -1, np.int32)
        self._beyond: dict[int, int] = {}
        self._count = 0
        if ids is not None:
            self.put(ids, np.arange(len(ids)))

    def put(self, ids: Ids, rows: Ids) -> None:
        """Set the rows (n,) of these images (n,), which have none yet."""
        self._count += len(ids)
        limit = max(LEAST, GAPS * self._count)
        near = (ids >= 0) & (ids < limit)
        highest = int(ids[near].max(initial=-1))
        if highest >= len(self._table):
            grown = np.full(max(highest + 1, len(self._table) * 3 // 2), -1, np.int32)
            grown[: len(self._table)] = self._table
            self._table = grown
        self._table[ids[near]] = rows[near]
        if not near.all():
            self._beyond.update(zip(ids[~near].tolist(), rows[~near].tolist(), strict=True))

    def forget(self, ids: Ids) -> None:
        """Remove these images, which have a row each."""
        self._count -= len(ids)
        near = ids[(ids >= 0) & (ids < len(self._table))]
        self._table[near] = -1
        if self._beyond:
            for image_id in ids.tolist():
                self._beyond.pop(image_id, None)

    def of(self, ids: Ids) -> Ids:
        """The rows (n,) of these images (n,); −1 for an unknown one."""
        table = self._table
        near = (ids >= 0) & (ids < len(table))
        rows = np.where(near, table[np.where(near, ids, 0)], -1).astype(np.int64)
        if self._beyond:
            for place in np.flatnonzero(rows < 0):
                rows[place] = self._beyond.get(int(ids[place]), -1)
        return rows

    def known(self, ids: Ids) -> Ids:
        """The rows of those of these images that have one, in their order."""
        rows = self.of(ids)
        return rows[rows >= 0]

    def __getitem__(self, image_id: int) -> int:
        table = self._table
        row = int(table[image_id]) if 0 <= image_id < len(table) else -1
        if row < 0:
            row = self._beyond[image_id]
        return row

    def __iter__(self) -> Iterator[int]:
        yield from np.flatnonzero(self._table >= 0).tolist()
        yield from self._beyond

    def __len__(self) -> int:
        return self._count


def as_ids(image_ids: object) -> Ids:
    """A collection of image ids as an array."""
    return np.fromiter(image_ids, np.int64)  # type: ignore[call-overload, no-any-return]
