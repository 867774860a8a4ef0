"""Numbers in words: how pages, commands and model cards write an accuracy, a gain, a p-value, a size and a count.

They are all here, so that a number reads the same everywhere. `labeler/ui/lib/text.js` has the same functions for the
browser, and a test compares both. Halves are rounded up, as in browsers and charts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Decimal

from shared.wire.evaluation import CalibrationBin, Evaluation, Interval
from shared.wire.jobs import Comparison, Metric, Scores

ENOUGH = 10
"""Minimum test labels before an accuracy is shown. With one label, it would be 0 or 100 %."""
CALIBRATION_ENOUGH = 150
"""Minimum test images before a calibration is judged. A model that is ten points overconfident is then found in about
80 % of cases or more (`benchmarks.calibration_verdict`)."""
CALIBRATED = 0.03  # up to this difference of confidence and accuracy, a model counts as calibrated
LEAST_P = 0.001
COSTS: frozenset[Metric] = frozenset({"latency_ms", "bytes"})
"""Metrics that need no test labels."""
SHARES = frozenset({"accuracy", "macro_f1", "micro_f1", "calibration_error", "map_50", "map_50_95"})
"""Metrics shown as a percentage; the others are plain numbers."""
BOX_METRICS = {"map_50": "mAP at IoU 0.5", "map_50_95": "mAP at IoU 0.5–0.95"}
"""Metrics of a detection project → their names."""
METRIC_NAMES = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "mean_average_precision": "mean average precision",
    "exact_match": "exact match",
    **BOX_METRICS,
}
"""Metrics that a threshold can name → their names in a sentence."""


def is_measured(accuracy: Interval | None) -> bool:
    """Whether there are enough test labels to show this accuracy."""
    return accuracy is not None and accuracy.n >= ENOUGH


def shown(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Evaluations with enough test labels, oldest first; [] while the latest has too few."""
    if not evaluations or not has_figures(evaluations[-1]):
        return []
    return [each for each in evaluations if has_figures(each)]


def has_figures(evaluation: Evaluation | Scores) -> bool:
    """Whether it was measured on enough test images. In a multi-label project, accuracy needs answers about every
    class, which no image has right after a class was added."""
    own = evaluation.metrics.values() if isinstance(evaluation, Evaluation) else ()
    return any(map(is_measured, (evaluation.accuracy, evaluation.micro_f1, evaluation.map_50, *own)))


def goal_metric(evaluation: Evaluation) -> tuple[str, Interval]:
    """The figure that a forecast and a goal are about, and its name in a sentence."""
    if evaluation.map_50 is not None:
        return BOX_METRICS["map_50"], evaluation.map_50
    if evaluation.micro_f1 is not None:
        return METRIC_NAMES["macro_f1"], macro_f1(evaluation) or evaluation.accuracy.model_copy(update={"n": 0})
    return "accuracy", evaluation.accuracy


def macro_f1(evaluation: Evaluation) -> Interval | None:
    """The macro F1 with its interval; None if it was not measured."""
    value, low, high = evaluation.macro_f1, evaluation.macro_f1_low, evaluation.macro_f1_high
    if value is None or low is None or high is None:
        return None
    return Interval(value=value, low=low, high=high, n=evaluation.test_labels)


def not_measured(test_labels: int) -> str:
    """The text shown instead of an accuracy: `not measured yet: 3 of 10 labeled test images`."""
    return f"not measured yet: {min(test_labels, ENOUGH)} of {ENOUGH} labeled test images"


def accuracy_in_words(accuracy: Interval | None, images: str = "test image") -> str:
    """`61.7% (58.6% – 64.8%, 947 test images)`, or why there is no accuracy."""
    if accuracy is None:
        return not_measured(0)
    if not is_measured(accuracy):
        return not_measured(accuracy.n)
    return f"{percent(accuracy.value, 1)} ({interval_in_words(accuracy)}, {many(accuracy.n, images)})"


def interval_in_words(accuracy: Interval) -> str:
    """`58.6% – 64.8%`."""
    return f"{percent(accuracy.low, 1)} – {percent(accuracy.high, 1)}"


def percent(share: float, digits: int = 0) -> str:
    """`62%`, or with one digit `61.7%`."""
    return f"{rounded(100 * share, digits)}%"


def rounded(value: float, digits: int = 0) -> str:
    """`1,797`, or with one digit `21.5`. Rounds halves up like a browser, where Python rounds them to the even
    digit."""
    return f"{Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):,}"


