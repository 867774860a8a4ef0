"""Distances that strategies share, cached between rounds because embeddings stay while labels change.

Everything here depends only on the embeddings, the seed and the set of covered rows, not on earlier rounds. An undone
label leaves no trace, and rows that join the pool are included (property tests compare a cached strategy with a fresh
one). Beyond a few thousand images, a random subsample represents the pool. Distances are between unit vectors, so
squared distances lie in [0, 4].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from trainer.columns.half_rows import AnyRows
from trainer.strategies.ranking import Floats, Pool, Rows

Matrix = NDArray[np.float32]
T = TypeVar("T")

SUBSAMPLE = 4_000  # 4,000² distances are 64 MB
NEIGHBOUR = 10  # the mean distance to this neighbour is the scale of the pool
FARTHEST = 4.0
AT_ONCE = 16_384  # rows scored at once
SIMILAR = 256  # rows whose similarities are computed at once


def squared_distances(A: Matrix, B: Matrix) -> Matrix:
    """Squared distances (a, b) between unit rows `A` (a, D) and `B` (b, D)."""
    products: Matrix = A @ B.T
    products *= -2.0
    products += 2.0
    np.maximum(products, 0.0, out=products)
    return products


def subsample(pool: Pool) -> Rows:
    """Rows (T,) of the subsample that represents the pool: ascending, at most `SUBSAMPLE`, drawn at random.

    Most rows stay when the pool grows a little.
    """

    def drawn() -> Rows:
        n = len(pool.labels)
        if n <= SUBSAMPLE:
            return np.arange(n)
        return np.sort(np.argpartition(pool.tie_breakers(), SUBSAMPLE)[:SUBSAMPLE])

    return remembered(pool, "subsample", drawn)


def in_question(pool: Pool) -> Rows:
    """The rows whose probabilities a strategy may read, ascending: candidates, the subsample, and labeled ones."""
    wanted = pool.labels >= 0
    wanted[pool.candidates] = wanted[subsample(pool)] = True
    return np.flatnonzero(wanted)


def scored(pool: Pool, score: Callable[[Matrix], Floats]) -> Floats:
    """`score` of the probabilities of the rows in question; 0 for the others (N,). Scores them in
    parts, because with many classes its arrays are large.
    """
    found = np.zeros(len(pool.labels))
    if pool.probabilities is not None:
        seen = in_question(pool)
        for start in range(0, len(seen), AT_ONCE):
            some = seen[start : start + AT_ONCE]
            found[some] = score(pool.probabilities[some])
    return found


def subsample_distances(pool: Pool) -> Matrix:
    """Squared distances (T, T) within the subsample."""

    def measured() -> Matrix:
        sample = pool.embeddings[subsample(pool)]
        return squared_distances(sample, sample)

    return remembered(pool, "distances", measured)


def spacing(pool: Pool) -> float:
    """Mean distance from a subsample row to its 10th neighbour: the scale of the pool. 1 without neighbours."""

    def measured() -> float:
        sample = pool.embeddings[subsample(pool)]
        squared = squared_distances(sample[:1_000], sample)  # 1,000 rows give the mean to about one percent
        k = min(NEIGHBOUR, squared.shape[1] - 1)
        return float(np.sqrt(np.partition(squared, k, axis=1)[:, k]).mean()) if k > 0 else 1.0

    return remembered(pool, "spacing", measured)


class Similarities:
    """exp(-d²/width²) between some rows and the subsample, kept while the same rows are asked for again.

    A shortlist exchanges a part of its rows in a round; only the new ones are computed. Each row has a place, which it
    keeps while it is asked for.
    """

    def __init__(self, targets: Matrix, width: float) -> None:
        self._targets, self._width = targets, width  # (T, D)
        self.rows: Rows = np.empty(0, dtype=np.int64)  # of each place; -1: free
        self.values: Matrix = np.empty((0, len(targets)), np.float32)  # (places, T)

    def of(self, embeddings: AnyRows, rows: Rows) -> Rows:
        """The places (n,) of `rows` (n,)."""
        if len(rows) > len(self.rows):
            grown, filled = len(rows) + len(rows) // 16, len(self.rows)  # an undone label is one more
            values = np.empty((grown, len(self._targets)), np.float32)
            values[:filled] = self.values
            self.rows, self.values = np.concatenate([self.rows, np.full(grown - filled, -1)]), values
        left = ~np.isin(self.rows, rows)
        new, free = np.setdiff1d(rows, self.rows, assume_unique=True), np.flatnonzero(left)
        for start in range(0, len(new), SIMILAR):
            some = new[start : start + SIMILAR]
            places = free[start : start + len(some)]
            squared = squared_distances(embeddings[some], self._targets)
            squared *= -1.0 / self._width**2
            self.values[places] = np.exp(squared, out=squared)
            self.rows[places] = some
        order = np.argsort(self.rows)
        return order[np.searchsorted(self.rows, rows, sorter=order)]


def similarities(pool: Pool, width: float) -> Similarities:
    """Those of this pool."""
    return remembered(pool, "similarities", lambda: Similarities(pool.embeddings[subsample(pool)], width))


def clusters(pool: Pool, count: int) -> NDArray[np.int64]:
    """The cluster (T,) of each subsample row, from k-means with up to `count` clusters."""

    def fitted() -> NDArray[np.int64]:
        from sklearn.cluster import KMeans  # takes a second, which every job would spend at its start

        sample = pool.embeddings[subsample(pool)]
        distinct = len({row.tobytes() for row in sample})
        k = max(1, min(count, distinct))
        means = KMeans(k, n_init=1, max_iter=15, random_state=pool.seed % 2**32)
        return np.asarray(means.fit_predict(sample), dtype=np.int64) if len(sample) else np.empty(0, dtype=np.int64)

    return remembered(pool, f"clusters {count}", fitted)


class Nearest:
    """Squared distance from each of some rows to the nearest covered row; 4, the maximum, while nothing is covered."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.distance = np.full(len(rows), FARTHEST, dtype=np.float32)
        self.nearest = np.full(len(rows), -1)
        self.covered: Rows = np.empty(0, dtype=np.int64)

    def update(self, embeddings: AnyRows, covered: Rows) -> None:
        """Account for rows that became covered or uncovered.

        Only rows whose nearest covered row was removed are searched in full.
        """
        left = np.setdiff1d(self.covered, covered, assume_unique=True)
        joined = np.setdiff1d(covered, self.covered, assume_unique=True)
        orphans = np.flatnonzero(np.isin(self.nearest, left)) if len(left) else np.empty(0, dtype=np.int64)
        self.distance[orphans], self.nearest[orphans] = FARTHEST, -1
        self._shorten(embeddings, orphans, np.setdiff1d(covered, joined, assume_unique=True))
        self._shorten(embeddings, np.arange(len(self.rows)), joined)
        self.covered = covered

    def _shorten(self, embeddings: AnyRows, which: Rows, by: Rows) -> None:
        if not len(which):
            return
        for start in range(0, len(by), 2_000):  # 2,000 × 4,000 distances are 32 MB
            block = by[start : start + 2_000]
            distances = squared_distances(embeddings[self.rows[which]], embeddings[block])
            best = distances.argmin(axis=1)
            shortest = distances[np.arange(len(which)), best]
            closer = (shortest < self.distance[which]) | (self.nearest[which] < 0)
            changed = which[closer]
            self.distance[changed], self.nearest[changed] = shortest[closer], block[best[closer]]


def nearest_covered(pool: Pool) -> Matrix:
    """Squared distance (T,) from each subsample row to the nearest labeled or leased row."""
    nearest = remembered(pool, "nearest", lambda: Nearest(subsample(pool)))
    nearest.update(pool.embeddings, pool.covered)
    return nearest.distance


def remembered(pool: Pool, name: str, compute: Callable[[], T]) -> T:
    """Cache `compute()` under `name` for a pool of this size and seed; drop a value cached for another pool."""
    key = (len(pool.labels), pool.seed)
    known = pool.memory.get(name)
    if not isinstance(known, tuple) or known[0] != key:
        known = (key, compute())
        pool.memory[name] = known
    value: T = known[1]
    return value
