"""BADGE: diverse and uncertain images, by the gradient that a label would give the last layer of the head."""

from __future__ import annotations

import numpy as np

from trainer.strategies.geometry import scored
from trainer.strategies.random_sampling import random
from trainer.strategies.ranking import Pool, Ranking, completed, shortlist, take, upcoming_in
from trainer.strategies.uncertainty import least_confidence_scores, torn_between

CANDIDATES = 4_000


def badge(pool: Pool, count: int) -> Ranking:
    """k-means++ seeding on gradient embeddings (Ash et al. 2020, BADGE).

    The gradient of a linear head for the likeliest label is the outer product of a = p − onehot(ŷ) and the embedding h.
    So squared distances are |aᵢ|²|hᵢ|² + |aⱼ|²|hⱼ|² − 2(aᵢ·aⱼ)(hᵢ·hⱼ), and the K·D gradient is never built.
    """
    if pool.probabilities is None or not len(pool.candidates) or count <= 0:
        return random(pool, count)
    rows = shortlist(pool, scored(pool, least_confidence_scores), max(CANDIDATES, count))
    a, h = pool.probabilities[rows].astype(np.float64), pool.embeddings[rows]
    a[np.arange(len(rows)), a.argmax(axis=1)] -= 1.0
    length = np.einsum("nk,nk->n", a, a) * np.einsum("nd,nd->n", h, h)  # |g|²
    draw, tie_breakers = np.random.default_rng(pool.seed), pool.tie_breakers()[rows]
    left = np.ones(len(rows), dtype=bool)
    distance = np.full(len(rows), np.inf)
    waiting = upcoming_in(pool, rows)
    pick = take(length, int(np.lexsort((tie_breakers, -length))[0]), waiting)
    picks, scores = [pick], [float(length[pick])]
    while len(picks) < min(count, len(rows)):
        left[pick] = False
        to_pick = length + length[pick] - 2.0 * (a @ a[pick]) * (h @ h[pick])
        distance = np.minimum(distance, np.maximum(to_pick, 0.0))
        chance = np.cumsum(np.where(left, distance, 0.0))
        pick = min(int(np.searchsorted(chance, draw.random() * chance[-1], side="right")), len(rows) - 1)
        if not left[pick]:  # only copies of picked images are left
            pick = int(np.flatnonzero(left)[np.argmin(tie_breakers[left])])
        pick = take(distance, pick, waiting)
        picks.append(pick)
        scores.append(float(distance[pick]))
    picked = rows[picks]
    return completed(pool, Ranking(picked, np.array(scores), torn_between(pool, picked)), count, "drawn at random")
