"""Label Studio's JSON for image classification: writes tasks, reads its exports (`JSON`, `JSON-MIN`) task by task.

A class is a single choice, whatever its control is called, or one path of a taxonomy, whose parts are joined by
slashes. Everything else in a task (regions, text, ratings, predictions) gives the image no class and is counted by
kind.

The image of a task has a URL of Label Studio: `/data/local-files/?d=PATH` is a file under its document root, and
`/data/upload/3/0a1b2c3d-photo.jpg` was uploaded as `photo.jpg`. Both become the path of the file.

`items` streams the tasks itself. ijson 3.6 took 1.05 s instead of 0.9 s for 50,000 tasks (18 MB), stopped at the first
NaN, which Python writes into such files, replaced half a surrogate pair by "?", and has no limit for the memory of one
task.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.imported import COLUMNS, Chosen, Read, row_of, rows_of, told
from labeler.transfer.rows.left_out import LeftOut
from labeler.transfer.rows.several import ABSENT
from labeler.transfer.rows.texts import one_of
from shared.wire.imports import ImportIssue

CONTROLS = ("choices", "taxonomy")
"""Types of results that give the whole image a class."""
_HOW = {"choices": "", "taxonomy": ", a path of a taxonomy with / between its parts"}
_PLACES = frozenset({"x", "points", "rle", "start"})  # keys in the value of a region
_ANNOTATED = frozenset({"annotation_id", "annotator", "lead_time"})  # keys of an annotated task in JSON-MIN
_META = frozenset(
    {"id", "annotation_id", "created_at", "updated_at", "lead_time", "file_upload", "inner_id", "counter"}
)
_PIECE = 1 << 16  # characters read at once
_LARGEST = 1 << 24  # maximum characters of one task
_LOCAL = re.compile(r"[?&]d=([^&]+)")
_UPLOAD = re.compile(r"^/?data/upload/(?:\d+/)?(?:[0-9a-f]{8}-)?(.+)$")


def write(rows: Iterator[ExportRow], extras: Extras) -> Iterator[bytes]:
    """Write one task per image, for `<Choices name="choice" toName="image">`; the image's label is its annotation.

    For a multi-label project, the control also needs `choice="multiple"`.

    Images are referenced as local files: set Label Studio's `LOCAL_FILES_DOCUMENT_ROOT` to the image folder.
    """
    comma = b"["
    for row in rows:
        yield comma + b"\n" + json.dumps(_task(row, extras)).encode()
        comma = b","
    yield b"\n]\n" if comma == b"," else b"[]\n"


def _task(row: ExportRow, extras: Extras) -> dict[str, Any]:
    known = {name: value for name, value in row.record(extras).items() if name not in ("uri", "label", "id")}
    task: dict[str, Any] = {
        "id": row.id,
        "data": {"image": f"/data/local-files/?d={quote(row.uri)}", **known},
        "annotations": [],
    }
    if row.label is not None:
        annotation: dict[str, Any] = {"result": [_choice(row.present)] if row.present else []}
        if "annotators" in extras and row.annotators:
            annotation["completed_by"] = {"email": row.annotators[0]}
        task["annotations"].append(annotation)
    if row.predicted is not None and "predictions" in extras:
        name, probability = row.predicted
        task["predictions"] = [{"result": [_choice([name])], "score": probability}]
    return task


def _choice(names: list[str]) -> dict[str, Any]:
    return {"from_name": "choice", "to_name": "image", "type": "choices", "value": {"choices": names}}


def read(path: Path, left: LeftOut | None = None, *, several: bool = False) -> Iterator[Read]:
    """Rows of the file; `line` counts tasks from 1. A task with several annotations gives a row for each.

    In a multi-label project (`several`), an annotation has the classes of all its choices.
    """
    counted = LeftOut() if left is None else left
    try:
        for number, task in enumerate(items(path), start=1):
            yield from _rows(number, task, counted, several=several)
    except ValueError as error:
        yield ImportIssue(line=0, uri="", reason=f"is not a JSON list of tasks to its end: {error}")


def items(path: Path) -> Iterator[Any]:
    """Yield the items of a JSON array. Raises ValueError for anything else."""
    decoder = json.JSONDecoder()
    with path.open(encoding="utf-8-sig") as stream:
        kept = stream.read(_PIECE).lstrip()
        if kept[:1] != "[":
            raise ValueError("it does not begin with [")
        kept = kept[1:]
        while True:
            kept = kept.lstrip(" \t\r\n,")
            if kept[:1] == "]":
                return
            item, end = _decode(decoder, kept)
            if end == 0:
                piece = stream.read(_PIECE)
                if not piece or len(kept) > _LARGEST:
                    raise ValueError("an item has no end")
                kept += piece
            else:
                yield item
                kept = kept[end:]


def _decode(decoder: json.JSONDecoder, text: str) -> tuple[Any, int]:
    """The first item and its end; 0 if more must be read, also if the item may continue after the text."""
    try:
        item, end = decoder.raw_decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:
        return None, 0
    return (item, end) if end < len(text) else (None, 0)


def _rows(number: int, task: Any, left: LeftOut, *, several: bool) -> Iterator[Read]:
    if not isinstance(task, dict):
        yield ImportIssue(line=number, uri="", reason="is not a task")
    elif isinstance(task.get("data"), dict):
        yield from _full(number, task, left, several=several)
    else:
        yield from _minimal(number, task, left, several=several)


def _full(number: int, task: dict[str, Any], left: LeftOut, *, several: bool) -> Iterator[Read]:
    """A task of the JSON export: a row for each annotation."""
    data = task["data"]
    image = next((str(data[name]) for name in COLUMNS["uri"] if name in data), "")
    known = {"uri": file_of(image), "split": data.get("split"), ABSENT: data.get(ABSENT)}
    annotations = _list(task.get("annotations")) or _list(task.get("completions"))
    for noun in ("predictions", "drafts"):
        left.add(noun[:-1], "", number, count=len(_list(task.get(noun))))
    if not annotations:  # our own exports have the status of such an image
        said = {name: data.get(name) for name in ("status", "annotators", "labeled_at", "history")}
        row = row_of(number, known | said, several=several)
        if row is not None:
            yield row
        elif said["status"] is None:
            left.add("task", "without an annotation", number)
    for annotation in annotations:
        if not isinstance(annotation, dict):
            yield ImportIssue(line=number, uri=image, reason="has an annotation that is not an object")
            continue
        cancelled = bool(annotation.get("was_cancelled"))  # how Label Studio marks skipped tasks
        try:
            names = [] if cancelled else _classes_of(annotation, number, left, several=several)
            label = (names or None) if several else one_of(names)
        except ValueError as error:
            yield ImportIssue(line=number, uri=image, reason=str(error))
            continue
        by = annotation.get("completed_by")
        annotator = by.get("email") if isinstance(by, dict) else by
        said = {"label": label, "annotator": annotator, "status": "skipped" if cancelled else None}
        said["labeled_at"] = data.get("labeled_at") or annotation.get("created_at")
        said["history"] = data.get("history") if len(annotations) == 1 else None  # the task has several annotations
        if cancelled:
            left.add("annotation", "that was skipped or cancelled there", number, what="taken as skipped here")
        yield from told(number, known | said, several=several)


def _classes_of(annotation: dict[str, Any], number: int, left: LeftOut, *, several: bool) -> list[str]:
    """The classes of the whole image. Raises ValueError if several controls give one, and an image has one class."""
    names: dict[str, list[str]] = {}
    results = [result for result in _list(annotation.get("result")) if isinstance(result, dict)]
    for result in results:
        kind, value = str(result.get("type")), result.get("value")
        inner = value.get(kind) if isinstance(value, dict) else None
        if kind not in CONTROLS or not isinstance(inner, list):
            left.add("result", f"of the kind {kind}, which gives the image no class", number)
        elif isinstance(value, dict) and value.keys() & _PLACES:
            left.add("result", f"of the kind {kind} for a region of the image", number)
        else:
            control = str(result.get("from_name"))
            names.setdefault(control, []).extend(_names(inner))
            if control != "choice":
                left.add("label", f"of the control {control}{_HOW[kind]}", number, what="read")
    if not results:
        left.add("annotation", "without a result", number)
    if len(names) > 1 and not several:
        raise ValueError(f"has a class in several controls ({', '.join(names)}), and an image has one: keep one")
    return [name for some in names.values() for name in some]


def _minimal(number: int, task: dict[str, Any], left: LeftOut, *, several: bool) -> Iterator[Read]:
    """A task of the JSON-MIN export, one flat object: each control is a key beside those of the data."""
    image = next((name for name in COLUMNS["uri"] if name in task), None)
    flat = task | ({} if image is None else {image: file_of(str(task[image]))})
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
    silent = True
    for row in rows_of([(number, {**flat, "label": label or None})], Chosen(several=several)):
        silent = False
        yield row
    if silent and "status" not in flat:
        left.add("task", "without a class", number)


def _names(inner: list[Any]) -> list[Any]:
    """Choices, or paths of a taxonomy; of paths that begin with each other, only the longest."""
    paths = [tuple(map(str, each)) for each in inner if isinstance(each, list)]
    longest = [path for path in paths if not any(other != path and other[: len(path)] == path for other in paths)]
    return [each for each in inner if not isinstance(each, list)] + ["/".join(path) for path in longest]


def _may_be_class(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(each, str | list) for each in value)
    return isinstance(value, str) or (isinstance(value, dict) and "choices" in value)


def _regions(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(each, dict) for each in value)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def file_of(address: str) -> str:
    """The path of the file that an address of Label Studio means."""
    local = _LOCAL.search(address)
    if local:
        return unquote(
            local[1]
        )  # a plus is part of the name, as in `quote`; a name where it was a space is found anyway
    parts = urlsplit(address)
    upload = _UPLOAD.match(parts.path) if not parts.scheme else None
    return unquote(upload[1]) if upload else address
