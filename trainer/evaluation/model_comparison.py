"""Compares two versions on the same images: which is better, in which metrics, and whether the difference is
significant.

Arrays in, `shared.wire.jobs` out; it runs no network. Both versions are measured on the same images, so the comparison
is paired: McNemar's exact test (McNemar 1947) on the images that only one of them gets right, and a bootstrap interval
of the gain in accuracy (Efron 1979). AUC-PR is scikit-learn's average precision, which does not interpolate and so is
not too optimistic (Davis & Goadrich 2006).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from shared.figures import p_in_words, percent
from shared.wire.evaluation import Interval
from shared.wire.jobs import (
    LESS_IS_BETTER,
    Check,
    Comparison,
    ComparisonRequest,
    Curve,
    Difference,
    Pairs,
    Scores,
)
from shared.wire.models import ModelVersion
from trainer.evaluation.metrics import RESAMPLES, evaluate

POINTS = 51
"""Number of points of a curve, at evenly spaced recalls."""
SURE = 0.01
"""Significance level for replacing the live model by a challenger. Rounds test repeatedly, and folds share train data
(Dietterich 1998), so 0.05 would accept noise too often.
"""
SIGNIFICANT = 0.05
LEAST_DIFFERING = 6
"""Minimum number of images that must differ for a paired test to reach p < 0.05: with six, p is 2 · 0.5⁶ = 0.03."""
WEIGHED = (
    "Hard test images were asked more often when the accuracy was recorded: it is weighted for that, and metrics that "
    "cannot be weighted were not recorded."
)


@dataclass(frozen=True)
class Answers:
    """Predictions of one version: probabilities (n, L) of the live classes `classes` (L,), its speed and its size."""

    version: str
    classes: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    bytes: int
    latency_ms: float | None = None
    images_per_second: float | None = None

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The predicted class id of each image (n,)."""
        return np.asarray(self.classes[self.probabilities.argmax(axis=1)], np.int64)


def compare(
    truth: NDArray[np.int64], base: Answers, candidate: Answers, names: Mapping[int, str], request: ComparisonRequest
) -> Comparison:
    """Compare predictions for the same n > 0 images with class ids `truth` (n,); `names` are the live classes."""
    one, other = score(truth, base, names), score(truth, candidate, names)
    return decide(one, other, request, pairs=pair(truth, base.predicted, candidate.predicted), images=len(truth))


def compare_recorded(base: ModelVersion, candidate: ModelVersion, request: ComparisonRequest) -> Comparison:
    """Compare the metrics recorded when both were saved, each on the test images labeled by then."""
    measured = [each.metrics for each in (base, candidate) if each.metrics is not None]
    images = min((each.test_labels for each in measured), default=0)
    found = decide(_recorded(base), _recorded(candidate), request, pairs=None, images=images)
    if any(each.active for each in measured):
        return found.model_copy(update={"reason": f"{found.reason} {WEIGHED}"})
    return found


def score(truth: NDArray[np.int64], answers: Answers, names: Mapping[int, str]) -> Scores:
    """All metrics of one version."""
    measured = evaluate(truth, answers.probabilities, answers.classes, names)
    curves = precision_recall(truth, answers, names)
    return Scores(
        version=answers.version,
        accuracy=measured.accuracy,
        macro_f1=measured.macro_f1,
        auc_pr=curves[0].auc,
        log_loss=measured.log_loss,
        calibration_error=measured.calibration_error,
        latency_ms=answers.latency_ms,
        images_per_second=answers.images_per_second,
        bytes=answers.bytes,
        classes=measured.classes,
        curves=curves,
        calibration=measured.calibration,
    )


