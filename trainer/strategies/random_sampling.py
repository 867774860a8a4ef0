"""Random sampling: the baseline for every other strategy, and the only one whose labels are a representative sample.

Any strategy can give a share of its list to random sampling (`with_exploration`).
"""

from __future__ import annotations

import numpy as np

from trainer.strategies.ranking import Pool, Ranking, Strategy, highest


def random(pool: Pool, count: int) -> Ranking:
    """Candidates in random order. An image keeps its place from list to list while the seed stays the same."""
    rows, scores = highest(pool, pool.tie_breakers()[pool.candidates], count)
    return Ranking(rows, scores, ["drawn at random"] * len(rows))


def with_exploration(strategy: Strategy, share: float) -> Strategy:
    """Replace `share` (0 to 1) of the strategy's list by random images, spread evenly.

    The first n rows contain about n·share random ones. The random places are fixed, and so is the order of the random
    images for one `pool.seed`. Nothing is replaced until there is a head, because a random image cannot contradict a
    model that does not exist. Raises ValueError for a share outside 0 to 1.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"exploration must be between 0 and 1, not {share}")
    if share == 0.0:
        return strategy

    def mixed(pool: Pool, count: int) -> Ranking:
        main = strategy(pool, count)
        if pool.probabilities is None:
            return main
        return interleave([main, random(pool, count)], [1.0 - share, share], count)

    return mixed


def interleave(rankings: list[Ranking], shares: list[float], count: int) -> Ranking:
    """Merge several rankings into one of `count` rows, each row once, with the given shares as close as possible
    everywhere.

    When one ranking runs out, the others take its places. Scores are copied, so they need not descend.
    """
    lists = [list(zip(r.rows.tolist(), r.scores.tolist(), r.reasons, strict=True))[::-1] for r in rankings]
    taken: set[int] = set()
    given = np.zeros(len(lists))
    rows: list[int] = []
    scores: list[float] = []
    reasons: list[str] = []
    while len(rows) < count and any(lists):
        owed = np.where([bool(x) for x in lists], np.asarray(shares) * (len(rows) + 1) - given, -np.inf)
        source = int(np.argmax(owed))
        row, score, reason = lists[source].pop()
        if row in taken:
            continue
        taken.add(row)
        given[source] += 1
        rows.append(row)
        scores.append(score)
        reasons.append(reason)
    return Ranking(np.array(rows, dtype=np.int64), np.array(scores), reasons)
