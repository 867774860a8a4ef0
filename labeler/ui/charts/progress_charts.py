"""The figures of the page Progress: pure functions from messages to charts, tables and sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from labeler.ui.charts import measured_figures
from labeler.ui.parts.palette import BOTH, INK, NO_OWN, colours_of
from labeler.ui.parts.wording import plain
from shared.figures import (
    CALIBRATION_ENOUGH,
    calibration_error_in_words,
    leaning,
    many,
    metric_in_words,
    percent,
)
from shared.wire.evaluation import Evaluation, Interval, Stretch
from shared.wire.project import ImageCounts

NAMED = 9  # classes with their own colour; the others share one, unless there is only one other
OTHERS = "all others"
COLOURS = alt.Scale(range=BOTH)
AXIS = 80  # pixels below a plot; part of a figure's height, like the legend
LEGEND, LEGEND_ROW = 55, 22
BAR, THIN_BAR, MANY_BARS = 28, 20, 12
NAME = 150  # pixels for a class name
IN_LEGEND = 110  # pixels for one of two names beside each other, so that both fit on a phone
ROUNDS = 200  # latest rounds shown
TICKS = 7  # requested; rounding to even steps gives at most ten
ACCURACY_HELP = "Estimated share of the test images that the model gets right. It never learns from them."


ACTIVE = (
    "Hard test images are asked more often, and each answer is weighted for it, so the estimate is not the share of "
    "right answers (docs/concepts/active_testing.md). "
)
ACTIVE_ALONE = (
    "This is the share of right answers among labeled test images. It is probably too low: hard ones were asked more "
    "often, and this cannot be corrected, because labels were imported, splits were chosen or drawn again, or photos "
    "were added. "
)
LEFT_OUT = (
    "Precision, recall, F1, log loss and calibration are left out: they need a random sample, and hard test images are "
    "asked more often here."
)


def in_words(latest: Evaluation, images: ImageCounts | None = None) -> str:
    """How good the model is, how precise that estimate is, and what would improve it, given the test `images`."""
    accuracy = latest.accuracy
    margin = (accuracy.high - accuracy.low) / 2
    rough = f"This is a rough estimate: {measured_figures.improvement('labeled test images', 'it', images)}"
    sure = rough if margin > 0.05 else "This is a precise estimate."
    low, high = percent(accuracy.low, 1), percent(accuracy.high, 1)
    estimated = accuracy.unlabeled or (latest.active and latest.at_random)
    sample = "the test images" if estimated else f"{accuracy.n:,} test images"
    return (
        f"After **{many(latest.spent, 'label')}** the model is right on **{percent(accuracy.value, 1)}** of {sample}; "
        f"with 95% confidence between {low} and {high}. {_grounds(latest)}{sure}"
    )


def _grounds(latest: Evaluation) -> str:
    """Explain the basis of the accuracy, if it is not just the labeled test images, or if it cannot be sharpened."""
    accuracy = latest.accuracy
    if latest.active:
        return ACTIVE if latest.at_random else ACTIVE_ALONE
    if accuracy.unlabeled:
        return (
            f"The estimate uses {many(accuracy.n, 'labeled test image')} and the model's confidence on "
            f"{accuracy.unlabeled:,} without a label. "
        )
    if not latest.at_random:
        return (
            "Only labeled test images are used: they may not be a random sample of all test images, because labels "
            "were imported, splits were chosen or drawn again, or photos were added. "
        )
    return ""


def accuracy_curve(evaluations: Sequence[Evaluation]) -> alt.LayerChart | alt.FacetChart:
    """Accuracy against labels, with its 95 % band."""
    return metric_curve([(each.spent, each.accuracy) for each in evaluations], "accuracy")


def metric_curve(
    measured: Sequence[tuple[int, Interval]], name: str, *, share: bool = True, counted: str = "label"
) -> alt.LayerChart | alt.FacetChart:
    """A metric against labels, which are called `counted`, with its 95 % band. The axis of a share goes from the tenth
    below the lowest bound to 1, that of another number from 0.
    """
    field = "value" if "." in name else name  # a dot in a field's name would mean a part of it
    frame = pd.DataFrame(
        {
            "labels": [labels for labels, _ in measured],
            field: [each.value for _, each in measured],
            "low": [each.low for _, each in measured],
            "high": [each.high for _, each in measured],
            "test images": [each.n for _, each in measured],
        }
    )
    scale = alt.Scale(domain=[math.floor(10 * frame["low"].min()) / 10, 1]) if share else alt.Scale(zero=True)
    fine, coarse = (".1%", "%") if share else (".3f", "~r")
    axis = alt.Axis(tickMinStep=1, tickCount=TICKS)
    given = f"{counted}s"
    labels = alt.X("labels:Q", title=given.capitalize(), axis=axis, scale=alt.Scale(zero=True))
    tooltip = [
        alt.Tooltip("labels:Q", title=given),
        alt.Tooltip(f"{field}:Q", format=fine, title=name),
        *(alt.Tooltip(f"{end}:Q", format=fine) for end in ("low", "high")),
        alt.Tooltip("test images:Q"),
    ]
    base = alt.Chart(frame).encode(x=labels)
    title = [  # in two lines, because a chart on a phone is low
        f"{name if name.startswith('mAP') else name[:1].upper() + name[1:]} on the test sample",
        "with its 95% interval",
    ]
    band = base.mark_area(opacity=0.22, interpolate="step-after").encode(
        y=alt.Y("low:Q", scale=scale, title=title, axis=alt.Axis(format=coarse)),
        y2="high:Q",
    )
    line = base.mark_line(interpolate="step-after").encode(y=alt.Y(f"{field}:Q", scale=scale))
    points = base.mark_circle(size=36).encode(y=alt.Y(f"{field}:Q", scale=scale), tooltip=tooltip)
    return alt.layer(band, line, points).properties(height=320)


def curve_csv(evaluations: Sequence[Evaluation]) -> bytes:
    """The curve as a CSV table, one row per evaluation."""
    return pd.DataFrame([curve_row(each) for each in evaluations]).to_csv(index=False).encode()


def metrics_csv(evaluations: Sequence[Evaluation], metrics: Iterable[str]) -> bytes:
    """The curves of these metrics as a CSV table, one row per evaluation."""
    rows = [
        {**_counts(each), **_origin(each)}
        | measured_figures.cells({metric: measured_figures.interval(each, metric) for metric in metrics})
        for each in evaluations
    ]
    return pd.DataFrame(rows).to_csv(index=False).encode()


def _counts(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "labels_given": evaluation.spent,
        "labels_trained_on": evaluation.labels,
        "test_images": evaluation.test_labels,
    }


def _origin(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "round": evaluation.round,
        "model_version": evaluation.model_version,
        "measured_at": evaluation.created_at.isoformat(),
    }


def curve_row(evaluation: Evaluation) -> dict[str, Any]:
    """A row of the table of an accuracy."""
    return {
        **_counts(evaluation),
        "accuracy": evaluation.accuracy.value,
        "accuracy_low_95": evaluation.accuracy.low,
        "accuracy_high_95": evaluation.accuracy.high,
        "test_images_without_label": evaluation.accuracy.unlabeled,
        "macro_f1": evaluation.macro_f1,
        "log_loss": evaluation.log_loss,
        "calibration_error": evaluation.calibration_error,
        **_origin(evaluation),
    }


def class_table(latest: Evaluation, labels_per_class: Mapping[str, int]) -> pd.DataFrame:
    """Labels, test images, precision, recall and F1, one row per class."""
    rows = [
        {
            "Class": plain(each.name),
            "Labels": labels_per_class.get(each.name, 0),
            "Test images": each.support,
            **measured_figures.rates(each),
        }
        for each in latest.classes
    ]
    return pd.DataFrame(rows, columns=["Class", "Labels", "Test images", "Precision", "Recall", "F1"])


def final_figures(latest: Evaluation) -> list[dict[str, str]]:
    """The figures of an evaluation with their 95 % intervals, one per row."""

    def row(name: str, value: str, low: float | None = None, high: float | None = None) -> dict[str, str]:
        interval = "–"
        if low is not None and high is not None and low < high:  # older evaluations have no width if all were right
            interval = f"{percent(low, 1)} – {percent(high, 1)}"
        return {"Figure": name, "Value": value, "95% interval": interval}

    accuracy = latest.accuracy
    rows = [row("Accuracy", percent(accuracy.value, 1), accuracy.low, accuracy.high)]
    if latest.macro_f1 is not None:
        rows.append(
            row("Macro F1", metric_in_words("macro_f1", latest.macro_f1), latest.macro_f1_low, latest.macro_f1_high)
        )
    if latest.log_loss is not None:
        rows.append(row("Log loss", metric_in_words("log_loss", latest.log_loss)))
    if latest.calibration_error is not None:
        rows.append(row("Calibration error", calibration_error_in_words(latest.calibration_error, accuracy.n)))
    counts = {
        "Test images": latest.test_labels,
        **({"Test images without a label, for the accuracy": accuracy.unlabeled} if accuracy.unlabeled else {}),
        "Labels the model learned from": latest.labels,
        "Labels, including those of test images": latest.spent,
    }
    return rows + [row(name, f"{count:,}") for name, count in counts.items()]


def label_counts(
    labels_per_class: dict[str, int], own: Mapping[str, str] | None = None, *, counted: str = "label"
) -> alt.Chart:
    """Labels per class, called `counted`, as bars in the order of the classes; `own` are the classes' own colours."""
    frame = pd.DataFrame({"class": list(labels_per_class), "labels": list(labels_per_class.values())})
    chart: alt.Chart = (
        alt.Chart(frame)
        .mark_bar()
        .encode(
            x=alt.X("labels:Q", title=f"{counted}s".capitalize(), axis=alt.Axis(tickMinStep=1, tickCount=TICKS)),
            y=alt.Y("class:N", sort=None, title=None, axis=alt.Axis(labelLimit=NAME, labelOverlap=False)),
            tooltip=["class:N", alt.Tooltip("labels:Q", title=f"{counted}s")],
        )
        .properties(height=AXIS + len(frame) * (BAR if len(frame) <= MANY_BARS else THIN_BAR))
    )
    if own:
        scale = alt.Scale(domain=list(labels_per_class), range=[own.get(name, NO_OWN) for name in labels_per_class])
        chart = chart.encode(color=alt.Color("class:N", scale=scale, legend=None))
    return chart


