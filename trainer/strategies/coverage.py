"""Coverage without a model: spread the labels so that no image is far from one (k-center), or so that balls of one
radius around them hold as many images as they can (ProbCover)."""

from __future__ import annotations

import numpy as np

from trainer.strategies.geometry import clusters, nearest_covered, subsample, subsample_distances
from trainer.strategies.herding import greedy_cover
from trainer.strategies.ranking import NOTHING, Pool, Ranking, completed, take, upcoming_in

PURITY = 0.95  # share of balls that hold one pseudo-class only


def coreset(pool: Pool, count: int) -> Ranking:
    """The candidate farthest from every label first, again and again (Sener & Savarese 2018, k-center greedy)."""
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
    ranking = Ranking(rows[picks], np.array(scores), ["farthest from all labels"] * len(picks))
    return completed(pool, ranking, count, "drawn at random")


def probcover(pool: Pool, count: int) -> Ranking:
    """Most images within the radius that no label covers yet first (Yehuda et al. 2022, ProbCover).

    The radius is the largest at which 95 % of the balls hold one pseudo-class only, these being k-means clusters, as
    many as there are classes (ten before any is known).
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
    ranking = Ranking(rows[order], gains, ["like many images that resemble no label"] * len(order))
    return completed(pool, ranking, count, "drawn at random")


def _radius(pool: Pool, classes: int) -> float:
    """The squared radius: a ball is pure until it reaches the nearest image of another pseudo-class."""
    squared, pseudo = subsample_distances(pool), clusters(pool, classes)
    other = pseudo[:, None] != pseudo[None, :]
    nearest_other = np.where(other, squared, np.inf).min(axis=1)
    reach = np.sort(nearest_other)[int((1 - PURITY) * len(nearest_other))]
    return float(reach) if np.isfinite(reach) else float(squared.max()) + 1e-6
