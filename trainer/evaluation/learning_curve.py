"""Whether more labeling is worth it, in numbers. Advice only: nothing here stops anything.

Three signs, each shown only where there is ground for it: predictions no longer change (Bloodgood & Vijay-Shanker
2009), the curve has gone flat, and where a power law through the curve so far leads. It looks at what was measured on
the random test sample and at what models predict; it knows nothing of heads and services.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.wire.evaluation import Advice, Evaluation, Expected, Needed

STABLE = 0.99  # mean kappa of three comparisons
APART = 50  # labels between the models compared
SAMPLE = 2_000  # images that they are compared on
FLAT = 0.005  # accuracy gained per hundred labels
LEAST_EVALUATIONS, LEAST_TEST = 5, 100  # before a curve is drawn on
GOALS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99, 0.995)
AHEAD = np.linspace(1.0, 2.0, 6)  # times the labels of now: where the forecast is shown
DRAWS = 200  # for the band
EXPONENTS = np.arange(0.1, 2.01, 0.05)

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Point:
    """One evaluation: `labels` trained on, `accuracy` between 0 and 1 on `n` test images."""

    labels: int
    accuracy: float
    n: int


class Stability:
    """How far models agree that are at least `APART` labels apart, on a fixed sample of the pool.

    Lives as long as the process: after a restart it begins anew, as there is no model of before to compare with.
    """

    def __init__(self) -> None:
        self.kappas: list[float] = []
        self._labels = 0
        self._predicted: dict[int, int] = {}  # image → class id, by the model compared with next

    def observe(self, labels: int, ids: Ids, predicted: Ids) -> None:
        """Look at what a model of `labels` predicts of the images `ids` (n,); most looks come too soon and do nothing.

        Labels taken back begin anew: fewer labels are not the next step of the same course.
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
    """All there is to say after the last of `evaluations`; None when that is nothing.

    Without a `goal`, labels are counted to the next one of `GOALS`.
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
    """One point for each number of labels up to that of now, the latest where there are several."""
    latest = {each.labels: Point(each.labels, each.accuracy.value, each.accuracy.n) for each in evaluations}
    return [latest[labels] for labels in sorted(latest) if labels <= evaluations[-1].labels]


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


def forecast(points: Sequence[Point], ahead: Sequence[int], *, seed: int = 0) -> list[Expected]:
    """Where error = a + b·labels^(−c) through the curve leads (Hestness et al. 2017); [] without ground.

    The band: the same fit to curves redrawn from what each test sample could have shown.
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
    """How many more labels reach accuracy `goal`; None without ground.

    Looks as far as ten times the labels trained on: beyond that a curve says nothing.
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


def _power_law(points: Sequence[Point], errors: Floats, ahead: Floats) -> Floats:
    """Errors (curves, ahead) by the best a + b·x^(−c) with a, b ≥ 0 for each row of `errors` (curves, points).

    Each point weighs as much as it has test images. With two unknowns, non-negative least squares is the plain solution
    where that is allowed, and the better of a alone and b alone elsewhere.
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
        alone = errors @ (weights * fall) / (weights @ fall**2)  # b where a would be negative
        a, b = np.where(a < 0, 0.0, a), np.where(a < 0, alone, b)
        a, b = np.where(b < 0, mean, a), np.where(b < 0, 0.0, b)
        residual = (errors - a[:, None] - b[:, None] * fall) ** 2 @ weights
        better = residual < best
        best[better] = residual[better]
        found[better] = a[better, None] + b[better, None] * there
    return found
