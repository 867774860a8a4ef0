"""What does not belong: images unlike all others, and images that the head is oddly unsure of."""

from __future__ import annotations

import numpy as np

from trainer.strategies.geometry import NEIGHBOUR, subsample, subsample_distances
from trainer.strategies.random_sampling import random
from trainer.strategies.ranking import NOTHING, Pool, Ranking, completed, highest


def outlier(pool: Pool, count: int) -> Ranking:
    """Farthest from its tenth nearest image first (Ramaswamy et al. 2000); needs no model."""
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
    """Least confident among those taken for the same class first (after Monarch 2021, section 4.2).

    How many standard deviations the confidence lies below the mean of all images with the same likeliest class, so
    that a class of which the head is never sure does not fill the list. Random order before there is a head.
    """
    if pool.probabilities is None:
        return random(pool, count)
    p = pool.probabilities.astype(np.float64)
    likeliest, confidence = p.argmax(axis=1), p.max(axis=1)
    sizes = np.maximum(np.bincount(likeliest, minlength=p.shape[1]), 1)
    mean = np.bincount(likeliest, confidence, minlength=p.shape[1]) / sizes
    spread = np.sqrt(np.bincount(likeliest, (confidence - mean[likeliest]) ** 2, minlength=p.shape[1]) / sizes)
    below = (mean[likeliest] - confidence) / (spread[likeliest] + 1e-3)
    rows, scores = highest(pool, below[pool.candidates], count)
    return Ranking(rows, scores, ["the model is less sure of it than of its like"] * len(rows))
