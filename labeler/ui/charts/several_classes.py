"""The figures of Progress and Finish where an image may have several classes: pure functions from messages to charts,
tables and sentences. `progress_charts` has those of the other projects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import pandas as pd

from labeler.ui.charts import measured_figures, progress_charts
from labeler.ui.parts.wording import plain
from shared.figures import many
from shared.wire.evaluation import ClassPair, Evaluation
from shared.wire.project import ClassEntry, ImageCounts

METRICS = {
    "macro_f1": "Macro F1",
    "micro_f1": "Micro F1",
    "mean_average_precision": "Mean average precision",
    "exact_match": "Exact match",
}
"""Metric → its name, the most telling first."""
HELP = {
    "macro_f1": "Mean over the classes of their F1: rare classes count as much as frequent ones.",
    "exact_match": "Share of the test images with all classes right. The model never learns from them.",
}
MOST_PAIRS = 10


def in_words(latest: Evaluation, images: ImageCounts | None = None) -> str:
    """How good the model is, how precise that estimate is, and what would improve it, given the test `images`."""
    found = measured_figures.measured(latest, METRICS)
    said = measured_figures.in_words(
        {_lower(name): each for name, each in found.items()}, "labeled test images", images
    )
    return f"After **{many(latest.spent, 'label')}**, on {many(latest.test_labels, 'test image')}: {said}"


def curve(evaluations: Sequence[Evaluation], metric: str) -> alt.LayerChart | alt.FacetChart | None:
    """A metric against labels, with its 95 % band; None if it was never measured."""
    found = measured_figures.points(evaluations, metric)
    return progress_charts.metric_curve(found, _lower(METRICS[metric])) if found else None


def curve_csv(evaluations: Sequence[Evaluation]) -> bytes:
    """The curves as a CSV table, one row per evaluation."""
    rows = []
    for each in evaluations:
        row = progress_charts.curve_row(each)
        if measured_figures.interval(each, "exact_match") is None:  # a class was added, so no image is fully known
            row |= dict.fromkeys(("accuracy", "accuracy_low_95", "accuracy_high_95"))
        rows.append(
            row | measured_figures.cells({metric: measured_figures.interval(each, metric) for metric in METRICS})
        )
    return pd.DataFrame(rows).to_csv(index=False).encode()


def final_figures(latest: Evaluation) -> list[dict[str, str]]:
    """The figures of an evaluation with their 95 % intervals, one per row."""
    rows = measured_figures.rows(measured_figures.measured(latest, METRICS))
    return rows + [
        row for row in progress_charts.final_figures(latest) if row["Figure"] not in ("Accuracy", "Macro F1")
    ]


def class_table(latest: Evaluation, labels_per_class: Mapping[str, int]) -> pd.DataFrame:
    """Labels, test images, precision, recall, F1, average precision and threshold, one row per class."""
    rows = [
        {
            "Class": plain(each.name),
            "Labels": labels_per_class.get(each.name, 0),
            "Test images": each.support,
            **measured_figures.rates(each),
            "Average precision": measured_figures.with_interval(each.average_precision),
            "Threshold": measured_figures.share(each.threshold),
        }
        for each in latest.classes
    ]
    return pd.DataFrame(rows)


def explained(latest: Evaluation) -> str:
    """Explain the columns of the class table, and name the classes that no model knows."""
    said = (
        "The model says yes from the threshold on, which is chosen for each class. Test images: those with the class."
    )
    unknown = [plain(each.name) for each in latest.classes if not each.learned]
    if unknown:
        said += f" Not learned yet: {', '.join(unknown)}. A class needs images with a yes and images with a no."
    return said


def pairs(found: Sequence[ClassPair], classes: Sequence[ClassEntry], words: str, link: str = "") -> list[str]:
    """Sentences about pairs of classes, by their current names. `words` and `link` have `{one}` and `{other}`, in
    `link` the ids."""
    names = {each.id: each.name for each in classes}
    said = []
    for each in found[:MOST_PAIRS]:
        one, other = (plain(names.get(label, name)) for label, name in _both(each))
        count = f"{each.images:,}"
        if link:
            count = f"[{count}]({link.format(one=each.label, other=each.other)})"
        said.append(f"- {words.format(one=one, other=other)}: {count} of {many(each.among, 'test image')} with {one}")
    return said


def _both(pair: ClassPair) -> tuple[tuple[int, str], tuple[int, str]]:
    return (pair.label, pair.name), (pair.other, pair.other_name)


def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]
