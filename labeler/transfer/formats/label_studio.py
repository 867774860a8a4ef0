"""Label Studio's JSON for image classification.

A class is a single choice, whatever its control is called, or one path of a taxonomy, with its parts joined by slashes.
Everything else in a task (regions, text, ratings, predictions) gives the image no class, and is counted by kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from labeler.transfer.files import label_studio
from labeler.transfer.files.label_studio import Task, file_of, listed, parts_of, said_by, task_of, without_annotation
from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.imported import COLUMNS, Chosen, Read, row_of, rows_of, told
from labeler.transfer.rows.left_out import LeftOut
from labeler.transfer.rows.several import ABSENT
from labeler.transfer.rows.texts import class_name, one_of
from shared.wire.imports import ImportIssue

CONTROLS = ("choices", "taxonomy")
"""Types of results that give the whole image a class."""
_HOW = {"choices": "", "taxonomy": ", a path of a taxonomy with / between its parts"}
_PLACES = frozenset({"x", "points", "rle", "start"})  # keys in the value of a region
_ANNOTATED = frozenset({"annotation_id", "annotator", "lead_time"})  # keys of an annotated task in JSON-MIN
_META = frozenset(
    {"id", "annotation_id", "created_at", "updated_at", "lead_time", "file_upload", "inner_id", "counter"}
)


def write(rows: Iterator[ExportRow], extras: Extras) -> Iterator[bytes]:
    """Write one task per image, for `<Choices name="choice" toName="image">`.

    For a multi-label project, the control also needs `choice="multiple"`.
    """
    return label_studio.write(_task(row, extras) for row in rows)


def _task(row: ExportRow, extras: Extras) -> dict[str, Any]:
    chosen = [_choice(row.present)] if row.present else []
    task = task_of(row, extras, ("uri", "label", "id"), None if row.label is None else chosen)
    if row.predicted is not None and "predictions" in extras:
        name, probability = row.predicted
        task["predictions"] = [{"result": [_choice([name])], "score": probability}]
    return task


def _choice(names: list[str]) -> dict[str, Any]:
    return {"from_name": "choice", "to_name": "image", "type": "choices", "value": {"choices": names}}


def read(path: Path, chosen: Chosen | None = None, left: LeftOut | None = None) -> Iterator[Read]:
    """Rows of the file; `line` counts tasks from 1. A task with several annotations gives a row for each.

    In a multi-label project (`chosen.several`), an annotation has the classes of all its choices.
    """
    several = chosen is not None and chosen.several
    counted = LeftOut() if left is None else left
    full, flat = partial(_full, left=counted, several=several), partial(_minimal, left=counted, several=several)
    return label_studio.read(path, full, flat)


def _full(number: int, task: Task, *, left: LeftOut, several: bool) -> Iterator[Read]:
    """A task of the JSON export: a row for each annotation."""
    known, annotations = parts_of(number, task, left)
    known[ABSENT] = task["data"].get(ABSENT)
    if not annotations:
        said = without_annotation(task)
        row = row_of(number, known | said, several=several)
        if row is not None:
            yield row
        elif said["status"] is None:
            left.add("task", "without an annotation", number)
    for annotation in annotations:
        if not isinstance(annotation, dict):
            yield ImportIssue(line=number, uri=label_studio.address_of(task["data"]), reason=label_studio.NOT_AN_OBJECT)
            continue
        said = said_by(number, annotation, task, left, alone=len(annotations) == 1)
        try:
            names = [] if said["status"] else _classes_of(annotation, number, left, several=several)
            label = (names or None) if several else one_of(names)
        except ValueError as error:
            yield ImportIssue(line=number, uri=label_studio.address_of(task["data"]), reason=str(error))
            continue
        yield from told(number, known | said | {"label": label}, several=several)


def _classes_of(annotation: Task, number: int, left: LeftOut, *, several: bool) -> list[str]:
    """The classes of the whole image. Raises ValueError if several controls give one, unless `several`."""
    names: dict[str, list[str]] = {}
    results = [result for result in listed(annotation.get("result")) if isinstance(result, dict)]
    for result in results:
        kind, value = str(result.get("type")), result.get("value")
        inner = value.get(kind) if isinstance(value, dict) else None
        if kind not in CONTROLS or not isinstance(inner, list):
            left.add("result", f"of the kind {kind}, which gives the image no class", number)
        elif isinstance(value, dict) and value.keys() & _PLACES:
            left.add("result", f"of the kind {kind} for a region of the image", number)
        else:
            control = str(result.get("from_name"))
            names.setdefault(control, []).extend(map(class_name, _names(inner)))
            if control != "choice":
                left.add("label", f"of the control {control}{_HOW[kind]}", number, what="read")
    if not results:
        left.add("annotation", "without a result", number)
    if len(names) > 1 and not several:
        raise ValueError(f"has a class in several controls ({', '.join(names)}), and an image has one: keep one")
    return [name for some in names.values() for name in some]


def _minimal(number: int, task: Task, *, left: LeftOut, several: bool) -> Iterator[Read]:
    """A task of the JSON-MIN export: one flat object, where each control is a key among those of the data."""
    image = next((name for name in COLUMNS["uri"] if name in task), None)
    flat = {**task} | ({} if image is None else {image: file_of(str(task[image]))})
    control = next((name for name in ("choice", *COLUMNS["label"]) if name in task), None)
    others = {
        name: value
        for name, value in task.items()
        if name != image and name not in _META and not any(name in known for known in COLUMNS.values())
    }
    regions = {name: value for name, value in others.items() if isinstance(value, list) and _regions(value)}
    for name, value in regions.items():
        left.add("region", f"of the control {name}, which gives the image no class", number, count=len(value))
    if control is None and task.keys() & _ANNOTATED:
        found = [name for name, value in others.items() if name not in regions and _may_be_class(value)]
        structured = [name for name in found if not isinstance(others[name], str)] or found
        if len(structured) > 1:
            reason = f"has several fields that may be its class ({', '.join(structured)}): export JSON, not JSON-MIN"
            yield ImportIssue(line=number, uri=str(task.get(image or "", "")), reason=reason)
            return
        control = next(iter(structured), None)
        if control is not None:
            how = _HOW["taxonomy" if isinstance(others[control], list) else "choices"]
            left.add("label", f"of the control {control}{how}", number, what="read")
    label = task.get(control) if control is not None else None
    if isinstance(label, dict):
        label = label.get("choices", label)
    elif isinstance(label, list) and any(isinstance(each, list) for each in label):
        label = _names(label)
    rows = rows_of([(number, {**flat, "label": label or None})], Chosen(several=several))
    yield from rows if "status" in flat else left.if_none(rows, "task", "without a class", number)


def _names(inner: list[Any]) -> list[Any]:
    """Choices, or paths of a taxonomy. If one path begins with another, only the longer one counts."""
    paths = [tuple(map(str, each)) for each in inner if isinstance(each, list)]
    longest = [path for path in paths if not any(other != path and other[: len(path)] == path for other in paths)]
    return [each for each in inner if not isinstance(each, list)] + ["/".join(path) for path in longest]


def _may_be_class(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(each, str | list) for each in value)
    return isinstance(value, str) or (isinstance(value, dict) and "choices" in value)


def _regions(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(each, dict) for each in value)
