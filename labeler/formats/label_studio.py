"""Label Studio's JSON of image classification: written as tasks, its exports (`JSON`, `JSON-MIN`) read task by task.

A task's image is an address of Label Studio's own: `/data/local-files/?d=PATH` names a file under its document root,
`/data/upload/3/0a1b2c3d-photo.jpg` one that was uploaded as `photo.jpg`. Both become the path of the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from labeler.formats.records import COLUMNS, Read, row_of, rows_of
from labeler.formats.rows import ExportRow, Extras
from shared.messages import ImportIssue

_PIECE = 1 << 16  # characters read at a time
_LARGEST = 1 << 24  # characters of one task, or the file is no list of tasks
_LOCAL = re.compile(r"[?&]d=([^&]+)")
_UPLOAD = re.compile(r"^/?data/upload/(?:\d+/)?(?:[0-9a-f]{8}-)?(.+)$")


def write(rows: Iterator[ExportRow], extras: Extras) -> Iterator[bytes]:
    """A task an image, for `<Choices name="choice" toName="image">`; each annotator's standing label is an annotation.

    Images are addressed as local files: set `LOCAL_FILES_DOCUMENT_ROOT` of Label Studio to the image folder.
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
        annotation: dict[str, Any] = {"result": [_choice(row.label)]}
        if "annotators" in extras and row.annotators:
            annotation["completed_by"] = {"email": row.annotators[0]}
        task["annotations"].append(annotation)
    if row.predicted is not None and "predictions" in extras:
        name, probability = row.predicted
        task["predictions"] = [{"result": [_choice(name)], "score": probability}]
    return task


def _choice(name: str) -> dict[str, Any]:
    return {"from_name": "choice", "to_name": "image", "type": "choices", "value": {"choices": [name]}}


def read(path: Path) -> Iterator[Read]:
    """Rows of the file; `line` counts tasks from 1. A task with several annotators gives a row each."""
    try:
        for number, task in enumerate(items(path), start=1):
            yield from _rows(number, task)
    except ValueError as error:
        yield ImportIssue(line=0, uri="", reason=f"is not a JSON list of tasks to its end: {error}")


def items(path: Path) -> Iterator[Any]:
    """The items of a JSON array, one after the other. Raises ValueError for what is none."""
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
    """The first item and where it ends; 0 while more has to be read, also when it ends where the text does."""
    try:
        item, end = decoder.raw_decode(text)
    except ValueError:
        return None, 0
    return (item, end) if end < len(text) else (None, 0)


def _rows(number: int, task: Any) -> Iterator[Read]:
    if not isinstance(task, dict):
        yield ImportIssue(line=number, uri="", reason="is no task")
    elif not isinstance(task.get("data"), dict):  # JSON-MIN: one flat object a task
        flat = {name: _first(value) for name, value in task.items()}
        image = next((name for name in COLUMNS["uri"] if name in flat), None)
        if image is not None:
            flat[image] = _file(str(flat[image]))
        label = next((flat[name] for name in ("choice", *COLUMNS["label"]) if name in flat), None)
        yield from rows_of([(number, {**flat, "label": label})])
    else:
        data = task["data"]
        image = next((str(data[name]) for name in COLUMNS["uri"] if name in data), "")
        known = {"uri": _file(image), "split": data.get("split")}
        annotations = task.get("annotations") or task.get("completions") or []
        if not annotations:  # our own say of such an image what it is
            told = {name: data.get(name) for name in ("status", "annotators", "labeled_at", "history")}
            yield from rows_of([(number, known | told)])
        for annotation in annotations:
            cancelled = annotation.get("was_cancelled")  # how Label Studio says that a task was skipped
            choices = [] if cancelled else list(_choices(annotation))
            if len(choices) > 1:
                yield ImportIssue(line=number, uri=image, reason="has several labels; one is needed")
                continue
            by = annotation.get("completed_by")
            annotator = by.get("email") if isinstance(by, dict) else by
            said = {"label": _first(choices), "annotator": annotator, "status": "skipped" if cancelled else None}
            said["labeled_at"] = data.get("labeled_at") or annotation.get("created_at")
            history = data.get("history") if len(annotations) == 1 else None  # more were given there
            row = row_of(number, known | said | {"history": history})
            if row is not None:
                yield row


def _choices(annotation: dict[str, Any]) -> Iterator[str]:
    for result in annotation.get("result") or []:
        if result.get("type") == "choices":
            yield from result.get("value", {}).get("choices", [])


def _first(value: Any) -> Any:
    if isinstance(value, dict):
        value = value.get("choices")
    if isinstance(value, list):
        return value[0] if value else None
    return value


def _file(address: str) -> str:
    local = _LOCAL.search(address)
    if local:
        return unquote(local[1])  # a plus is of the name, as `quote` has it; one that was a space is found all the same
    parts = urlsplit(address)
    upload = _UPLOAD.match(parts.path) if not parts.scheme else None
    return unquote(upload[1]) if upload else address
