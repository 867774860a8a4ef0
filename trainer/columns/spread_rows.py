"""Computes a function of many rows, here or on workers that have copies of the rows (`SpreadRows`).

The rows are cut into chunks of fixed size, because matrix products round differently in blocks of other sizes. One
thread computes one chunk, so not even the last bits of the results depend on the number of threads or on the machine.
On processors of one kind, the ranked list is therefore the same wherever its images were scored. Callers that need only
some rows read them here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trainer.columns.half_rows import AnyRows, HalfRows, Matrix
from trainer.threads import one_thread

Ids = NDArray[np.int64]
Function = Callable[[Matrix], Matrix]
CHUNK = 16_384
"""Number of rows in a chunk."""


class Workers(Protocol):
    """Workers that hold copies of rows and compute over them."""

    def over(self, rows: SpreadRows, function: Function, which: Ids) -> Matrix | None:
        """Like `over`; None if it must be computed here, because the rows are few or the workers are not ready."""


class SpreadRows(HalfRows):
    """Rows (N, D) that are here and that `workers` may have copies of, under a `name` that no other rows have."""

    def __init__(self, rows: AnyRows, name: int, workers: Workers) -> None:
        super().__init__(rows if isinstance(rows, np.ndarray) else rows._data)  # type: ignore[arg-type]
        self.here, self.workers = rows, workers
        self.name = f"{name} {self._data.dtype}"  # a pool that becomes large is stored in half precision

    def __getitem__(self, which: Any) -> Matrix:
        return self.here[which]

    def stored(self, start: int, end: int) -> NDArray[Any]:
        """Some rows as they are stored: half the bytes, if they are in half precision."""
        return self._data[start:end]


class PickedRows(HalfRows):
    """Some rows (n, D) of others, by their places (n,), ascending; they are copied when they are read."""

    def __init__(self, rows: AnyRows, places: Ids) -> None:
        self.rows, self.places = rows, places
        self.shape = (len(places), rows.shape[1])

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, which: Any) -> Matrix:
        found: Matrix = self.rows[self.places[which]]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("Picked rows are copied.")
        return self[:].astype(np.float32 if dtype is None else dtype, copy=False)


def over(rows: AnyRows, function: Function, which: Ids | None = None) -> Matrix:
    """Apply `function` to all rows, or to the rows `which` (n,), ascending; the result (n, …) has one entry per row.

    `function` treats each row by itself. Workers get it pickled.
    """
    wanted = np.arange(len(rows)) if which is None else which
    if isinstance(rows, PickedRows):
        return over(rows.rows, function, rows.places[wanted])
    if not len(wanted):
        return function(rows[:0])
    if isinstance(rows, SpreadRows):
        found = rows.workers.over(rows, function, wanted)
        if found is not None:
            return found
        rows = rows.here
    results = computed([(rows, some) for _, some in chunks(wanted)], function)
    if isinstance(rows, HalfRows) and len(wanted) > max(len(rows) // 2, CHUNK):
        rows.let_go()  # a pass for a page; a round looks at fewer rows of a large pool, and again soon
    return results


def chunks(which: Ids) -> Iterator[tuple[int, Ids]]:
    """The rows `which` (n,), ascending, by chunk, with its number."""
    numbers = which // CHUNK
    for some in np.split(which, np.flatnonzero(np.diff(numbers)) + 1):
        if len(some):
            yield int(some[0]) // CHUNK, some


def computed(parts: list[tuple[AnyRows, Ids]], function: Function) -> Matrix:
    """Apply `function` to some rows of each part, which is at most a chunk; returns all results (n, …)."""

    def one(part: tuple[AnyRows, Ids]) -> Matrix:
        return function(side_by_side(*part))

    with one_thread():
        threads = min(max((os.cpu_count() or 1) - 1, 1), len(parts))  # a core is left, see `trainer.threads`
        if threads == 1:
            return np.concatenate([one(part) for part in parts])
        with ThreadPoolExecutor(threads, thread_name_prefix="rows") as pool:
            return np.concatenate(list(pool.map(one, parts)))


def side_by_side(rows: AnyRows, which: Ids) -> Matrix:
    """Some rows, ascending; without a copy where they lie side by side."""
    first, last = int(which[0]), int(which[-1])
    return rows[first : last + 1] if last - first + 1 == len(which) else rows[which]