def label_history(
    stretches: Sequence[Stretch], own: Mapping[str, str] | None = None, *, counted: str = "label"
) -> alt.Chart:
    """How the labels given here divide among classes, against their number; the most frequent classes by name.

    Imported labels are left out: they came all at once.
    """
    total = pd.Series(dtype=float)
    for each in stretches:
        total = total.add(pd.Series(each.classes, dtype=float), fill_value=0)
    several_others = len(total) > NAMED + 1
    named = list(total.sort_values(ascending=False).index[: NAMED if several_others else NAMED + 1])
    so_far = dict.fromkeys(named, 0)
    others = 0
    rows = []
    for each in stretches:
        for name, count in each.classes.items():
            if name in so_far:
                so_far[name] += count
            else:
                others += count
        rows += [(each.labels, name, count, each.until) for name, count in so_far.items()]
        if several_others:
            rows.append((each.labels, OTHERS, others, each.until))
    frame = pd.DataFrame(rows, columns=["labels given here", "class", "labels", "until"])
    order = [*named, OTHERS] if several_others else named
    scale = alt.Scale(domain=order, range=colours_of(order, dict(own))) if own else alt.Undefined
    legend = alt.Legend(orient="bottom", columns=2, labelLimit=IN_LEGEND)
    chart: alt.Chart = (
        alt.Chart(frame)
        .mark_area()
        .encode(
            x=alt.X(
                "labels given here:Q",
                title=f"{counted}s given here".capitalize(),
                axis=alt.Axis(tickMinStep=1, tickCount=TICKS),
            ),
            y=alt.Y(
                "labels:Q", stack="normalize", title=f"Share of the {counted}s given here", axis=alt.Axis(format="%")
            ),
            color=alt.Color("class:N", sort=order, title=None, scale=scale, legend=legend),
            tooltip=[
                "class:N",
                alt.Tooltip("labels:Q", title=f"{counted}s"),
                alt.Tooltip("labels given here:Q", title=f"{counted}s given here"),
                alt.Tooltip("until:T", format="%Y-%m-%d %H:%M"),
            ],
        )
        .properties(height=240 + AXIS + LEGEND + LEGEND_ROW * math.ceil(len(order) / legend.columns))
    )
    return chart


