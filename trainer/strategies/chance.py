"""Random order: what every other strategy has to beat, and the only one whose labels are a fair sample of the pool."""

from __future__ import annotations

from trainer.strategies.ranking import Pool, Ranking, highest


def random(pool: Pool, count: int) -> Ranking:
    """Candidates in random order. Under one seed an image keeps its place from list to list."""
    rows, scores = highest(pool, pool.lots()[pool.candidates], count)
    return Ranking(rows, scores, ["drawn at random"] * len(rows))
