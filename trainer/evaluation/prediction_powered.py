"""Sharpens the accuracy with the model's confidence on test images that nobody has labeled yet.

The labeled test images are a random sample, so by chance they may be easier or harder than the rest. The model's mean
confidence on both shows by how much, and the accuracy is corrected for it (prediction-powered inference, Angelopoulos
et al. 2023, arXiv 2311.01453). With y = right or wrong, c = confidence, n labeled images in a sample of N:

    θ = ȳ − λ·(c̄_n − c̄_N),  λ = cov(y, c) / var(c), limited to 0 … 1,  variance of θ = var(y)/n · (1 − ρ²·(1 − n/N))

The confidence need not be calibrated: if it is uninformative, λ is small. The interval is Wilson's at θ, for the number
of labels that would give this variance without the confidence. The normal interval covers too little at high accuracy.
The slope λ and the gain are estimated from the same few labels, so the remaining share of the variance is multiplied by
(n − 1)/(n − 3), the classical loss of a regression estimator (Cochran 1977, section 7.7). If there is no gain after
that, or with fewer than `LEAST` right or wrong answers, the interval is the plain one. `benchmarks.interval_coverage`
measures how often it contains the true accuracy.

It is valid only if the images asked so far are a random sample of all N, and if the model learned from none of them.
The caller checks both. Images that were asked but skipped belong to that sample: without them, the labeled ones would
look easier than the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.wire.evaluation import Interval
from trainer.evaluation.metrics import wilson, wilson_at

LEAST = 3
"""Minimum number of right answers, and of wrong ones, before a correlation with them means anything."""
MOST = 4_000
"""Maximum number of unlabeled images whose confidence is used. More would gain little and slow a round down."""

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Unlabeled:
    """Rows of the other images of the random sample: asked but not labeled (k, D), and not asked yet (m, D).

    `size` counts all test images, because `open` may be a random part of those not asked yet. In an active test,
    `chance` (n,) is the sampling probability of each labeled image, and `asked_chance` (k,) that of the other asked
    images; see `active_sample`.
    """

    asked: Matrix
    open: Matrix
    size: int = 0
    chance: NDArray[np.float64] | None = None
    asked_chance: NDArray[np.float64] | None = None


def accuracy(
    right: NDArray[np.bool_],
    confidence: NDArray[np.floating],
    asked: NDArray[np.floating],
    unasked: NDArray[np.floating],
) -> Interval:
    """The accuracy of a model that was `right` (n,) at `confidence` (n,), with its 95 % interval.

    `asked` (k,) are its confidences on images that were asked but got no label, `unasked` (m,) those on the others.
    """
    n, hits = len(right), int(np.count_nonzero(right))
    plain = wilson(hits, n)
    if min(hits, n - hits) < LEAST or len(unasked) == 0:
        return plain
    y, c = right.astype(np.float64), confidence.astype(np.float64)
    seen = np.concatenate([c, asked])
    everything = np.concatenate([seen, unasked])
    covariance, variance = float(np.mean((y - y.mean()) * (c - c.mean()))), float(seen.var())
    if covariance <= 0 or variance <= 0:
        return plain
    slope = min(1.0, covariance / variance)
    gained = (2 * slope * covariance - slope * slope * variance) * n / len(seen) / float(y.var())
    left = (1 - gained) * (n - 1) / (n - 3)
    if left >= 1:
        return plain
    value = float(np.clip(y.mean() - slope * (seen.mean() - everything.mean()), 0, 1))
    worth = n / (1 - (1 - left) * (1 - len(seen) / len(everything)))
    return wilson_at(value, worth, n).model_copy(update={"unlabeled": len(asked) + len(unasked)})
