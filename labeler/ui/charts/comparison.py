"""Two model versions side by side: pure functions from messages to charts, tables and sentences."""

from __future__ import annotations

import altair as alt
import pandas as pd

from labeler.ui.charts.measured_figures import interval
from labeler.ui.parts.palette import BOTH
from labeler.ui.parts.wording import plain
from shared.figures import (
    BOX_METRICS,
    accuracy_in_words,
    many,
    measured,
    megabytes,
    metric_in_words,
    pairs_in_words,
    rounded,
)
from shared.wire.jobs import Comparison
from shared.wire.models import ModelList, ModelVersion

COLOURS = alt.Scale(range=BOTH)
MEAN = "mean over classes"
METRICS = {
    "accuracy": "Accuracy",
    "macro_f1": "Macro F1",
    "micro_f1": "Micro F1",
    **BOX_METRICS,
    "auc_pr": "Area under precision and recall",
    "log_loss": "Log loss (less is better)",
    "calibration_error": "Calibration error (less is better)",
    "latency_ms": "Time for one image",
    "images_per_second": "Images per second, in batches",
    "bytes": "Size, including the backbone",
}
"""Field of `Scores` → name of the metric."""
SEVERAL = {"accuracy": "Exact match", "auc_pr": "Mean average precision"}
"""What these are where an image may have several classes."""


BOXES = {"auc_pr": "Mean average precision at the chosen IoU"}
"""The same where an image has boxes."""


def version_table(models: ModelList, *, several: bool = False, boxes: bool = False) -> list[dict[str, str]]:
    """One row per version, newest first; `several`: an image may have several classes; `boxes`: it has boxes."""
    return [
        {
            "Version": f"**{plain(each.version)}**" + (" (promoted)" if each.promoted else ""),
            **_figures(each, several=several, boxes=boxes),
            "Trained on": many(each.labels, "labeled image" if boxes else "label"),
            "Size": megabytes(each.all_bytes or each.bytes),
            "Saved (UTC)": f"{each.saved_at:%Y-%m-%d %H:%M}",
            "Model": plain(f"{each.learner.replace('_', '-')}, {each.architecture}"),
            "Made from": plain(each.parent or "–"),
        }
        for each in reversed(models.models)
    ]


def accuracy(version: ModelVersion) -> str:
    """The accuracy with its interval, measured when the version was saved."""
    return accuracy_in_words(version.metrics.accuracy if version.metrics is not None else None)


def _figures(version: ModelVersion, *, several: bool, boxes: bool) -> dict[str, str]:
    if several:
        return _several_figures(version)
    if boxes:
        found = version.metrics
        return {
            f"{name} (95% interval)": accuracy_in_words(None if found is None else getattr(found, metric))
            for metric, name in BOX_METRICS.items()
        }
    return {"Accuracy (95% interval)": accuracy(version)}


def _several_figures(version: ModelVersion) -> dict[str, str]:
    latest = version.metrics
    named = {"macro_f1": "Macro F1", "exact_match": "Exact match"}
    found = {name: interval(latest, metric) if latest is not None else None for metric, name in named.items()}
    return {f"{name} (95% interval)": accuracy_in_words(each) for name, each in found.items()}


def score_table(found: Comparison, *, several: bool = False, boxes: bool = False) -> list[dict[str, str]]:
    """One row per metric: both versions, and the check if there is one."""
    checks = {check.metric: check for check in found.checks}
    rows = []
    for metric, name in (METRICS | (SEVERAL if several else {}) | (BOXES if boxes else {})).items():
        values = [measured(each, metric) for each in (found.base, found.candidate)]
        if values == [None, None]:
            continue
        row = {"Metric": name}
        for scores, value in zip((found.base, found.candidate), values, strict=True):
            row[plain(scores.version)] = metric_in_words(metric, value)
        check = next((check for known, check in checks.items() if known == metric), None)
        row["Check"] = "" if check is None else ("passed" if check.passed else "failed")
        rows.append(row)
    return rows


