"""Strategy for rare classes: cover the images that may belong to a class with few labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from trainer.strategies.geometry import scored, subsample
from trainer.strategies.herding import RANDOM, herd, maxherding
from trainer.strategies.ranking import Floats, Pool, Ranking
from trainer.strategies.uncertainty import Probabilities, margin_scores


def class_balanced(pool: Pool, count: int) -> Ranking:
    """Cover the uncertain images of classes with few labels first; until there is a head, cover the pool.

    This is uncertainty herding with the weights multiplied by Σ p(k) / (1 + nₖ) (after Aggarwal et al. 2020). Here nₖ
    is the number of labels of class k plus the number expected from the images that come earlier in the list, so that
    one rare class does not fill it.
    """
    if pool.probabilities is None or pool.classes is None:
        return maxherding(pool, count)
    have = np.array([(pool.labels == class_id).sum() for class_id in pool.classes], dtype=np.float64)
    given, p, targets = have.copy(), pool.probabilities, subsample(pool)
    of_targets = p[targets]
    unsure = margin_scores(of_targets) + 1e-3

    def fading(row: int) -> Floats:
        have[:] += p[row]
        return unsure * _rarity(of_targets, have)

    weights = scored(pool, lambda some: (margin_scores(some) + 1e-3) * _rarity(some, have))
    ranking = herd(pool, count, weights, fading)
    few = p[ranking.rows] / (1.0 + given)  # (n, K)
    best = few.argmax(axis=1)
    rare = given[best] <= given.mean()
    names = pool.classes[best].tolist()
    reasons = [
        f"perhaps {{class:{names[i]}}}, which has few labels" if rare[i] and reason != RANDOM else reason
        for i, reason in enumerate(ranking.reasons)
    ]
    return replace(ranking, reasons=reasons)


def _rarity(p: Probabilities, have: Floats) -> Floats:
    """How rare the likely classes of each row are among the labels: 1 if they have none. `p` (n, K), `have` (K,)."""
    rarity: Floats = p @ (1.0 / (1.0 + have))
    return rarity
