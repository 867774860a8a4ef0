"""What strategies need to know of distances, kept between rounds because embeddings stay while labels come and go.

Everything here follows from the embeddings, the seed and the set of covered rows alone, whatever rounds came before:
a label that is taken back leaves no trace, and rows that join the pool are taken in (a property test compares each
cache with a computation from scratch). Distances are between unit vectors, so squared ones lie in [0, 4].
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from trainer.strategies.ranking import Pool, Rows

Matrix = NDArray[np.float32]
T = TypeVar("T")

TARGETS = 4_000  # images that stand for the whole pool where all would take too long
NEIGHBOURS = 10  # whose mean distance is the scale of the pool


def squared_distances(A: Matrix, B: Matrix) -> Matrix:
    """Squared distances (a, b) between unit rows `A` (a, D) and `B` (b, D)."""
    products: Matrix = A @ B.T
    products *= -2.0
    products += 2.0
    np.maximum(products, 0.0, out=products)
    return products


def targets(pool: Pool) -> Rows:
    """Up to `TARGETS` rows that stand for the pool, drawn under the seed; most stay when the pool grows a little."""
    n = len(pool.labels)
    if n <= TARGETS:
        return np.arange(n)
    return np.sort(np.argpartition(pool.lots(), TARGETS)[:TARGETS])


class Nearest:
    """For each target the squared distance to the nearest covered row; 4, the farthest there is, without any."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.distance = np.full(len(rows), 4.0, dtype=np.float32)
        self.nearest = np.full(len(rows), -1)
        self.covered: Rows = np.empty(0, dtype=np.int64)

    def update(self, embeddings: Matrix, covered: Rows) -> None:
        """Take in what joined and what left: only targets whose nearest row left are looked at in full again."""
        left = np.setdiff1d(self.covered, covered, assume_unique=True)
        joined = np.setdiff1d(covered, self.covered, assume_unique=True)
        orphans = np.flatnonzero(np.isin(self.nearest, left)) if len(left) else np.empty(0, dtype=np.int64)
        self.distance[orphans], self.nearest[orphans] = 4.0, -1
        self._shorten(embeddings, orphans, np.setdiff1d(covered, joined, assume_unique=True))
        self._shorten(embeddings, np.arange(len(self.rows)), joined)
        self.covered = covered

    def _shorten(self, embeddings: Matrix, which: Rows, by: Rows) -> None:
        for start in range(0, len(by), 2_000):  # 2,000 × 4,000 distances are 32 MB
            block = by[start : start + 2_000]
            if not len(which):
                return
            distances = squared_distances(embeddings[self.rows[which]], embeddings[block])
            best = distances.argmin(axis=1)
            shortest = distances[np.arange(len(which)), best]
            closer = (shortest < self.distance[which]) | (self.nearest[which] < 0)
            changed = which[closer]
            self.distance[changed], self.nearest[changed] = shortest[closer], block[best[closer]]


def nearest_covered(pool: Pool) -> tuple[Rows, Matrix]:
    """The targets and the squared distance of each to the nearest labeled or leased row, (T,)."""
    known = pool.memory.get("nearest")
    if not isinstance(known, Nearest) or known.rows is not _target_rows(pool):
        known = Nearest(_target_rows(pool))
        pool.memory["nearest"] = known
    known.update(pool.embeddings, pool.covered)
    return known.rows, known.distance


def spacing(pool: Pool) -> float:
    """Mean distance of a target to its `NEIGHBOURS`-th neighbour among the targets: the scale of the pool."""
    rows = _target_rows(pool)
    known = pool.memory.get("spacing")
    if isinstance(known, tuple) and known[0] is rows:
        return float(known[1])
    sample = pool.embeddings[rows]
    k = min(NEIGHBOURS, len(rows) - 1)
    if k < 1:
        return 1.0
    squared = squared_distances(sample[:1_000], sample)  # 1,000 of them give the mean to a percent
    value = float(np.sqrt(np.partition(squared, k, axis=1)[:, k]).mean())
    pool.memory["spacing"] = (rows, value)
    return value


def _target_rows(pool: Pool) -> Rows:
    """`targets`, drawn once a size of the pool."""
    known = pool.memory.get("targets")
    if isinstance(known, tuple) and known[0] == (len(pool.labels), pool.seed):
        rows: Rows = known[1]
        return rows
    rows = targets(pool)
    pool.memory["targets"] = ((len(pool.labels), pool.seed), rows)
    return rows