def precision_recall(truth: NDArray[np.int64], answers: Answers, names: Mapping[int, str]) -> list[Curve]:
    """The mean curve over the classes that occur, then the curve of each class. An unknown class scores zero."""
    found = []
    for class_id in sorted({*names, *truth.tolist()}):
        said = np.zeros(len(truth), np.float32)
        if class_id in answers.classes:
            said = answers.probabilities[:, np.searchsorted(answers.classes, class_id)]
        found.append((class_id, truth == class_id, said))
    return curves_of(found, names, images=len(truth))


def curves_of(
    found: Iterable[tuple[int, NDArray[np.bool_], NDArray[np.floating]]], names: Mapping[int, str], *, images: int
) -> list[Curve]:
    """The mean curve over the classes that occur, then the curve of each class. `found` gives the class id, which
    images have the class (n,), and the probability that the model gives it (n,).
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve  # takes as long as half of torch

    grid = np.linspace(0, 1, POINTS)
    curves, heights, areas = [], [], []
    for class_id, is_it, said in found:
        curve = Curve(
            label=class_id, name=names.get(class_id, str(class_id)), auc=None, support=np.count_nonzero(is_it)
        )
        if curve.support:
            precision, recall, _ = precision_recall_curve(is_it, said)
            # The highest precision at this recall or a higher one.
            best = np.maximum.accumulate(precision)[::-1]
            height = best[np.searchsorted(recall[::-1], grid, side="left").clip(max=len(best) - 1)]
            heights.append(height)
            areas.append(float(average_precision_score(is_it, said)))
            curve = curve.model_copy(update={"auc": areas[-1], "recall": _rounded(grid), "precision": _rounded(height)})
        curves.append(curve)
    mean = Curve(auc=float(np.mean(areas)) if areas else None, support=images)
    if heights:
        mean = mean.model_copy(update={"recall": _rounded(grid), "precision": _rounded(np.mean(heights, axis=0))})
    return [mean, *curves]


def pair(truth: NDArray[np.int64], base: NDArray[np.int64], candidate: NDArray[np.int64]) -> Pairs:
    """Compare class ids (n,) predicted by both versions with `truth` (n,), image by image."""
    first, second = base == truth, candidate == truth
    both, neither = int((first & second).sum()), int((~first & ~second).sum())
    only_base, only_candidate = int((first & ~second).sum()), int((~first & second).sum())
    n, differing = len(truth), only_base + only_candidate
    cells = np.array([both + neither, only_base, only_candidate]) / n
    draws = np.random.default_rng(0).multinomial(n, cells, size=10 * RESAMPLES)
    low, high = np.quantile((draws[:, 2] - draws[:, 1]) / n, [0.025, 0.975])
    gain = (only_candidate - only_base) / n
    return Pairs(
        both_right=both,
        only_base=only_base,
        only_candidate=only_candidate,
        both_wrong=neither,
        p=float(binomtest(only_candidate, differing).pvalue) if differing else 1.0,
        gain=Interval(value=gain, low=min(gain, float(low)), high=max(gain, float(high)), n=n),
    )


def decide(
    base: Scores,
    candidate: Scores,
    request: ComparisonRequest,
    *,
    pairs: Pairs | None,
    images: int,
    map_gain: Interval | None = None,
    macro_f1_gain: Interval | None = None,
) -> Comparison:
    """Check each metric and decide. Detectors have a `map_gain` and multi-label versions a `macro_f1_gain` instead of
    `pairs`.
    """
    checks = [_check(base, candidate, metric, delta) for metric, delta in request.min_delta.items()]
    passed = sum(check.passed for check in checks)
    needed = {"all": len(checks), "any": 1}.get(str(request.rule)) or _at_least(request.rule, len(checks))
    update = passed >= needed
    reason = f"{passed} of {len(checks)} checks passed, {needed} needed"
    gain, metric = (map_gain, "mAP") if map_gain is not None else (macro_f1_gain, "macro F1")
    if request.significant and update and gain is not None:
        if gain.low <= 0:
            update, between = False, f"{percent(gain.low, 1)} to {percent(gain.high, 1)}"
            reason += f"; but the gain in {metric} is not significant (95% interval {between})"
    elif request.significant and update and (pairs is None or pairs.p >= SIGNIFICANT or pairs.gain.value <= 0):
        update, p = False, pairs.p if pairs is not None else 1.0
        reason += f"; but the gain in accuracy is not significant (McNemar's {p_in_words(p)})"
    return Comparison(
        base=base,
        candidate=candidate,
        split=request.split,
        images=images,
        pairs=pairs,
        map_gain=map_gain,
        macro_f1_gain=macro_f1_gain,
        checks=checks,
        rule=request.rule,
        decision="update_model" if update else "discard",
        winner=candidate.version if update else base.version,
        reason=f"{reason}.",
        recorded=request.recorded,
        created_at=datetime.now(UTC),
    )


def gain_of(gains: NDArray[np.float64], *, images: int, differing: int) -> Interval:
    """The gain and its 95 % interval from `gains` (1 + R,): the gain itself, then the gain of each resample.

    If few images differ, a bootstrap hardly varies and its interval is too narrow. So the interval contains 0 unless
    the versions differ on at least `LEAST_DIFFERING` images: with fewer, a sign test cannot be significant.
    """
    value = float(gains[0])
    low, high = (float(each) for each in np.quantile(gains[1:], [0.025, 0.975]))
    zero = [0.0] if differing < LEAST_DIFFERING else []
    return Interval(value=value, low=min(value, low, *zero), high=max(value, high, *zero), n=images)


def differences(
    images: Sequence[Mapping[str, object]], base: Answers, candidate: Answers, names: Mapping[int, str]
) -> list[Difference]:
    """The `images` (n rows with image_id and class_id) on which the versions disagree, most confident first."""
    found = []
    for row in np.flatnonzero(base.predicted != candidate.predicted).tolist():
        given = images[row]["class_id"]
        said = [(names[int(each.predicted[row])], float(each.probabilities[row].max())) for each in (base, candidate)]
        found.append(
            Difference(
                image_id=int(str(images[row]["image_id"])),
                label=names.get(int(str(given))) if given is not None else None,
                base=said[0][0],
                base_confidence=min(said[0][1], 1.0),
                candidate=said[1][0],
                candidate_confidence=min(said[1][1], 1.0),
            )
        )
    return sorted(found, key=lambda each: -((each.base_confidence or 0) + (each.candidate_confidence or 0)))


def _check(base: Scores, candidate: Scores, metric: str, min_delta: float) -> Check:
    values = [getattr(each, metric) for each in (base, candidate)]
    one, other = (each.value if isinstance(each, Interval) else each for each in values)
    gain = None
    if one is not None and other is not None:
        gain = one - other if metric in LESS_IS_BETTER else other - one
    return Check.model_validate(
        {
            "metric": metric,
            "base": one,
            "candidate": other,
            "gain": gain,
            "min_delta": min_delta,
            # Tolerate rounding in the subtraction.
            "passed": gain is not None and gain >= min_delta - 1e-12,
        }
    )


def _at_least(share: object, count: int) -> int:
    return max(1, int(np.ceil(float(str(share)) * count - 1e-9)))


def _recorded(version: ModelVersion) -> Scores:
    said = version.metrics
    if said is None:
        return Scores(version=version.version, bytes=version.all_bytes or version.bytes)
    return Scores(
        version=version.version,
        accuracy=said.accuracy if said.accuracy.n else None,  # a detector has none
        macro_f1=said.macro_f1,
        micro_f1=said.micro_f1,
        auc_pr=said.mean_average_precision.value if said.mean_average_precision is not None else None,
        map_50=said.map_50,
        map_50_95=said.map_50_95,
        log_loss=said.log_loss,
        calibration_error=said.calibration_error,
        bytes=version.all_bytes or version.bytes,
        classes=said.classes,
        calibration=said.calibration,
    )


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 4) for value in values]
