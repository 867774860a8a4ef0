"""The figures of the progress page, as pure functions from wire types to charts, tables and sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

import altair as alt
import pandas as pd

from labeler.ui.words import plain
from shared.messages import Evaluation
from shared.settings import LabelerSettings

TICKS = 7  # asked for; rounding to even steps makes it ten at most
ACCURACY_HELP = "Share of the labeled test images that the model gets right. It never learns from them."


def nothing_measured(settings: LabelerSettings) -> str:
    """What to say while there is no evaluation."""
    if settings.test_set or settings.test_set_frac == 0:
        first = "Accuracy appears once the trainer has evaluated its first model."
    else:
        first = (
            f"Accuracy is measured on test images, which come in between after the first {settings.test_free_labels} "
            "labels, and appears once a few of them are labeled."
        )
    return f"{first} Keep labeling."


def in_words(latest: Evaluation) -> str:
    """How good the model is, how sure that is, and what makes it surer."""
    accuracy = latest.accuracy
    margin = (accuracy.high - accuracy.low) / 2
    sure = "That is a rough figure: more test labels make it sharper." if margin > 0.05 else "That is a sharp figure."
    return (
        f"After **{latest.spent:,} labels** the model is right on **{accuracy.value:.1%}** of {accuracy.n:,} test "
        f"images; with 95% confidence between {accuracy.low:.1%} and {accuracy.high:.1%}. {sure}"
    )


def accuracy_curve(evaluations: Sequence[Evaluation]) -> alt.LayerChart | alt.FacetChart:
    """Accuracy against labels spent, as a line in its 95 % band; from the tenth below the lowest bound up to 1."""
    frame = pd.DataFrame(
        {
            "labels": [each.spent for each in evaluations],
            "accuracy": [each.accuracy.value for each in evaluations],
            "low": [each.accuracy.low for each in evaluations],
            "high": [each.accuracy.high for each in evaluations],
            "test images": [each.accuracy.n for each in evaluations],
        }
    )
    scale = alt.Scale(domain=[math.floor(10 * frame["low"].min()) / 10, 1])
    axis = alt.Axis(tickMinStep=1, tickCount=TICKS)
    labels = alt.X("labels:Q", title="Labels given", axis=axis, scale=alt.Scale(zero=True))
    tooltip = [
        alt.Tooltip("labels:Q"),
        *(alt.Tooltip(f"{name}:Q", format=".1%") for name in ("accuracy", "low", "high")),
        alt.Tooltip("test images:Q"),
    ]
    base = alt.Chart(frame).encode(x=labels)
    band = base.mark_area(opacity=0.22, interpolate="step-after").encode(
        y=alt.Y("low:Q", scale=scale, title="Accuracy on the test sample, 95% interval", axis=alt.Axis(format="%")),
        y2="high:Q",
    )
    line = base.mark_line(interpolate="step-after").encode(y=alt.Y("accuracy:Q", scale=scale))
    points = base.mark_circle(size=36).encode(y=alt.Y("accuracy:Q", scale=scale), tooltip=tooltip)
    return alt.layer(band, line, points).properties(height=320)


def class_table(latest: Evaluation) -> pd.DataFrame:
    """Precision, recall, F1 and number of test images, a row a class."""
    rows = [
        {
            "Class": plain(each.name),
            "Test images": each.support,
            "Precision": _percent(each.precision),
            "Recall": _percent(each.recall),
            "F1": _percent(each.f1),
        }
        for each in latest.classes
    ]
    return pd.DataFrame(rows, columns=["Class", "Test images", "Precision", "Recall", "F1"])


def label_counts(labels_per_class: dict[str, int]) -> alt.Chart:
    """Labels given, a bar a class, in the order of the classes."""
    frame = pd.DataFrame({"class": list(labels_per_class), "labels": list(labels_per_class.values())})
    chart: alt.Chart = (
        alt.Chart(frame)
        .mark_bar()
        .encode(
            x=alt.X("labels:Q", title="Labels", axis=alt.Axis(tickMinStep=1, tickCount=TICKS)),
            y=alt.Y("class:N", sort=None, title=None),
            tooltip=["class:N", "labels:Q"],
        )
        .properties(height=40 + 26 * len(frame))
    )
    return chart


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"
