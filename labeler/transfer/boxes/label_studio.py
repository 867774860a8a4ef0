"""Label Studio's JSON with `RectangleLabels`: coordinates in percent of the upright image.

Every annotation of a task is a row. A submitted annotation without a result means that nothing is in the image. A
polygon is read as its bounding box. An annotation with a rotated box or another region is rejected, because some
objects would have no box. In `JSON-MIN`, the control with the boxes is a key of the task.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from labeler.transfer.files import label_studio
from labeler.transfer.files.label_studio import (
    NOT_AN_OBJECT,
    Task,
    address_of,
    file_of,
    listed,
    parts_of,
    said_by,
    task_of,
    without_annotation,
)
from labeler.transfer.rows.boxed_rows import told_boxes
from labeler.transfer.rows.boxes import BOXES, BoxRow
from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.imported import Chosen, Read
from labeler.transfer.rows.left_out import LeftOut
from shared.wire.imports import ImportIssue, NamedBox, NamedBoxes

_CONTROL: Final = "label"
_BOX, _POLYGON = "rectanglelabels", "polygonlabels"
ORIGINS: Final[dict[str, str]] = {"drawn": "manual", "accepted": "prediction", "corrected": "prediction-changed"}
"""Origin of a box → Label Studio's word for it. There is none for imported boxes."""
_ORIGIN_OF: Final = {word: origin for origin, word in ORIGINS.items()}
_NO_PLACE = frozenset({"choices", "taxonomy", "textarea", "rating", "number", "datetime"})
"""Types of results that concern the whole image."""


def write(rows: Iterator[ExportRow], extras: Extras, classes: object) -> Iterator[bytes]:
    """Write one task per image, for `<RectangleLabels name="label" toName="image">`."""
    return label_studio.write(_task(row, extras) for row in rows)


def _task(row: ExportRow, extras: Extras) -> dict[str, Any]:
    found = None if row.boxes is None else [_result(number, box, row) for number, box in enumerate(row.boxes, start=1)]
    return task_of(row, extras, ("uri", "id", BOXES), found)


def _result(number: int, box: NamedBox, row: ExportRow) -> dict[str, Any]:
    width, height = row.width or 1, row.height or 1
    place = {
        "x": 100 * box.x / width,
        "y": 100 * box.y / height,
        "width": 100 * box.w / width,
        "height": 100 * box.h / height,
    }
    return {
        "id": f"{row.id}-{number}",
        "from_name": _CONTROL,
        "to_name": "image",
        "type": _BOX,
        "original_width": row.width,
        "original_height": row.height,
        "image_rotation": 0,
        "value": {**{name: round(value, 8) for name, value in place.items()}, "rotation": 0, _BOX: [box.label]},
        **({"origin": ORIGINS[box.origin]} if box.origin in ORIGINS else {}),
    }


def read(path: Path, chosen: Chosen | None, left: LeftOut) -> Iterator[Read]:
    """Rows of the file; `line` counts tasks from 1. A task with several annotations gives a row for each."""
    return label_studio.read(path, partial(_full, left=left), partial(_minimal, left=left))


def _full(number: int, task: Task, *, left: LeftOut) -> Iterator[Read]:
    known, annotations = parts_of(number, task, left)
    if not annotations:
        said = without_annotation(task)
        if said["status"] is None:
            left.add("task", "without an annotation", number)
        else:
            yield from told_boxes(number, known | said, lambda: None)
    for annotation in annotations:
        if not isinstance(annotation, dict):
            yield ImportIssue(line=number, uri=address_of(task["data"]), reason=NOT_AN_OBJECT)
            continue
        said = said_by(number, annotation, task, left, alone=len(annotations) == 1)
        yield from told_boxes(number, known | said, partial(_boxes, listed(annotation.get("result")), number, left))


def _minimal(number: int, task: Task, *, left: LeftOut) -> Iterator[Read]:
    """A task of the JSON-MIN export: the boxes are the value of their control."""
    results = [
        {"type": next((kind for kind in (_BOX, _POLYGON) if kind in each), "a region"), "value": each, **each}
        for value in task.values()
        for each in listed(value)
        if isinstance(each, dict) and "original_width" in each
    ]
    if not results and "annotation_id" not in task:
        left.add("task", "without an annotation", number)
        return
    parts = {"uri": file_of(address_of(task)), "split": task.get("split"), "annotator": task.get("annotator")}
    yield from told_boxes(number, parts, partial(_boxes, results, number, left))


def _boxes(results: list[Any], line: int, left: LeftOut) -> NamedBoxes:
    found = [each for each in results if isinstance(each, dict)]
    size = next(((each.get("original_width"), each.get("original_height")) for each in found), (None, None))
    row = BoxRow("share", size)
    for each in found:
        kind, value = str(each.get("type")), each.get("value")
        value = value if isinstance(value, dict) else {}
        labels = listed(value.get(kind))
        label = labels[0] if labels else ""
        if kind in _NO_PLACE:
            left.add("result", f"of the kind {kind}, which has no place", line)
        elif kind == "relation":
            left.add("relation", "between boxes", line)
        elif len(labels) > 1:
            row.refuse(label, f"has several classes ({', '.join(map(str, labels[:3]))}), and a box has one: keep one")
        elif kind == _POLYGON:
            points = [part for point in listed(value.get("points")) for part in listed(point)]
            row.around(label, [_hundredth(part) for part in points])
            left.add("polygon", "as the box around it", line, what="read")
        elif kind != _BOX:
            row.refuse(label, f"is a region of the kind {kind[:40]}, not a box")
        elif _turned(value.get("rotation")) or _turned(each.get("image_rotation")):
            row.refuse(label, "is rotated (or its image), but boxes here cannot be")
        else:
            four = [_hundredth(value.get(name)) for name in ("x", "y", "width", "height")]
            row.sized(label, *four, origin=_ORIGIN_OF.get(str(each.get("origin"))))
    return row.answer()


def _turned(degrees: Any) -> bool:
    return isinstance(degrees, int | float) and degrees % 360 != 0


def _hundredth(value: Any) -> Any:
    """Percent as a share; anything else unchanged, so that the report can show it."""
    return value / 100 if isinstance(value, int | float) and not isinstance(value, bool) else value
