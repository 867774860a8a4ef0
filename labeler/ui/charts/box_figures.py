"""The figures of Progress and Finish in a project of boxes: pure functions from messages to charts, tables and
sentences. `progress_charts` and `several_classes` have those of the other projects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import pandas as pd

from labeler.ui.charts import measured_figures, progress_charts
from labeler.ui.parts.wording import plain
from shared.figures import BOX_METRICS, many, percent
from shared.wire.evaluation import Evaluation
from shared.wire.project import ClassEntry, ImageCounts

METRICS = BOX_METRICS
"""Metric → its name, the most telling first."""
HELP = {
    "map_50": "Mean average precision: how well the boxes of each class are found and ranked before wrong ones, as "
    "the mean over the classes. A box is found if it overlaps the true one by half (IoU 0.5). The detector never "
    "learns from test images.",
    "map_50_95": "The same, as the mean over stricter and stricter overlaps (IoU 0.5 to 0.95): it also tells how exact "
    "the boxes are.",
}
MOST_PAIRS = 10


def in_words(latest: Evaluation, images: ImageCounts | None = None) -> str:
    """How good the detector is, how precise that estimate is, and what would improve it, given the test `images`."""
    said = measured_figures.in_words(measured_figures.measured(latest, METRICS), "labeled test images", images)
    boxes = sum(each.support for each in latest.classes)
    return (
        f"After **{many(latest.spent, 'labeled image')}**, on {many(latest.test_labels, 'test image')} with {boxes:,} "
        f"{'box' if boxes == 1 else 'boxes'}: {said}"
    )


def curve(evaluations: Sequence[Evaluation], metric: str) -> alt.LayerChart | alt.FacetChart | None:
    """A metric against labeled images, with its 95 % band; None if it was never measured.

    A detector goes on learning the same images, so the last evaluation at each number of them counts.
    """
    found = dict(measured_figures.points(evaluations, metric))
    return (
        progress_charts.metric_curve(list(found.items()), METRICS[metric], counted="labeled image") if found else None
    )


def curve_csv(evaluations: Sequence[Evaluation]) -> bytes:
    """The curves as a CSV table, one row per evaluation."""
    return progress_charts.metrics_csv(evaluations, METRICS)


def final_figures(latest: Evaluation) -> list[dict[str, str]]:
    """The figures of an evaluation with their 95 % intervals, one per row."""
    rows = measured_figures.rows(measured_figures.measured(latest, METRICS))
    counts = {
        "Test images": latest.test_labels,
        "Boxes in them": sum(each.support for each in latest.classes),
        "Images the detector learned from": latest.labels,
        "Labeled images, including test images": latest.spent,
    }
    return rows + [{"Figure": name, "Value": f"{count:,}", "95% interval": "–"} for name, count in counts.items()]


def class_table(latest: Evaluation, labels_per_class: Mapping[str, int]) -> pd.DataFrame:
    """Labeled images, test boxes, average precision, and the precision, recall and F1 of suggested boxes."""
    rows = [
        {
            "Class": plain(each.name),
            "Labeled images": labels_per_class.get(each.name, 0),
            "Test boxes": each.support,
            "Average precision": measured_figures.with_interval(each.average_precision),
            **measured_figures.rates(each),
        }
        for each in latest.classes
    ]
    return pd.DataFrame(rows)


def explained(latest: Evaluation) -> str:
    """Explain the columns of the class table, and name the classes that no detector knows."""
    iou = (
        ""
        if latest.iou_threshold is None
        else f" A box is found if it overlaps the true one by IoU {latest.iou_threshold:g}."
    )
    limits = [each.threshold for each in latest.classes if each.threshold is not None]
    said = "Precision, recall and F1 count the suggested boxes"
    if limits:
        said += (
            ": none now, because suggestions would cost more work than they save"
            if min(limits) >= 1
            else f", now those with a worth of at least {percent(min(limits))}. The worth is the mean of two "
            "confidences: that there is an object of this class, and that there is one of any class"
        )
    unknown = [plain(each.name) for each in latest.classes if not each.learned]
    unlearned = (
        f" Not learned yet, because no box of it is in a training image: {', '.join(unknown)}." if unknown else ""
    )
    return f"{said}.{iou}{unlearned}"


def confused(latest: Evaluation, classes: Sequence[ClassEntry]) -> list[str]:
    """Sentences about classes that are taken for one another, by their current names."""
    names = {each.id: each.name for each in classes}
    return [
        f"- {plain(names.get(each.label, each.name))} suggested as {plain(names.get(each.other, each.other_name))}: "
        f"{each.images:,} of {each.among:,} test boxes"
        for each in latest.confused[:MOST_PAIRS]
    ]
