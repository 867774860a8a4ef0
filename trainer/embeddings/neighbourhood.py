"""The neighbour graph of the pool: which images are similar, without any label.

*Diffusion coordinates* (Coifman and Lafon 2006, doi:10.1016/j.acha.2006.04.006) describe the regions of this graph: two
images are close if many short paths from neighbour to neighbour connect them.
`trainer.learners.teacher` learns from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import eigsh

from trainer.columns.half_rows import AnyRows
from trainer.embeddings.nearest import nearest
from trainer.threads import one_thread

LEAST = 200
"""Minimum number of images in a pool; below, neighbours tell too little."""
NODES = 2_000
"""Maximum number of images in the graph. More take longer and add little."""
NEIGHBOURS = 10
COORDINATES = 64
STEPS = 8
"""Steps from neighbour to neighbour: the power of the eigenvalues. 4 gains a point less, 16 is as good."""
PUPILS = 500
"""Unlabeled images that the teacher predicts (its pupils). With few labels, 200 gain a point less."""
PAIRS = 20_000_000
"""Limit of images of the pool × landmarks of the head. So a large pool has fewer pupils, and scoring stays quick."""
LEAST_PUPILS = 100
NOTHING = 1e-9

Ids = NDArray[np.int64]
Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Neighbourhood:
    """The neighbour graph of a sample of a pool, which knows no labels."""

    nodes: Ids  # (n,) rows of the pool, in random order
    widths: Matrix  # (n,) distance to the farthest neighbour
    vectors: Matrix  # (n, d) eigenvectors of the random walk
    values: Matrix  # (d,) their eigenvalues, from 0 to 1

    @classmethod
    def of(cls, pool: AnyRows, *, seed: int) -> Self:
        """The graph of up to NODES rows of `pool` (N, D) of unit length. It takes half a second."""
        nodes = np.random.default_rng(seed).permutation(len(pool))[:NODES]
        rows = np.ascontiguousarray(pool[nodes])
        count, size = len(nodes), min(COORDINATES, len(nodes) - 2)
        found, cosine = nearest(rows, rows, NEIGHBOURS, without=np.arange(count))
        squared = _squared(cosine)
        widths = np.sqrt(squared[:, -1]) + NOTHING
        weights = np.exp(-squared / (widths[:, None] * widths[found]))
        at = np.repeat(np.arange(count), found.shape[1]), found.ravel()
        graph = csr_matrix((weights.ravel().astype(np.float64), at), shape=(count, count))
        graph = graph.maximum(graph.T)
        root = 1.0 / np.sqrt(np.asarray(graph.sum(axis=1)).ravel() + NOTHING)
        begin = np.random.default_rng(seed).random(count)  # otherwise each run would find slightly other vectors
        with one_thread():
            values, vectors = eigsh(diags(root) @ graph @ diags(root), k=size + 1, which="LA", v0=begin)
        order = np.argsort(-values)[1:]  # the first one is the same for all images
        kept = np.clip(values[order], NOTHING, 1.0).astype(np.float32)
        return cls(nodes, widths.astype(np.float32), (root[:, None] * vectors[:, order]).astype(np.float32), kept)

    def coordinates(self, rows: Matrix, pool: AnyRows) -> Matrix:
        """Diffusion coordinates (m, d) of unit length for `rows` (m, D): the mean of the vectors of their neighbours in
        `pool` (N, D), weighted by nearness (Nyström's extension).

        The pool may have grown, and its blocks may have other shares than when the graph was made.
        """
        return self.beside(rows, pool[self.nodes])

    def beside(self, rows: Matrix, nodes: Matrix) -> Matrix:
        """`coordinates`, from the rows `nodes` (n, D) that the nodes have in the pool now."""
        found, cosine = nearest(rows, nodes, NEIGHBOURS)
        squared = _squared(cosine)
        widths = np.sqrt(squared[:, -1:]) + NOTHING
        weights = np.exp(-squared / (widths * self.widths[found])) + NOTHING  # not all 0 where the nodes are copies
        weights /= weights.sum(axis=1, keepdims=True)
        mean = np.einsum("mk,mkd->md", weights, self.vectors[found])
        return _unit(mean * self.values ** (STEPS - 1))

    def pupils(self, labels: int, pool: int, *, without: Ids | None = None) -> Ids:
        """Nodes (m,) that a teacher with `labels` labels predicts in a pool of `pool` images, except the nodes
        `without`.
        """
        return self.nodes[self.places_of_pupils(labels, pool, without=without)]

    def places_of_pupils(self, labels: int, pool: int, *, without: Ids | None = None) -> Ids:
        """Where the `pupils` stand among the nodes (m,), ascending."""
        most = min(PUPILS, max(PAIRS // pool - labels, LEAST_PUPILS))
        if without is None:
            return np.arange(min(most, len(self.nodes)))
        return np.flatnonzero(~np.isin(self.nodes, without))[:most]


def _squared(cosine: Matrix) -> Matrix:
    """Squared distances of unit rows."""
    squared: Matrix = np.maximum(2.0 - 2.0 * cosine, 0.0)
    return squared


def _unit(rows: Matrix) -> Matrix:
    length = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), NOTHING)
    return np.asarray(rows / length, np.float32)
