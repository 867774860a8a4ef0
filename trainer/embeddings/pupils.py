"""What every teacher asks of the pool: the rows of its pupils, their place among their neighbours, and their kernel.

Labels change none of these, so that they are computed once for each geometry and not in each round. A pupil that gets a
label gives its place to the next node of the graph.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.columns.half_rows import AnyRows
from trainer.embeddings.neighbourhood import PUPILS, Neighbourhood
from trainer.learners.kernel_head import kernel
from trainer.learners.learner import Matrix

Ids = NDArray[np.int64]
SPARE = 100
"""Further nodes that are computed at once, when labels have made pupils of later nodes."""
PROBED = 64
"""Rows that tell whether the geometry is still the same: other shares of the blocks change each of them."""
MOST_KNOWN = 4_096
"""Maximum number of other rows whose coordinates are kept."""


class Pupils:
    """The nodes of `around` as they are in `pool` now. Only one thread uses it."""

    def __init__(self, around: Neighbourhood, pool: AnyRows) -> None:
        self._around = around
        self._nodes = np.ascontiguousarray(pool[around.nodes])  # (n, D)
        self._coordinates = np.empty((0, around.vectors.shape[1]), np.float32)  # (c, d) of the first nodes
        self._gram = np.empty((0, 0))  # (c, c) the kernel among them
        self._known: dict[bytes, Matrix] = {}  # row → coordinates (d,)
        self._grow(PUPILS)

    def belong_to(self, around: Neighbourhood, pool: AnyRows) -> bool:
        """Whether they are of this graph, and of the geometry that the pool has now."""
        probed = self._nodes[:PROBED]
        return self._around is around and np.array_equal(pool[around.nodes[: len(probed)]], probed)

    def of(self, labels: int, pool: int, *, without: Ids | None) -> tuple[Matrix, Matrix, NDArray[np.float64]]:
        """Rows (m, D), coordinates (m, d) and kernel (m, m) of the pupils, see `Neighbourhood.pupils`."""
        places = self._around.places_of_pupils(labels, pool, without=without)
        self._grow(int(places.max(initial=-1)) + 1)
        return self._nodes[places], self._coordinates[places], self._gram[np.ix_(places, places)]

    def beside(self, rows: Matrix) -> Matrix:
        """Coordinates (n, d) of other rows (n, D), most of which were there in the last round."""
        keys = [row.tobytes() for row in rows]
        if len(self._known) > MOST_KNOWN:
            self._known.clear()
        new = [place for place, key in enumerate(keys) if key not in self._known]
        if new:
            found = self._around.beside(rows[new], self._nodes)
            self._known.update((keys[place], each) for place, each in zip(new, found, strict=True))
        return np.stack([self._known[key] for key in keys])

    def _grow(self, count: int) -> None:
        """Compute the first `count` nodes, and a few more."""
        known = len(self._gram)
        if count <= known:
            return
        count = min(count + SPARE, len(self._nodes))
        new = self._nodes[known:count]
        self._coordinates = np.concatenate([self._coordinates, self._around.beside(new, self._nodes)])
        gram, exact = np.empty((count, count)), self._nodes[:count].astype(np.float64)
        gram[:known, :known] = self._gram
        gram[known:] = kernel(exact[known:], exact)
        gram[:known, known:] = gram[known:, :known].T
        self._gram = gram
