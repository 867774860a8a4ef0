"""What does not belong: images unlike all others, and images that excite no class as its labeled images do."""

from __future__ import annotations

import numpy as np

from trainer.strategies.chance import random
from trainer.strategies.geometry import NEIGHBOUR, stand_in_distances, stand_ins
from trainer.strategies.ranking import NOTHING, Pool, Ranking, completed, highest


def outlier(pool: Pool, count: int) -> Ranking:
    """Farthest from its tenth nearest image first (Ramaswamy et al. 2000); needs no model."""
    if not len(pool.candidates):
        return NOTHING
    targets = stand_ins(pool)
    k = min(NEIGHBOUR, len(targets) - 1)
    distances = np.sqrt(np.partition(stand_in_distances(pool), k, axis=1)[:, k])
    inside = np.flatnonzero(np.isin(targets, pool.candidates))
    rows, scores = highest(pool, distances[inside], count, targets[inside])
    ranking = Ranking(rows, scores, ["unlike all other images"] * len(rows))
    return completed(pool, ranking, count, "drawn at random")


def model_outlier(pool: Pool, count: int) -> Ranking:
    """Lowest probabilities compared with those that labeled images reach first (Monarch 2021, section 4.2).

    For the likeliest class of an image: the share of that class's labeled images which the head is surer of. Random
    order before there is a head.
    """
    if pool.probabilities is None:
        return random(pool, count)
    labeled, p = pool.labeled, pool.probabilities
    likeliest = p.argmax(axis=1)
    utilities = 1.0 - p[pool.candidates].max(axis=1).astype(np.float64)  # where a class has no labels to compare with
    for k in range(p.shape[1]):
        own = np.sort(p[labeled[likeliest[labeled] == k], k])
        mine = np.flatnonzero(likeliest[pool.candidates] == k)
        if len(own) and len(mine):
            rank = np.searchsorted(own, p[pool.candidates[mine], k], side="right") / len(own)
            utilities[mine] = (1.0 - rank) + 1e-3 * utilities[mine]  # confidence breaks ties of the rank
    rows, scores = highest(pool, utilities, count)
    return Ranking(rows, scores, ["unlike the labeled images of any class"] * len(rows))
