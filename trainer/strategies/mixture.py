"""Lists made of several: shares of other strategies, or equal shares of confidence bands."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trainer.strategies.random_sampling import interleave, random
from trainer.strategies.ranking import Pool, Ranking, Strategy, highest

BANDS = 5


def mixture(shares: Mapping[Strategy, float]) -> Strategy:
    """A strategy whose list holds at every prefix `shares` of others' lists, scaled to sum to one (Monarch 2021).

    Raises ValueError for a share that is negative, or none that is positive.
    """
    total = sum(shares.values())
    if not shares or not total > 0 or any(not share >= 0 for share in shares.values()):
        raise ValueError("the shares of a mixture must be positive numbers")

    def mixed(pool: Pool, count: int) -> Ranking:
        return interleave([strategy(pool, count) for strategy in shares], [s / total for s in shares.values()], count)

    return mixed


def confidence_bands(pool: Pool, count: int) -> Ranking:
    """Equal shares from five bands of confidence, random within each (Monarch 2021, "stratified by confidence").

    Bands hold equally many images, so that none is empty. Random order before there is a head.
    """
    if pool.probabilities is None or not len(pool.candidates):
        return random(pool, count)
    confidence = pool.probabilities[pool.candidates].max(axis=1).astype(np.float64)
    tie_breakers = pool.tie_breakers()[pool.candidates]
    ordered = pool.candidates[np.lexsort((tie_breakers, confidence))]
    bands = np.array_split(ordered, BANDS)  # the least certain first
    rankings = []
    for number, band in enumerate(bands):
        rows, scores = highest(pool, pool.tie_breakers()[band], count, band)
        rankings.append(Ranking(rows, scores, [f"from confidence band {number + 1} of {BANDS}"] * len(rows)))
    return interleave(rankings, [1 / BANDS] * BANDS, count)
