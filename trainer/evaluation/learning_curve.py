"""Advises whether more labeling is worth it. This is advice only: nothing here stops anything.

There are three signs, each shown only with enough data: predictions no longer change (Bloodgood & Vijay-Shanker 2009),
the learning curve has become flat, and a power law fitted to the curve gives a forecast. The input is evaluations on
the random test sample and predictions of models; this module knows neither heads nor services.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score

from shared.figures import goal_metric
from shared.wire.evaluation import Advice, Evaluation, Expected, Needed

STABLE = 0.99  # mean kappa of three comparisons
APART = 50  # minimum number of labels between the compared models
SAMPLE = 2_000  # images on which they are compared
FLAT = 0.005  # accuracy gained per hundred labels
LEAST_EVALUATIONS, LEAST_TEST = 5, 100  # minimum before advice is given
GOALS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99, 0.995)
AHEAD = np.linspace(1.0, 2.0, 6)  # points of the forecast, as multiples of the current number of labels
DRAWS = 200  # for the uncertainty band of the forecast
EXPONENTS = np.arange(0.1, 2.01, 0.05)

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Point:
    """One evaluation: the number of train `labels`, and `accuracy` (or mAP) between 0 and 1 on `n` test images."""

    labels: int
    accuracy: float
    n: int


class Stability:
    """Agreement of models that are at least `APART` labels apart, on a fixed sample of the pool.

    The history is kept in memory only: after a restart there is no earlier model to compare with.
    """

    def __init__(self) -> None:
        self.kappas: list[float] = []
        self._labels = 0
        self._predicted: dict[int, int] = {}  # image → class id, by the model to compare with next

    def observe(self, labels: int, ids: Ids, predicted: Ids) -> None:
        """Compare the predictions of the model at `labels` labels for the images `ids` (n,) with the last ones, if
        enough labels lie between them.

        Fewer labels than before, after an undo, start a new series.
        """
        if labels < self._labels:
            self.kappas, self._predicted = [], {}
        elif self._predicted and labels - self._labels < APART:
            return
        now = dict(zip(ids.tolist(), predicted.tolist(), strict=True))
        both = [image for image in now if image in self._predicted]
        if both:
            before, after = (np.array([each[image] for image in both], np.int64) for each in (self._predicted, now))
            self.kappas = [*self.kappas, kappa(before, after)][-3:]
        self._labels, self._predicted = labels, now


def advise(evaluations: Sequence[Evaluation], kappas: Sequence[float], *, goal: float | None = None) -> Advice | None:
    """All advice after the last of `evaluations`, or None.

    Without a `goal`, the labels needed are computed for the next one of `GOALS`.
    """
    points = curve(evaluations)
    agreement = float(np.mean(kappas[-3:])) if len(kappas) >= 3 else None
    if not _ground(points):
        return None if agreement is None else Advice(agreement=agreement, stable=stable(kappas))
    now = points[-1]
    goal = goal or next((each for each in GOALS if each >= now.accuracy + 0.01), None)
    return Advice(
        agreement=agreement,
        stable=stable(kappas),
        slope=slope(points),
        flat=flat(points),
        forecast=forecast(points, [round(now.labels * times) for times in AHEAD]),
        needed=labels_needed(points, goal) if goal is not None and now.accuracy < goal else None,
    )


def curve(evaluations: Sequence[Evaluation]) -> list[Point]:
    """One point per number of labels up to the current one, from the latest evaluation at each."""
    found = {each.labels: goal_metric(each)[1] for each in evaluations}
    latest = {labels: Point(labels, each.value, each.n) for labels, each in found.items()}
    return [latest[labels] for labels in sorted(latest) if labels <= evaluations[-1].labels]


def kappa(before: NDArray[np.int64], after: NDArray[np.int64]) -> float:
    """Cohen's kappa of two predictions (n,): agreement beyond chance; 1 if both always predict the same class."""
    if len(np.unique(np.concatenate([before, after]))) == 1:
        return 1.0
    return float(cohen_kappa_score(before, after))


def stable(kappas: Sequence[float]) -> bool:
    """Whether the last three comparisons agree so well that more labels change little."""
    return len(kappas) >= 3 and float(np.mean(kappas[-3:])) >= STABLE


