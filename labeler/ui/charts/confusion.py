"""The confusion matrix as a table of links: each cell opens the images that it counts, as far as they may be shown.

It is a table, not a chart, because its cells can be pressed: with a key, on a phone, or by name with a screen reader.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from shared.wire.evaluation import ClassMetrics, Evaluation
from shared.wire.project import ClassEntry

MOST_CLASSES = 20  # a larger matrix is not readable at a glance; the list of confusions remains
MOST_CONFUSIONS = 10
RIGHT, WRONG = "36, 120, 184", "196, 70, 40"  # red, green, blue; drawn transparently over the page's colour


def in_order(latest: Evaluation, classes: Sequence[ClassEntry]) -> Evaluation:
    """The evaluation with the project's current class names and order; deleted classes come last."""
    place = {each.id: number for number, each in enumerate(classes)}
    order = sorted(range(len(latest.classes)), key=lambda at: place.get(latest.classes[at].label, len(place)))
    confusion = [[latest.confusion[row][column] for column in order] for row in order] if latest.confusion else []
    names = {each.id: each.name for each in classes}
    named = [each.model_copy(update={"name": names.get(each.label, each.name)}) for each in latest.classes]
    return latest.model_copy(update={"classes": [named[at] for at in order], "confusion": confusion})


def matrix(latest: Evaluation, own: Mapping[int, str] | None = None) -> str:
    """HTML: rows are true, columns predicted classes; "" for one class, or too many. `own`: class id → its colour."""
    classes = latest.classes
    if not 1 < len(classes) <= MOST_CLASSES:
        return ""
    edges = {label: f" box-shadow:inset {{}} 0 0 {escape(colour)};" for label, colour in (own or {}).items()}
    head = "".join(
        f'<th scope="col" style="{_CELL}{edges.get(each.label, "").format("0 -3px")}">{escape(each.name)}</th>'
        for each in classes
    )
    rows = "".join(
        f'<tr><th scope="row" style="{_CELL} text-align:left;{edges.get(truth.label, "").format("3px 0")}">'
        f"{escape(truth.name)}</th>"
        + "".join(_cell(truth, predicted, count, sum(counts)) for predicted, count in zip(classes, counts, strict=True))
        + "</tr>"
        for truth, counts in zip(classes, latest.confusion, strict=True)
    )
    return (
        '<div style="overflow-x:auto" role="region" aria-label="Confusion matrix" tabindex="0">'
        "<p>Rows: true class. Columns: predicted class.</p>"
        '<table style="border-collapse:collapse; font-variant-numeric:tabular-nums">'
        f'<thead><tr><td style="{_CELL}"></td>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def confusions(latest: Evaluation) -> list[tuple[str, str, int, str]]:
    """True class, prediction, number of test images and link, for the most frequent mistakes."""
    found = [
        (truth.name, predicted.name, count, _grid(truth, predicted))
        for truth, counts in zip(latest.classes, latest.confusion, strict=True)
        for predicted, count in zip(latest.classes, counts, strict=True)
        if count and truth is not predicted
    ]
    return sorted(found, key=lambda each: -each[2])[:MOST_CONFUSIONS]


_CELL = "padding:.25rem .6rem; border:0; text-align:right; white-space:nowrap; font-weight:400;"


def _cell(truth: ClassMetrics, predicted: ClassMetrics, count: int, total: int) -> str:
    if not count:
        return f'<td style="{_CELL} opacity:.75">0</td>'
    share = 0.08 + 0.27 * count / total
    colour = f"background:rgba({RIGHT if truth is predicted else WRONG}, {share:.2f});"
    name = f"{count} of {total} test images of {truth.name} predicted as {predicted.name}: show such labeled images"
    link = (
        f'<a href="{escape(_grid(truth, predicted))}" target="_self" aria-label="{escape(name)}" '
        f'style="color:inherit; display:block; padding:.25rem .6rem; text-decoration:underline">{count}</a>'
    )
    return f'<td style="{_CELL} padding:0; {colour}">{link}</td>'


def _grid(truth: ClassMetrics, predicted: ClassMetrics) -> str:
    return f"/grid?label={truth.label}&predicted={predicted.label}"
