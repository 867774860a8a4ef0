"""Coverage without a model.

`coreset` keeps every image close to a label (k-center). `probcover` places balls of one radius around labels so that
they contain as many images as possible.
"""

from __future__ import annotations

import numpy as np

from trainer.strategies.geometry import clusters, nearest_covered, subsample, subsample_distances
from trainer.strategies.herding import greedy_cover
from trainer.strategies.ranking import NOTHING, Pool, Ranking, completed, take, upcoming_in

PURITY = 0.95  # share of balls that contain a single pseudo-class


def coreset(pool: Pool, count: int) -> Ranking:
    """Rank the candidate farthest from every label first, repeatedly (Sener & Savarese 2018, k-center greedy)."""
    targets = subsample(pool)
    inside = np.flatnonzero(np.isin(targets, pool.candidates))
    rows, tie_breakers, squared = targets[inside], pool.tie_breakers()[targets[inside]], subsample_distances(pool)
    distance = np.sqrt(nearest_covered(pool)[inside].astype(np.float64))
    picks, scores, waiting = [], [], upcoming_in(pool, rows)
    for _ in range(min(count, len(rows))):
        pick = take(distance, int(np.lexsort((tie_breakers, -distance))[0]), waiting)
        picks.append(pick)
        scores.append(float(distance[pick]))
        np.minimum(distance, np.sqrt(squared[inside[pick], inside]), out=distance)
        distance[pick] = -np.inf
    ranking = Ranking(rows[picks], np.array(scores), ["farthest from every labeled image"] * len(picks))
    return completed(pool, ranking, count, "drawn at random")


def probcover(pool: Pool, count: int) -> Ranking:
    """Rank the image with the most uncovered images within its radius first (Yehuda et al. 2022, ProbCover).

    The radius is the largest at which 95 % of the balls contain a single pseudo-class. Pseudo-classes are k-means
    clusters, as many as there are labeled classes (ten while fewer than two are known).
    """
    targets = subsample(pool)
    inside = np.flatnonzero(np.isin(targets, pool.candidates))
    if not len(inside) or count <= 0:
        return completed(pool, NOTHING, count, "drawn at random")
    known = len(np.unique(pool.labels[pool.labels >= 0]))
    radius = _radius(pool, known if known > 1 else 10)
    edges = (subsample_distances(pool)[inside] < radius).astype(np.float32)
    covered = (nearest_covered(pool) < radius).astype(np.float32)
    rows = targets[inside]
    alike = np.ones(len(targets), dtype=np.float32)
    order, gains = greedy_cover(edges, alike, covered, count, pool.tie_breakers()[rows], upcoming_in(pool, rows))
    ranking = Ranking(rows[order], gains, ["similar to many images that resemble no labeled one"] * len(order))
    return completed(pool, ranking, count, "drawn at random")


def _radius(pool: Pool, classes: int) -> float:
    """The squared radius. A ball stays pure until it reaches the nearest image of another pseudo-class."""
    squared, pseudo = subsample_distances(pool), clusters(pool, classes)
    other = pseudo[:, None] != pseudo[None, :]
    nearest_other = np.where(other, squared, np.inf).min(axis=1)
    reach = np.sort(nearest_other)[int((1 - PURITY) * len(nearest_other))]
    return float(reach) if np.isfinite(reach) else float(squared.max()) + 1e-6
