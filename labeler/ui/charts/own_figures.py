"""The figures of Progress and Finish in a project whose task brings its own metrics: pure functions from messages to
charts, tables and sentences. The names of the metrics come from the task (`Task.own_metrics`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt

from labeler.ui.charts import measured_figures, progress_charts
from shared.figures import SHARES, many, metric_in_words
from shared.wire.evaluation import Evaluation

Names = Mapping[str, str]
"""Metric → its name, the most telling first."""


def value(latest: Evaluation | None, metric: str) -> str:
    """A metric of an evaluation, or a dash."""
    found = None if latest is None else measured_figures.interval(latest, metric)
    return metric_in_words(metric, None if found is None else found.value)


def in_words(latest: Evaluation, names: Names) -> str:
    """How good the model is, and how precise that estimate is."""
    said = [f"{name} **{value(latest, metric)}** ({_range(latest, metric)})" for metric, name in names.items()]
    return (
        f"After **{many(latest.spent, 'label')}**, on {many(latest.test_labels, 'test image')}: {', '.join(said)}; in "
        "brackets the 95% intervals."
    )


def curve(evaluations: Sequence[Evaluation], metric: str, names: Names) -> alt.LayerChart | alt.FacetChart | None:
    """A metric against labels, with its 95 % band; None if it was never measured."""
    found = measured_figures.points(evaluations, metric)
    return progress_charts.metric_curve(found, names[metric], share=metric in SHARES) if found else None


def final_figures(latest: Evaluation, names: Names) -> list[dict[str, str]]:
    """The figures of an evaluation with their 95 % intervals, one per row."""
    rows = [
        {"Figure": name, "Value": value(latest, metric), "95% interval": _range(latest, metric)}
        for metric, name in names.items()
    ]
    counts = {
        "Test images": latest.test_labels,
        "Labels the model learned from": latest.labels,
        "Labels, including those of test images": latest.spent,
    }
    return rows + [{"Figure": name, "Value": f"{count:,}", "95% interval": "–"} for name, count in counts.items()]


def _range(latest: Evaluation, metric: str) -> str:
    found = measured_figures.interval(latest, metric)
    if found is None:
        return "–"
    return f"{metric_in_words(metric, found.low)} – {metric_in_words(metric, found.high)}"
