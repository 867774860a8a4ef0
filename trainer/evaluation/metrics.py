"""Metrics of a model on held-out images, with confidence intervals.

Arrays in, the measured parts of `shared.wire.evaluation.Evaluation` out. A class that the model does not know yet
counts as an error everywhere; its images are never left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from shared.wire.evaluation import CalibrationBin, ClassMetrics, Interval
from trainer.evaluation.measured import Measured, not_measured

Z95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution
LEAST = 1e-6  # lower limit of a probability, so that one certain error does not make the loss infinite
RESAMPLES = 1_000
FEW = 3  # with fewer right answers, or fewer wrong ones, a bootstrap is unreliable
BINS = 10  # of equal width, as in Guo et al. (2017)


@dataclass(frozen=True)
class ClassScores:
    """`confusion` counts truth (rows) against prediction (columns), both in the order of `classes`.

    `macro_f1` is the mean over classes that occur as truth or prediction, with a 95 % interval. `lower_bounds` are the
    lower ends of the intervals of accuracy and macro F1, which the stopping rules use.
    """

    accuracy: Interval
    macro_f1: float | None
    macro_f1_interval: tuple[float, float]
    log_loss: float | None
    classes: list[ClassMetrics]
    confusion: list[list[int]]
    lower_bounds: dict[str, float]
    calibration: list[CalibrationBin]
    calibration_error: float | None

    def measured(self) -> Measured:
        """As the fields of an `Evaluation`."""
        details = {
            "macro_f1": self.macro_f1,
            "macro_f1_low": self.macro_f1_interval[0],
            "macro_f1_high": self.macro_f1_interval[1],
            "log_loss": self.log_loss,
            "classes": self.classes,
            "confusion": self.confusion,
            "calibration": self.calibration,
            "calibration_error": self.calibration_error,
        }
        return Measured(self.lower_bounds, self.accuracy, details=details)


def accuracy_alone(measured: Measured) -> Measured:
    """`measured` without the metrics that need a random test sample. The confusion matrix stays, because it is
    a count.
    """
    classes = [
        ClassMetrics(label=each.label, name=each.name, precision=None, recall=None, f1=None, support=each.support)
        for each in measured.details["classes"]
    ]
    details = {"classes": classes, "confusion": measured.details["confusion"]}
    bounds = {"accuracy": measured.accuracy.low}
    return Measured(bounds, measured.accuracy, details=details)


def evaluate(
    y_true: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    classes: NDArray[np.int64],
    names: Mapping[int, str],
) -> ClassScores:
    """Evaluate `probabilities` (n, K), columns `classes` (K,), against class ids `y_true` (n,).

    `names` lists the classes to report; unknown ids are reported by number. For n = 0 the interval is 0 to 1 and the
    rest is None.
    """
    known = np.asarray(classes, dtype=np.int64)
    ids = np.array(sorted({*names, *known.tolist(), *y_true.tolist()}), dtype=np.int64)
    size, n = len(ids), len(y_true)
    predicted = known[np.argmax(probabilities, axis=1)] if n else np.empty(0, dtype=np.int64)
    confusion = np.zeros((size, size), dtype=np.int64)
    np.add.at(confusion, (np.searchsorted(ids, y_true), np.searchsorted(ids, predicted)), 1)
    scores = _f1(confusion)
    occurs = (confusion.sum(axis=0) + confusion.sum(axis=1)) > 0
    macro_f1 = float(scores[occurs].mean()) if n else None
    accuracy, interval = wilson(int(np.trace(confusion)), n), _macro_f1_interval(confusion, macro_f1 or 0.0)
    bins, error = calibrate(predicted == y_true, probabilities.max(axis=1) if n else np.empty(0, np.float32))
    return ClassScores(
        accuracy=accuracy,
        macro_f1=macro_f1,
        macro_f1_interval=interval,
        log_loss=_log_loss(y_true, probabilities, known) if n else None,
        classes=[_class_metrics(i, int(ids[i]), names, confusion, scores) for i in range(size)],
        confusion=confusion.tolist(),
        lower_bounds={"accuracy": accuracy.low, "macro_f1": interval[0]},
        calibration=bins,
        calibration_error=error,
    )


def calibrate(right: NDArray[np.bool_], confidence: NDArray[np.float32]) -> tuple[list[CalibrationBin], float | None]:
    """Reliability diagram of predictions that were `right` (n,) at `confidence` (n,), and the calibration error.

    The error is the expected calibration error (Naeini et al. 2015; Guo et al. 2017): the distance between accuracy and
    mean confidence per bin, weighted by its images; None without images.
    """
    place = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    bins = [
        CalibrationBin(
            low=k / BINS,
            high=(k + 1) / BINS,
            confidence=float(confidence[place == k].mean(dtype=np.float64)),
            accuracy=wilson(int(right[place == k].sum()), int((place == k).sum())),
        )
        for k in np.unique(place).tolist()
    ]
    if not bins:
        return [], None
    return bins, sum(each.accuracy.n * abs(each.accuracy.value - each.confidence) for each in bins) / len(right)


def wilson(successes: int, n: int) -> Interval:
    """The share successes / n with its 95 % interval (Wilson 1927), which stays within 0 and 1; 0 to 1 for n = 0.

    The same as `scipy.stats.binomtest(…).proportion_ci(method="wilson")`, in 3 µs instead of 1.7 ms: a round measures
    some twenty proportions.
    """
    return wilson_at(successes / n, n, n) if n else not_measured()


def wilson_at(share: float, worth: float, n: int) -> Interval:
    """Wilson's interval of a `share` measured on n images, as precise as a share counted on `worth` images."""
    square = Z95 * Z95
    centre = (share + square / (2 * worth)) / (1 + square / worth)
    half = Z95 * sqrt(share * (1 - share) / worth + square / (4 * worth * worth)) / (1 + square / worth)
    return Interval(value=share, low=min(share, max(0.0, centre - half)), high=max(share, min(1.0, centre + half)), n=n)


