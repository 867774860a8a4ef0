"""How the pool lies in embedding space, for the pages: neighbours of an image, groups, and a flat map.

Functions over (N, D) rows of unit length. Only train-split images are ever given to them, so that no test image can
be seen here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA

FIT_SAMPLE = 20_000
"""Rows that groups and map axes are fitted on; the rest is only assigned, so that a large pool costs little more."""


def neighbours(rows: NDArray[np.float32], row: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The `count` rows most similar to `row`, most similar first, itself left out, and their cosine similarities."""
    similarity = rows @ rows[row]
    similarity[row] = -np.inf
    count = min(count, len(rows) - 1)
    if count < 1:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    top = np.argpartition(-similarity, count - 1)[:count]
    top = top[np.argsort(-similarity[top], kind="stable")]
    return top.astype(np.int64), similarity[top]


def groups(rows: NDArray[np.float32], count: int, *, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """k-means: the group of each row (N,), and its similarity to the group's centre (N,)."""
    count = max(1, min(count, len(rows)))
    if len(rows) == 0:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    means = MiniBatchKMeans(count, random_state=seed, n_init=3, batch_size=2_048).fit(_sample(rows, seed))
    centres = means.cluster_centers_.astype(np.float32)
    group = means.predict(rows).astype(np.int64)
    return group, np.einsum("nd,nd->n", rows, centres[group])


def positions(rows: NDArray[np.float32], *, seed: int) -> NDArray[np.float32]:
    """(N, 2) positions along the two directions of most variance, scaled into −1 … 1."""
    if len(rows) < 3:
        return np.zeros((len(rows), 2), np.float32)
    flat = PCA(2, svd_solver="randomized", random_state=seed).fit(_sample(rows, seed)).transform(rows)
    return np.asarray(flat / max(float(np.abs(flat).max()), 1e-12), np.float32)


def _sample(rows: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    if len(rows) <= FIT_SAMPLE:
        return rows
    return rows[np.random.default_rng(seed).choice(len(rows), FIT_SAMPLE, replace=False)]
