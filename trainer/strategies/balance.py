"""Strategy for rare classes: ask about images that may belong to a class with few labels."""

from __future__ import annotations

import numpy as np

from trainer.strategies.random_sampling import random
from trainer.strategies.ranking import Pool, Ranking, completed, shortlist, take, upcoming_in
from trainer.strategies.uncertainty import margin_scores

CANDIDATES = 10_000


def class_balanced(pool: Pool, count: int) -> Ranking:
    """Rank uncertain images of classes with few labels first (after Aggarwal et al. 2020).

    An image scores its uncertainty, 1 − (p₁ − p₂), times Σ p(k) / (1 + nₖ). Here nₖ is the number of labels of class k
    plus the number expected from the images that come earlier in the list, so that one rare class does not fill it. The
    order is random until there is a head.
    """
    if pool.probabilities is None or pool.classes is None or not len(pool.candidates) or count <= 0:
        return random(pool, count)
    rows = shortlist(pool, margin_scores(pool.probabilities), max(CANDIDATES, count))
    p = pool.probabilities[rows].astype(np.float64)
    unsure = margin_scores(p) + 1e-3
    have = np.array([(pool.labels == class_id).sum() for class_id in pool.classes], dtype=np.float64)
    tie_breakers, left = pool.tie_breakers()[rows], np.ones(len(rows), dtype=bool)
    picks, scores, waiting = [], [], upcoming_in(pool, rows)
    for _ in range(min(count, len(rows))):
        worth = np.where(left, unsure * (p @ (1.0 / (1.0 + have))), -np.inf)
        ties = np.flatnonzero(worth >= worth.max() - 1e-12)
        pick = take(worth, int(ties[np.argmin(tie_breakers[ties])]), waiting)
        picks.append(pick)
        scores.append(float(worth[pick]))
        left[pick] = False
        have += p[pick]
    likeliest = pool.classes[p[picks].argmax(axis=1)].tolist()
    reasons = [f"perhaps {{class:{class_id}}}, which has few labels" for class_id in likeliest]
    return completed(pool, Ranking(rows[picks], np.array(scores), reasons), count, "drawn at random")
