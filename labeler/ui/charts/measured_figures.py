"""What all kinds of projects have in common on Progress and Finish: metrics with intervals in words and in tables.

`progress_charts`, `several_classes`, `box_figures` and `own_figures` choose the metrics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shared.figures import interval_in_words, is_measured, macro_f1, percent
from shared.wire.evaluation import ClassMetrics, Evaluation, Interval
from shared.wire.project import ImageCounts

PRECISE = 0.05
"""Half the width of an interval from which an estimate is called rough."""


def share(value: float | None) -> str:
    """A share as a percentage, or a dash."""
    return "–" if value is None else percent(value)


def value(found: Interval | None) -> str:
    """A metric as a percentage, or a dash."""
    return "–" if found is None else percent(found.value, 1)


def with_interval(found: Interval | None) -> str:
    """A metric with its interval, or a dash."""
    return "–" if found is None else f"{percent(found.value)} ({percent(found.low)} – {percent(found.high)})"


def interval(latest: Evaluation, metric: str) -> Interval | None:
    """A metric with its 95 % interval; None if it was not measured, or on too few test images."""
    found = latest.metrics.get(metric)
    if found is None:
        found = macro_f1(latest) if metric == "macro_f1" else getattr(latest, metric, None)
    return found if is_measured(found) else None


def measured(latest: Evaluation, metrics: Mapping[str, str]) -> dict[str, Interval]:
    """Name → interval of those of the `metrics` that were measured."""
    return {name: found for metric, name in metrics.items() if (found := interval(latest, metric)) is not None}


def value_of(latest: Evaluation | None, metric: str) -> str:
    """A metric of an evaluation as a percentage, or a dash."""
    return value(None if latest is None else interval(latest, metric))


def points(evaluations: Sequence[Evaluation], metric: str) -> list[tuple[int, Interval]]:
    """A metric against labels, where it was measured."""
    return [(each.spent, found) for each in evaluations if (found := interval(each, metric)) is not None]


def improvement(more: str, it: str, images: ImageCounts | None) -> str:
    """What makes a rough estimate more precise: `more` of something, unless all test `images` have an answer."""
    if images is None or images.unlabeled:
        return f"more {more} make {it} more precise."
    return f"all test images have an answer, so only more test images make {it} more precise."


def in_words(found: Mapping[str, Interval], more: str, images: ImageCounts | None = None) -> str:
    """Metrics by their names with their intervals, and whether these are precise; `more` of what would make them so,
    as far as there are test `images` without an answer."""
    said = [f"{name} **{value(each)}** ({interval_in_words(each)})" for name, each in found.items()]
    margin = max(((each.high - each.low) / 2 for each in found.values()), default=1.0)
    sure = "These are precise estimates."
    if margin > PRECISE:
        sure = f"These are rough estimates: {improvement(more, 'them', images)}"
    return f"{', '.join(said)}; in brackets the 95% intervals. {sure}"


def rows(found: Mapping[str, Interval]) -> list[dict[str, str]]:
    """Metrics by their names, one per row of the table of final figures."""
    return [
        {"Figure": name, "Value": value(each), "95% interval": interval_in_words(each)} for name, each in found.items()
    ]


def cells(found: Mapping[str, Interval | None]) -> dict[str, float | None]:
    """Metrics by their keys, as cells of a row of the CSV file."""
    row: dict[str, float | None] = {}
    for metric, each in found.items():
        row[metric] = each.value if each else None
        row[f"{metric}_low_95"] = each.low if each else None
        row[f"{metric}_high_95"] = each.high if each else None
    return row


def rates(each: ClassMetrics) -> dict[str, str]:
    """Precision, recall and F1 of a class, as cells of the class table."""
    return {"Precision": share(each.precision), "Recall": share(each.recall), "F1": share(each.f1)}
