"""Estimates accuracy from test images that were drawn with known, unequal probabilities: hard ones more often.

A test image about which the model is sure says little, because the prediction is almost certainly right. So an active
test asks about the others more often, and weighs each answer by the inverse of the probability that its image was drawn
by now (Horvitz & Thompson 1952; active testing: Kossen et al. 2021, arXiv 2103.05331; with a model's predictions: Zrnic
& Candès 2024, arXiv 2403.03208). With y = right or wrong, c = confidence, w = 1 / chance, means weighted by w, n
labels, N images:

    θ = ȳ − λ·(c̄_seen − c̄_N),  λ = cov(y, c) / var(c), limited to 0 … 1
    variance of θ = Σ (1 − chance)·w²·e² / (Σw)² · n/(n − 3) + θ(1 − θ)/N,  e = y − ȳ − λ(c − c̄)

The last term is there because the N images are a sample, too. The interval is Wilson's at θ, for the number of labels
that would give this variance. With fewer than `LEAST` right or wrong answers, it is Wilson's for Kish's effective
sample size, (Σw)²/Σw², which confidences do not increase. If all probabilities are equal, the estimate equals that of
`prediction_powered`, and the interval is nearly the same.

The model that suggested an image may differ from the evaluated one: only the probabilities must be known. `rates` are
flatter than the optimum for a calibrated model, because with the optimal rates the interval of an overconfident model
contains the truth too rarely (docs/measurements/experiments.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shared.wire.evaluation import Interval
from trainer.evaluation.metrics import wilson_at
from trainer.evaluation.prediction_powered import LEAST

EVEN = 0.3
"""Share of the rate that is equal for all images. No answer weighs more than 1 / EVEN times the average."""
POWER = 0.25
"""Exponent of c·(1 − c). One half would be optimal for a calibrated model."""
SUREST = 1e-6  # lower limit of c·(1 − c)
NEARLY = 1e-6  # lower limit of the accuracy and of the share of errors
NOTHING = np.empty(0)

Floats = NDArray[np.floating]


def rates(confidence: Floats) -> NDArray[np.float64]:
    """Relative sampling rates of images with these confidences (n,): mean 1, minimum EVEN."""
    wanted = np.maximum(confidence.astype(np.float64) * (1 - confidence), SUREST) ** POWER
    return np.asarray(EVEN + (1 - EVEN) * wanted / wanted.mean(), np.float64)


def accuracy(
    right: NDArray[np.bool_],
    confidence: Floats,
    chance: Floats,
    *,
    asked: Floats = NOTHING,
    asked_chance: Floats | None = None,
    still_open: Floats = NOTHING,
    size: int = 0,
) -> Interval:
    """The accuracy of a model that was `right` (n,) at `confidence` (n,) on images drawn with probability `chance`
    (n,).

    `asked` (k,) are its confidences on images that were drawn but got no label, with their probabilities. `still_open`
    (m,) are its confidences on the others or a random part of them; empty if unknown. `size` counts all test images.
    """
    n, hits = len(right), int(np.count_nonzero(right))
    y, c, w = right.astype(np.float64), confidence.astype(np.float64), 1 / chance.astype(np.float64)
    size = max(size, n + len(asked) + len(still_open))
    mean = float(np.average(y, weights=w))
    if min(hits, n - hits) < LEAST:
        return wilson_at(mean, float(w.sum() ** 2 / (w * w).sum()), n)
    middle, slope, value = float(np.average(c, weights=w)), 0.0, mean
    spread = float(np.average((c - middle) ** 2, weights=w))
    if len(still_open) and spread > 0:
        slope = float(np.clip(np.average((y - mean) * (c - middle), weights=w) / spread, 0, 1))
        seen = np.concatenate([c, asked])
        weights = w if asked_chance is None else np.concatenate([w, 1 / asked_chance])
        everywhere = (seen.sum() + still_open.mean() * (size - len(seen))) / size
        value = mean - slope * (float(np.average(seen, weights=weights)) - float(everywhere))
    value = float(np.clip(value, NEARLY, 1 - NEARLY))
    left = y - mean - slope * (c - middle)
    variance = float(((1 - chance) * w * w * left * left).sum()) / float(w.sum()) ** 2 * n / max(n - 3, 1)
    variance += value * (1 - value) / size
    others = len(asked) + len(still_open) if slope else 0
    return wilson_at(value, value * (1 - value) / variance, n).model_copy(update={"unlabeled": others})
