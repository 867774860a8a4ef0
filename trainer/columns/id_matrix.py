"""Rows by image id, which are appended. Removed images keep their row, so that no other row moves.

What learners and strategies keep between rounds names rows by their number. So the row of a removed image stays until
the matrix is laid out anew, and is only marked: `row_of` no longer knows the image, and `gone` names the row.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.columns.growing import Growing
from trainer.columns.half_rows import AnyRows, RowStore
from trainer.columns.id_index import IdIndex, Ids
from trainer.columns.spread_rows import PickedRows, SpreadRows, Workers

NONE: Ids = np.empty(0, np.int64)
_matrices = count()


class IdMatrix:
    """A matrix that grows by rows; a large one is in a file in `folder`, see `trainer.columns.half_rows`. `workers` may
    have copies of the rows, see `trainer.columns.spread_rows`. One thread changes it.
    """

    def __init__(self, dim: int, folder: Path | None = None, workers: Workers | None = None) -> None:
        self._store = RowStore(dim, folder)
        self._workers = workers
        self._name = next(_matrices)
        self._ids = Growing[np.int64](np.int64)
        self.row_of = IdIndex()
        self.gone: Ids = NONE
        """Rows of removed images, ascending; replaced as a whole."""

    @property
    def ids(self) -> Ids:
        """The images (N,), including removed ones."""
        return self._ids.values

    @property
    def rows(self) -> AnyRows:
        """The filled part, as a view (N, D)."""
        return self._first(len(self.ids))

    def view(self) -> tuple[Ids, AnyRows]:
        """Matching ids (n,) and rows (n, D) of the images that are not removed, for a reader on another thread."""
        ids, gone = self.ids, self.gone
        rows, gone = self._first(len(ids)), gone[gone < len(ids)]
        if not len(gone):
            return ids, rows
        here = np.ones(len(ids), bool)
        here[gone] = False
        return ids[here], PickedRows(rows, np.flatnonzero(here))

    def append(self, ids: Ids, rows: NDArray[np.float32]) -> None:
        """Append rows (n, D) of new images."""
        start = len(self.ids)
        self._store.append(rows)
        self.row_of.put(ids, np.arange(start, start + len(ids)))
        self._ids.append(ids)

    def remove(self, ids: Ids) -> None:
        """Mark the rows of those of these images that have one. An id may occur several times."""
        rows = np.unique(self.row_of.known(ids))
        self.row_of.forget(self.ids[rows])
        self.gone = np.union1d(self.gone, rows)

    def bring_back(self, ids: Ids) -> None:
        """Unmark the rows of those of these images that were removed."""
        if len(self.gone):
            back = self.gone[np.isin(self.ids[self.gone], ids)]
            self.gone = np.setdiff1d(self.gone, back, assume_unique=True)
            self.row_of.put(self.ids[back], back)

    def _first(self, count: int) -> AnyRows:
        rows = self._store.first(count)
        return rows if self._workers is None else SpreadRows(rows, self._name, self._workers)