def metric_in_words(metric: str, value: float | None) -> str:
    """A metric of `Scores` or `Evaluation`, written the same on every page and in every table."""
    if value is None:
        return "–"
    if metric == "bytes":
        return megabytes(int(value))
    if metric in SHARES:
        return percent(value, 1)
    if metric == "images_per_second":
        return rounded(value)
    return f"{rounded(value, 1)} ms" if metric == "latency_ms" else rounded(value, 3)


def gain_in_words(gain: float, same: str = "just as accurate") -> str:
    """A gain in accuracy or another metric, as a fraction: `2.0 points better`, `19.1 points worse` or `same`."""
    points = rounded(abs(100 * gain), 1)
    if float(points) == 0:
        return same
    return f"{points} {'point' if points == '1.0' else 'points'} {'better' if gain > 0 else 'worse'}"


def pairs_in_words(found: Comparison) -> str:
    """How two versions compare on the same images; "" if they were not evaluated on the same ones."""
    gain, metric = (found.map_gain, BOX_METRICS["map_50"]) if found.map_gain else (found.macro_f1_gain, "macro F1")
    pairs = found.pairs
    if pairs is None and gain is None:
        return ""
    images = many(found.images, f"{found.split} image")
    if found.images < ENOUGH:
        return f"Only {images}: too few to tell which version is better. At least {ENOUGH} are needed."
    if pairs is None:
        assert gain is not None  # noqa: S101 - one of both is there
        told = [gain_in_words(each, same="just as good") for each in (gain.value, gain.low, gain.high)]
        return (
            f"On {images} the candidate is {told[0]} in {metric}; with 95% confidence between {told[1]} and {told[2]}."
        )
    return (
        f"On {images} the candidate is {gain_in_words(pairs.gain.value)}; with 95% confidence between "
        f"{gain_in_words(pairs.gain.low)} and {gain_in_words(pairs.gain.high)}. Only the candidate is right on "
        f"{many(pairs.only_candidate, 'image')}, only the base on {pairs.only_base:,}: McNemar's exact test gives "
        f"{p_in_words(pairs.p)}."
    )


def measured(scores: Scores, metric: str) -> float | None:
    """A metric of one side of a comparison; None if not measured, or measured on too few images."""
    if metric not in COSTS and not has_figures(scores):
        return None
    value: Interval | float | None = getattr(scores, metric)
    return value.value if isinstance(value, Interval) else value


def p_in_words(p: float) -> str:
    """`p = 0.029` or `p < 0.001`."""
    return f"p < {LEAST_P}" if p < LEAST_P else f"p = {rounded(p, 3)}"


def megabytes(size: int) -> str:
    """`21.5 MB`, or kB for less than 0.1 MB."""
    return f"{rounded(size / 1e6, 1)} MB" if size >= 1e5 else f"{rounded(size / 1e3, 1)} kB"


def duration(seconds: float) -> str:
    """`12 s`, `3 min`, `2 h`."""
    if seconds < 60:
        return f"{max(1, int(rounded(seconds)))} s"
    return f"{rounded(seconds / 60)} min" if seconds < 5_400 else f"{rounded(seconds / 3_600)} h"


def many(count: int, noun: str) -> str:
    """`1 image`, `1,797 images`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def leaning(bins: Sequence[CalibrationBin]) -> str | None:
    """Whether a model is `overconfident`, `underconfident` or `about as confident as it should be`; None if too few
    test images tell.

    A difference above `CALIBRATED` counts if a calibrated model would show one as large in less than 5 % of cases.
    """
    images = sum(each.accuracy.n for each in bins)
    if images < CALIBRATION_ENOUGH:
        return None
    off = sum((each.confidence - each.accuracy.value) * each.accuracy.n for each in bins) / images
    chance = 1.96 * sum(each.confidence * (1 - each.confidence) * each.accuracy.n for each in bins) ** 0.5 / images
    if abs(off) <= max(CALIBRATED, chance):
        return "about as confident as it should be"
    return "overconfident" if off > 0 else "underconfident"


def calibration_error_in_words(error: float | None, images: int) -> str:
    """`4.1%`, or that there are too few test images: with few images, chance alone causes large errors."""
    if error is not None and images < CALIBRATION_ENOUGH:
        return f"too few test images to tell ({images} of {CALIBRATION_ENOUGH})"
    return metric_in_words("calibration_error", error)


def choice(names: Iterable[str], most: int = 10) -> str:
    """The sentence after the refusal of an unknown name: `Choose one of a, b and 3 more.`, or `There is none yet.`"""
    known = list(names)
    if not known:
        return "There is none yet."
    more = f" and {len(known) - most:,} more" if len(known) > most else ""
    return f"Choose one of {', '.join(known[:most])}{more}."