def _f1(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """F1 per class from a confusion matrix (K, K); 0 for a class that neither occurs nor is predicted."""
    total = confusion.sum(axis=0) + confusion.sum(axis=1)
    return np.asarray(2 * np.diagonal(confusion) / np.maximum(total, 1), dtype=np.float64)


def _macro_f1_interval(confusion: NDArray[np.int64], macro_f1: float) -> tuple[float, float]:
    """The 95 % interval of macro F1; 0 to 1 without images.

    It is the bootstrap interval (Efron 1979), widened to Wilson's at the bootstrap's variance. With few errors,
    resamples hardly vary, and the bootstrap alone is far too narrow (docs/measurements/experiments.md). So with fewer
    than `FEW` right or wrong answers, the interval is at least as wide as Wilson's for a share counted on the n images.
    """
    n, hits = int(confusion.sum()), int(np.trace(confusion))
    if n == 0:
        return 0.0, 1.0
    found = widened(macro_f1, bootstrapped(confusion), n, few=min(hits, n - hits) < FEW)
    return found.low, found.high


def widened(value: float, resampled: NDArray[np.float64], n: int, *, few: bool) -> Interval:
    """The interval of a `value` measured on n images: the bootstrap interval of `resampled` (R,), but no narrower than
    Wilson's at the bootstrap's variance. With `few` right or wrong answers, it is at least as wide as that of a share
    counted on n images.
    """
    low, high = np.quantile(resampled, [0.025, 0.975])
    worth = value * (1 - value) / max(float(resampled.var()), 1e-9)
    if few:
        worth = min(worth, n) if value < 1 else n
    wider = wilson_at(value, max(worth, 1.0), n)
    return Interval(value=value, low=min(float(low), wider.low), high=max(float(high), wider.high), n=n)


def bootstrapped(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Macro F1 of `RESAMPLES` resamples of the n > 0 test images (R,)."""
    n = int(confusion.sum())
    truth, predicted = np.nonzero(confusion)  # draw only non-empty cells: with 1,000 classes there are few
    draws = np.random.default_rng(0).multinomial(n, confusion[truth, predicted] / n, size=RESAMPLES)  # (R, cells)
    is_truth, is_predicted = (np.eye(len(confusion))[each] for each in (truth, predicted))  # (cells, K)
    total = draws @ (is_truth + is_predicted)
    f1 = 2 * (draws @ (is_truth * is_predicted)) / np.maximum(total, 1)
    return np.asarray(f1.sum(axis=-1) / (total > 0).sum(axis=-1), np.float64)


def _log_loss(y_true: NDArray[np.int64], probabilities: NDArray[np.float32], known: NDArray[np.int64]) -> float:
    columns = np.searchsorted(known, y_true).clip(max=len(known) - 1)
    given = np.where(known[columns] == y_true, probabilities[np.arange(len(y_true)), columns], 0.0)
    return float(-np.log(np.clip(given, LEAST, 1.0)).mean())


def _class_metrics(
    i: int, class_id: int, names: Mapping[int, str], confusion: NDArray[np.int64], f1: NDArray[np.float64]
) -> ClassMetrics:
    support, predicted, hits = int(confusion[i].sum()), int(confusion[:, i].sum()), int(confusion[i, i])
    return ClassMetrics(
        label=class_id,
        name=names.get(class_id, str(class_id)),
        precision=hits / predicted if predicted else None,
        recall=hits / support if support else None,
        f1=float(f1[i]) if support or predicted else None,
        support=support,
    )