def calibration(latest: Evaluation) -> alt.LayerChart | alt.FacetChart:
    """The reliability diagram: accuracy against confidence, with numbers of images and 95 % intervals."""
    frame = pd.DataFrame(
        {
            "confidence": [each.confidence for each in latest.calibration],
            "right": [each.accuracy.value for each in latest.calibration],
            "low": [each.accuracy.low for each in latest.calibration],
            "high": [each.accuracy.high for each in latest.calibration],
            "test images": [each.accuracy.n for each in latest.calibration],
        }
    )
    percent, scale = alt.Axis(format="%", tickCount=TICKS), alt.Scale(domain=[0, 1])
    x = alt.X("confidence:Q", scale=scale, title="Confidence", axis=percent)
    ideal = pd.DataFrame({"confidence": [0, 1], "right": [0, 1]})
    diagonal = alt.Chart(ideal).mark_line(strokeDash=[4, 4], color="gray").encode(x=x, y="right:Q")
    base = alt.Chart(frame).encode(x=x)
    intervals = base.mark_rule(color="gray").encode(y=alt.Y("low:Q", scale=scale, title="Accuracy"), y2="high:Q")
    tooltip = [*(alt.Tooltip(f"{name}:Q", format=".0%") for name in frame.columns[:4]), "test images:Q"]
    y = alt.Y("right:Q", scale=scale, axis=percent)
    points = base.mark_circle(size=70, opacity=1).encode(y=y, tooltip=tooltip)
    counts = base.mark_text(dx=12, align="left", color=alt.ExprRef(INK)).encode(y=y, text="test images:Q")
    return alt.layer(diagonal, intervals, points, counts).properties(height=320)


