"""Lists combined from several: shares of other strategies, or equal shares of confidence bands."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trainer.strategies.random_sampling import interleave, random
from trainer.strategies.ranking import Pool, Ranking, Strategy, highest

BANDS = 5


def mixture(shares: Mapping[Strategy, float]) -> Strategy:
    """A strategy whose list contains the given shares of other lists at every prefix (Monarch 2021).

    Shares are scaled to sum to one. Raises ValueError if a share is negative or none is positive.
    """
    total = sum(shares.values())
    if not shares or not total > 0 or any(not share >= 0 for share in shares.values()):
        raise ValueError("the shares of a mixture must be positive numbers")

    def mixed(pool: Pool, count: int) -> Ranking:
        return interleave([strategy(pool, count) for strategy in shares], [s / total for s in shares.values()], count)

    return mixed


def confidence_bands(pool: Pool, count: int) -> Ranking:
    """Equal shares from five confidence bands, random within each (Monarch 2021, "stratified by confidence").

    All bands contain equally many images, so that none is empty. The order is random until there is a head.
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
