"""Whether more labeling is worth it, in numbers. Advice only: nothing here stops anything.

Three signs, each shown only where there is ground for it: predictions no longer change (Bloodgood & Vijay-Shanker
2009), the curve has gone flat, and where a power law through the curve so far leads. Pure functions over what was
measured on the random test sample; they know nothing of models and services.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

STABLE = 0.99  # mean kappa of three comparisons
FLAT = 0.005  # accuracy gained per hundred labels
LEAST_EVALUATIONS, LEAST_TEST = 5, 100  # before a curve is drawn on
DRAWS = 200  # for the band
EXPONENTS = np.arange(0.1, 2.01, 0.05)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """One evaluation: `labels` trained on, `accuracy` between 0 and 1 on `n` test images."""

    labels: int
    accuracy: float
    n: int


@dataclass(frozen=True)
class Forecast:
    """Accuracy expected at `labels`, with a 95 % band."""

    labels: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class Needed:
    """About `labels` more to reach the goal, between `low` and `high`; None is more than can be said."""

    labels: int | None
    low: int
    high: int | None


def kappa(before: NDArray[np.int64], after: NDArray[np.int64]) -> float:
    """Cohen's agreement of two predictions (n,) beyond chance; 1 when both say one and the same class throughout."""
    classes = np.unique(np.concatenate([before, after]))
    observed = float((before == after).mean())
    expected = float(sum((before == c).mean() * (after == c).mean() for c in classes))
    return 1.0 if expected >= 1.0 else (observed - expected) / (1.0 - expected)


def stable(kappas: Sequence[float]) -> bool:
    """Whether the last three models, a fixed number of labels apart, agree so well that more labels change little."""
    return len(kappas) >= 3 and float(np.mean(kappas[-3:])) >= STABLE


def slope(points: Sequence[Point]) -> float | None:
    """Accuracy gained per hundred labels over the last half of the curve, by least squares; None without ground."""
    if not _ground(points):
        return None
    late = points[len(points) // 2 :]
    x = np.array([point.labels for point in late], dtype=np.float64)
    if x.max() == x.min():
        return None
    return float(100 * np.polyfit(x, [point.accuracy for point in late], 1)[0])


def flat(points: Sequence[Point]) -> bool:
    """Whether a hundred more labels would gain less than half a point, as the curve goes now."""
    gained = slope(points)
    return gained is not None and gained < FLAT


def forecast(points: Sequence[Point], labels: int, *, seed: int = 0) -> Forecast | None:
    """Where error = a + b·labels^(−c) through the curve leads (Hestness et al. 2017); None without ground.

    The band: the same fit to curves redrawn from what each test sample could have shown.
    """
    if not _ground(points):
        return None
    x = np.array([point.labels for point in points], dtype=np.float64)
    drawn = _power_law(x, _redrawn(points, seed), np.array([float(labels)]))[:, 0]
    low, high = np.quantile(drawn[1:], [0.025, 0.975])
    return Forecast(labels, 1 - float(drawn[0]), 1 - float(high), 1 - float(low))


def labels_needed(points: Sequence[Point], goal: float, *, seed: int = 0) -> Needed | None:
    """How many more labels reach accuracy `goal`; None without ground.

    Looks as far as ten times the labels spent: beyond that a curve says nothing.
    """
    if not _ground(points):
        return None
    x = np.array([point.labels for point in points], dtype=np.float64)
    ahead = np.unique(np.geomspace(x[-1], 10 * x[-1], 200).round())
    reached = _power_law(x, _redrawn(points, seed), ahead) <= 1 - goal  # (1 + draws, ahead)
    more = np.where(reached.any(axis=1), ahead[reached.argmax(axis=1)] - x[-1], np.inf)
    low, high = np.quantile(more[1:], [0.025, 0.975], method="nearest")
    if not np.isfinite(low):
        return Needed(None, int(9 * x[-1]), None)
    return Needed(_whole(more[0]), int(low), _whole(high))


def _whole(value: float) -> int | None:
    return int(value) if np.isfinite(value) else None


def _ground(points: Sequence[Point]) -> bool:
    return len(points) >= LEAST_EVALUATIONS and points[-1].n >= LEAST_TEST


def _redrawn(points: Sequence[Point], seed: int) -> Floats:
    """Errors (1 + draws, points): as measured, then as samples of the same sizes could have shown.

    One sample is measured again and again, so its luck is shared: each draw shifts the whole curve by one quantile.
    """
    error = np.array([1 - point.accuracy for point in points])
    n = np.array([max(point.n, 1) for point in points])
    spread = np.sqrt((error * (1 - error) + 1 / (4 * n)) / n)
    draw = np.random.default_rng(seed)
    shared, own = draw.standard_normal((DRAWS, 1)), draw.standard_normal((DRAWS, len(points)))
    shifted = error + spread * (np.sqrt(0.7) * shared + np.sqrt(0.3) * own)
    curves: Floats = np.clip(np.vstack([error, shifted]), 0.0, 1.0)
    return curves


def _power_law(x: Floats, errors: Floats, ahead: Floats) -> Floats:
    """Errors (curves, ahead) by the best a + b·x^(−c) with a, b ≥ 0 for each row of `errors` (curves, points)."""
    best = np.full(len(errors), np.inf)
    found: Floats = np.empty((len(errors), len(ahead)))
    for exponent in EXPONENTS:
        design = np.stack([np.ones_like(x), (x / x[0]) ** -exponent], axis=1)
        there = np.stack([np.ones_like(ahead), (ahead / x[0]) ** -exponent], axis=1)
        for i, row in enumerate(errors):
            solution, residual = nnls(design, row)
            if residual < best[i]:
                best[i], found[i] = residual, np.asarray(there @ solution)
    return found
