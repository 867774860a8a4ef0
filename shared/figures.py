"""Numbers in words: how pages, commands and model cards say an accuracy, a gain, a p-value, a size and a count.

One place, so that the same number reads the same everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.comparison import Comparison, Metric, Scores
from shared.messages import Evaluation, Interval

ENOUGH = 10
"""Test labels before an accuracy is shown. With one, it would be 0 or 100 %."""
LEAST_P = 0.001
COSTS: frozenset[Metric] = frozenset({"latency_ms", "bytes"})
"""What is known of a version without any test label."""


def is_measured(accuracy: Interval | None) -> bool:
    """Whether there are enough test labels to show it."""
    return accuracy is not None and accuracy.n >= ENOUGH


def shown(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Those on enough test labels, oldest first; [] while the latest one is not."""
    if not evaluations or not is_measured(evaluations[-1].accuracy):
        return []
    return [each for each in evaluations if is_measured(each.accuracy)]


def not_measured(test_labels: int) -> str:
    """What is said in place of an accuracy: `not measured yet: 3 of 10 test labels`."""
    return f"not measured yet: {min(test_labels, ENOUGH)} of {ENOUGH} test labels"


def accuracy_in_words(accuracy: Interval | None, images: str = "test image") -> str:
    """`61.7% (58.6% – 64.8%, 947 test images)`, or why there is none."""
    if accuracy is None:
        return not_measured(0)
    if not is_measured(accuracy):
        return not_measured(accuracy.n)
    return f"{accuracy.value:.1%} ({accuracy.low:.1%} – {accuracy.high:.1%}, {many(accuracy.n, images)})"


def gain_in_words(gain: float) -> str:
    """A gain in accuracy, of 1: `2.0 points better`, `19.1 points worse` or `just as accurate`."""
    points = f"{abs(100 * gain):.1f}"
    if float(points) == 0:
        return "just as accurate"
    return f"{points} {'point' if points == '1.0' else 'points'} {'better' if gain > 0 else 'worse'}"


def pairs_in_words(found: Comparison) -> str:
    """How two versions did on the same images; "" where they were not run on the same ones."""
    pairs = found.pairs
    if pairs is None:
        return ""
    images = many(found.images, f"{found.split} image")
    if found.images < ENOUGH:
        return f"Only {images}: too few to tell which version is better. {ENOUGH} are the least."
    return (
        f"On {images} the candidate is {gain_in_words(pairs.gain.value)}; with 95% confidence between "
        f"{gain_in_words(pairs.gain.low)} and {gain_in_words(pairs.gain.high)}. Only the candidate is right on "
        f"{many(pairs.only_candidate, 'image')}, only the base on {pairs.only_base:,}: McNemar's exact test gives "
        f"{p_in_words(pairs.p)}."
    )


def measured(scores: Scores, metric: str) -> float | None:
    """A metric of one side of a comparison; None where it was not measured, or on too few images."""
    if metric not in COSTS and not is_measured(scores.accuracy):
        return None
    value: Interval | float | None = getattr(scores, metric)
    return value.value if isinstance(value, Interval) else value


def p_in_words(p: float) -> str:
    """`p = 0.029` or `p < 0.001`."""
    return f"p < {LEAST_P}" if p < LEAST_P else f"p = {p:.3f}"


def megabytes(size: int) -> str:
    """`21.5 MB`, or kB for less than 0.1 MB."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"


def many(count: int, noun: str) -> str:
    """`1 image`, `1,797 images`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