def calibration_in_words(latest: Evaluation) -> str:
    """Explain the diagram in a sentence or two."""
    images = sum(each.accuracy.n for each in latest.calibration)
    how = leaning(latest.calibration)
    if how is None:
        return (
            f"**Too few test images to tell** how well the confidence fits: {images:,} of {CALIBRATION_ENOUGH}. Points "
            "on the dashed line are perfect. Numbers count test images; lines are 95% intervals."
        )
    sure = sum(each.confidence * each.accuracy.n for each in latest.calibration) / images
    right = sum(each.accuracy.value * each.accuracy.n for each in latest.calibration) / images
    error = (
        "" if latest.calibration_error is None else f"; the calibration error is {percent(latest.calibration_error, 1)}"
    )
    return (
        f"The mean confidence is {percent(sure)}, the accuracy on these images {percent(right)}: the model is "
        f"{how}{error}. Points on the dashed line are perfect. Numbers count test images; a point with few of them "
        "is imprecise."
    )


def round_times(evaluations: Sequence[Evaluation]) -> alt.Chart | None:
    """Milliseconds of each round, by step; None if no evaluation has any."""
    steps = ("fit", "score", "rank", "evaluate")
    rows = [
        (each.round, step, each.timings[step])
        for each in evaluations[-ROUNDS:]
        for step in steps
        if step in each.timings
    ]
    if not rows:
        return None
    chart: alt.Chart = (
        alt.Chart(pd.DataFrame(rows, columns=["round", "step", "ms"]))
        .mark_bar()
        .encode(
            x=alt.X("round:Q", title="Round", axis=alt.Axis(tickMinStep=1, tickCount=TICKS, format="d")),
            y=alt.Y("ms:Q", stack="zero", title="Milliseconds"),
            color=alt.Color("step:N", sort=list(steps), title=None, scale=COLOURS, legend=alt.Legend(orient="bottom")),
            tooltip=["round:Q", "step:N", alt.Tooltip("ms:Q", format=".0f")],
        )
        .properties(height=200 + AXIS + LEGEND)
    )
    return chart