def in_words(found: Comparison) -> str:
    """Which version is better, how certain that is, and the reason for the decision."""
    winner = plain(found.winner)
    verdict = f"Update to **{winner}**" if found.decision == "update_model" else f"Keep **{winner}**"
    text = f"{verdict}: {plain(found.reason)}"
    if found.recorded:
        return f"{text} Both were measured when they were saved, possibly on different images."
    return f"{text} {pairs_in_words(found)}".rstrip()


def class_names(found: Comparison) -> list[str]:
    """Names for which there are curves: the mean, then each class that occurs, largest difference first."""
    both = zip(found.base.curves[1:], found.candidate.curves[1:], strict=True)
    named = {one.name or "": abs((other.auc or 0.0) - (one.auc or 0.0)) for one, other in both if one.recall}
    return [MEAN, *sorted(named, key=lambda name: (-named[name], name))]


def curves(found: Comparison, name: str) -> alt.LayerChart | alt.FacetChart:
    """Precision against recall of both versions, for one class or averaged over the classes."""
    wanted = None if name == MEAN else name
    rows = [
        (f"{number} {scores.version} (area {rounded(curve.auc, 3)})", recall, precision)
        for number, scores in zip("AB", (found.base, found.candidate), strict=True)
        for curve in scores.curves
        if curve.name == wanted and curve.auc is not None
        for recall, precision in zip(curve.recall, curve.precision, strict=True)
    ]
    frame = pd.DataFrame(rows, columns=["version", "recall", "precision"])
    percent, scale = alt.Axis(format="%", tickCount=6), alt.Scale(domain=[0, 1])
    base = alt.Chart(frame).encode(
        x=alt.X("recall:Q", scale=scale, axis=percent, title="Recall"),
        y=alt.Y("precision:Q", scale=scale, axis=percent, title="Precision"),
        color=alt.Color("version:N", title=None, scale=COLOURS, legend=_legend("stroke")),
        strokeDash=alt.StrokeDash("version:N", legend=None),
    )
    tooltip = ["version:N", *(alt.Tooltip(f"{field}:Q", format=".1%") for field in ("recall", "precision"))]
    return alt.layer(base.mark_line(), base.mark_circle(opacity=0).encode(tooltip=tooltip)).properties(height=340)


def calibration(found: Comparison) -> alt.LayerChart | alt.FacetChart:
    """Accuracy against confidence, for both versions."""
    rows = [
        (f"{number} {scores.version}", each.confidence, each.accuracy.value, each.accuracy.n)
        for number, scores in zip("AB", (found.base, found.candidate), strict=True)
        for each in scores.calibration
    ]
    frame = pd.DataFrame(rows, columns=["version", "confidence", "right", "images"])
    percent, scale = alt.Axis(format="%", tickCount=6), alt.Scale(domain=[0, 1])
    x = alt.X("confidence:Q", scale=scale, axis=percent, title="Confidence")
    y = alt.Y("right:Q", scale=scale, axis=percent, title="Accuracy")
    ideal = pd.DataFrame({"confidence": [0, 1], "right": [0, 1]})
    diagonal = alt.Chart(ideal).mark_line(strokeDash=[4, 4], color="gray").encode(x=x, y=y)
    points = (
        alt.Chart(frame)
        .mark_point(filled=True, size=70)
        .encode(
            x=x,
            y=y,
            color=alt.Color("version:N", title=None, scale=COLOURS, legend=_legend("circle")),
            shape=alt.Shape("version:N", legend=None),
            tooltip=[
                "version:N",
                alt.Tooltip("confidence:Q", format=".0%"),
                alt.Tooltip("right:Q", format=".0%"),
                "images",
            ],
        )
    )
    return alt.layer(diagonal, points).properties(height=340)


def _legend(symbol: str) -> alt.Legend:
    return alt.Legend(orient="bottom", labelLimit=400, columns=1, symbolType=symbol)
