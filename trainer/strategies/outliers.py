"""Outliers: images unlike all others, and images with unusually low confidence for their predicted class."""

from __future__ import annotations

import numpy as np

from trainer.strategies.geometry import NEIGHBOUR, in_question, subsample, subsample_distances
from trainer.strategies.random_sampling import random
from trainer.strategies.ranking import NOTHING, Pool, Ranking, completed, highest


def outlier(pool: Pool, count: int) -> Ranking:
    """Rank by distance to the tenth nearest image, farthest first (Ramaswamy et al. 2000). Needs no model."""
    if not len(pool.candidates):
        return NOTHING
    targets = subsample(pool)
    k = min(NEIGHBOUR, len(targets) - 1)
    distances = np.sqrt(np.partition(subsample_distances(pool), k, axis=1)[:, k])
    inside = np.flatnonzero(np.isin(targets, pool.candidates))
    rows, scores = highest(pool, distances[inside], count, targets[inside])
    ranking = Ranking(rows, scores, ["unlike all other images"] * len(rows))
    return completed(pool, ranking, count, "drawn at random")


def model_outlier(pool: Pool, count: int) -> Ranking:
    """Rank the least confident images of each predicted class first (after Monarch 2021, section 4.2).

    The score is the number of standard deviations by which the confidence lies below the mean of all images with the
    same predicted class. So a class with low confidence throughout does not fill the list. The order is random until
    there is a head.
    """
    if pool.probabilities is None:
        return random(pool, count)
    seen = in_question(pool)
    p = pool.probabilities[seen].astype(np.float64)
    likeliest, confidence = p.argmax(axis=1), p.max(axis=1)
    sizes = np.maximum(np.bincount(likeliest, minlength=p.shape[1]), 1)
    mean = np.bincount(likeliest, confidence, minlength=p.shape[1]) / sizes
    spread = np.sqrt(np.bincount(likeliest, (confidence - mean[likeliest]) ** 2, minlength=p.shape[1]) / sizes)
    below = (mean[likeliest] - confidence) / (spread[likeliest] + 1e-3)
    rows, scores = highest(pool, below[np.searchsorted(seen, pool.candidates)], count)
    return Ranking(rows, scores, ["less confident than usual for its predicted class"] * len(rows))
