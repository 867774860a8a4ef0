"""Strategies over groups of similar images (k-means clusters): typical, central or uncertain images of each group.

A list takes the groups in turn, so that every prefix is spread over them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.strategies.geometry import clusters, subsample, subsample_distances
from trainer.strategies.random_sampling import random
from trainer.strategies.ranking import NOTHING, Floats, Pool, Ranking, completed, highest
from trainer.strategies.uncertainty import margin_scores, torn_between

BATCH = 10  # typical number of labels between two lists
MOST = 500  # maximum number of clusters
SMALL = 5  # a cluster of this size or less counts as noise
NEIGHBOURS = 20  # neighbours whose mean distance measures how typical an image is


def typiclust(pool: Pool, count: int) -> Ranking:
    """Rank the most typical image of each unlabeled group, the largest group first (Hacohen et al. 2022, TypiClust)."""
    if not len(pool.candidates):
        return NOTHING
    squared = subsample_distances(pool)
    k = min(NEIGHBOURS + 1, len(squared))
    near = np.sqrt(np.partition(squared, k - 1, axis=1)[:, :k]).sum(axis=1) / max(k - 1, 1)
    return _in_turn(pool, count, 1.0 / (near + 1e-6), "typical of a group without labels")


def representative(pool: Pool, count: int) -> Ranking:
    """Rank the image nearest to the centre of each group, groups with few labels first (Xu et al. 2003)."""
    if not len(pool.candidates):
        return NOTHING
    sample, groups = pool.embeddings[subsample(pool)], _groups(pool)
    centres = np.zeros((groups.max() + 1, sample.shape[1]))
    np.add.at(centres, groups, sample)
    centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
    return _in_turn(pool, count, np.einsum("nd,nd->n", sample, centres[groups]), "at the centre of a group")


def cluster_margin(pool: Pool, count: int) -> Ranking:
    """Take the most uncertain images from each group in turn, small groups first (Citovsky et al. 2021).

    The groups are k-means clusters instead of hierarchical ones. Each block of ten images comes from the hundred most
    uncertain ones, so that prefixes are good too.
    """
    if pool.probabilities is None:
        return random(pool, count)
    targets = subsample(pool)
    inside = np.flatnonzero(np.isin(targets, pool.candidates))
    groups = clusters(pool, min(MOST, max(2, len(targets) // 10)))
    sizes = np.bincount(groups, minlength=1)
    rows, scores = highest(pool, margin_scores(pool.probabilities[targets[inside]]), len(inside), targets[inside])
    of = groups[np.searchsorted(targets, rows)]
    waiting = np.arange(len(rows))
    order: list[int] = []
    while len(waiting) and len(order) < count:
        block = waiting[: 10 * BATCH]
        turn = _occurrence(of[block])  # position within its group
        chosen = block[np.lexsort((np.arange(len(block)), sizes[of[block]], turn))[:BATCH]]
        order.extend(chosen.tolist())
        waiting = np.setdiff1d(waiting, chosen, assume_unique=True)
    order = order[:count]
    picked = rows[order]
    return completed(pool, Ranking(picked, scores[order], torn_between(pool, picked)), count, "drawn at random")


def _groups(pool: Pool) -> NDArray[np.int64]:
    """The group (T,) of each subsample row: one group per label plus one batch.

    Beyond 50, the number of groups is rounded up to a multiple of 50, so that not every list needs a new clustering.
    """
    wanted = len(pool.labeled) + BATCH
    return clusters(pool, min(MOST, wanted if wanted <= 50 else -(-wanted // 50) * 50))


def _in_turn(pool: Pool, count: int, merit: Floats, reason: str) -> Ranking:
    """From the groups with the fewest labels, the largest first, pick the candidate of highest `merit` (T,); repeat."""
    targets, groups = subsample(pool), _groups(pool)
    sizes = np.bincount(groups, minlength=1)
    covered = np.bincount(groups[np.isin(targets, pool.covered)], minlength=len(sizes))
    inside = np.flatnonzero(np.isin(targets, pool.candidates))
    rows, scores = highest(pool, merit[inside], len(inside), targets[inside])
    of = groups[np.searchsorted(targets, rows)]
    labels_then = covered[of] + _occurrence(of)  # labels in the group by the time the image is asked
    order = np.lexsort((np.arange(len(rows)), of, -sizes[of], labels_then, sizes[of] <= SMALL))[:count]
    picked = Ranking(rows[order], scores[order], [reason] * len(order))
    return completed(pool, picked, count, "drawn at random")


def _occurrence(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each element, the number of equal elements before it."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(groups) else np.empty(0, dtype=np.int64)
    lengths = np.diff(np.r_[starts, len(groups)])
    places = np.empty(len(groups), dtype=np.int64)
    places[order] = np.arange(len(groups)) - np.repeat(starts, lengths)
    return places