def slope(points: Sequence[Point]) -> float | None:
    """Accuracy gained per hundred labels over the last half of the curve, by least squares; None with too few data."""
    if not _ground(points):
        return None
    late = points[len(points) // 2 :]
    x = np.array([point.labels for point in late], dtype=np.float64)
    if x.max() == x.min():
        return None
    return float(100 * np.polyfit(x, [point.accuracy for point in late], 1)[0])


def flat(points: Sequence[Point]) -> bool:
    """Whether a hundred more labels would gain less than half a point, at the current slope."""
    gained = slope(points)
    return gained is not None and gained < FLAT


def forecast(points: Sequence[Point], ahead: Sequence[int], *, seed: int = 0) -> list[Expected]:
    """Extrapolate error = a + b·labels^(−c) (Hestness et al. 2017); [] without enough data.

    The band comes from the same fit to curves redrawn from the sampling error of each test sample.
    """
    if not _ground(points):
        return []
    drawn = 1 - _power_law(points, _redrawn(points, seed), np.asarray(ahead, dtype=np.float64))
    low, high = np.quantile(drawn[1:], [0.025, 0.975], axis=0)
    return [
        Expected(labels=labels, accuracy=float(drawn[0, i]), low=float(low[i]), high=float(high[i]))
        for i, labels in enumerate(ahead)
    ]


def labels_needed(points: Sequence[Point], goal: float, *, seed: int = 0) -> Needed | None:
    """Number of further labels to reach accuracy `goal`; None without enough data.

    Searches up to ten times the current labels. Beyond that a curve is no evidence.
    """
    if not _ground(points):
        return None
    now = points[-1].labels
    ahead = np.unique(np.geomspace(now, 10 * now, 200).round())
    reached = _power_law(points, _redrawn(points, seed), ahead) <= 1 - goal  # (1 + draws, ahead)
    more = np.where(reached.any(axis=1), ahead[reached.argmax(axis=1)] - now, np.inf)
    low, high = np.quantile(more[1:], [0.025, 0.975], method="nearest")
    if not np.isfinite(low):
        return Needed(goal=goal, labels=None, low=9 * now, high=None)
    return Needed(goal=goal, labels=_whole(more[0]), low=int(low), high=_whole(high))


def _whole(value: float) -> int | None:
    return int(value) if np.isfinite(value) else None


def _ground(points: Sequence[Point]) -> bool:
    return len(points) >= LEAST_EVALUATIONS and points[-1].n >= LEAST_TEST


def _redrawn(points: Sequence[Point], seed: int) -> Floats:
    """Errors (1 + draws, points): as measured, then redrawn from their sampling error.

    The same sample is measured repeatedly, so its error is shared: each draw shifts the whole curve by one quantile.
    """
    error = np.array([1 - point.accuracy for point in points])
    n = np.array([max(point.n, 1) for point in points])
    spread = np.sqrt((error * (1 - error) + 1 / (4 * n)) / n)
    draw = np.random.default_rng(seed)
    shared, own = draw.standard_normal((DRAWS, 1)), draw.standard_normal((DRAWS, len(points)))
    shifted = error + spread * (np.sqrt(0.7) * shared + np.sqrt(0.3) * own)
    curves: Floats = np.clip(np.vstack([error, shifted]), 0.0, 1.0)
    return curves


def _power_law(points: Sequence[Point], errors: Floats, ahead: Floats) -> Floats:
    """Errors (curves, ahead) from the best a + b·x^(−c) with a, b ≥ 0 for each row of `errors` (curves, points).

    Points are weighted by their test images. With two unknowns, non-negative least squares is the unconstrained
    solution if it is feasible, and otherwise the better of a alone and b alone.
    """
    x = np.array([point.labels for point in points], dtype=np.float64)
    weights = np.array([point.n for point in points], dtype=np.float64)
    weights /= weights.sum()
    best = np.full(len(errors), np.inf)
    found: Floats = np.empty((len(errors), len(ahead)))
    mean = errors @ weights
    for exponent in EXPONENTS:
        fall, there = (x / x[0]) ** -exponent, (ahead / x[0]) ** -exponent
        spread = weights @ (fall - weights @ fall) ** 2
        b = (errors - mean[:, None]) @ (weights * fall) / spread
        a = mean - b * (weights @ fall)
        alone = errors @ (weights * fall) / (weights @ fall**2)  # b if a would be negative
        a, b = np.where(a < 0, 0.0, a), np.where(a < 0, alone, b)
        a, b = np.where(b < 0, mean, a), np.where(b < 0, 0.0, b)
        residual = (errors - a[:, None] - b[:, None] * fall) ** 2 @ weights
        better = residual < best
        best[better] = residual[better]
        found[better] = a[better, None] + b[better, None] * there
    return found
