"""Label Studio's JSON: a list of tasks, each with an image and the annotations that people made (`JSON`), or flat
(`JSON-MIN`).

The image of a task has a URL of Label Studio: `/data/local-files/?d=PATH` is a file under its document root, and
`/data/upload/3/0a1b2c3d-photo.jpg` was uploaded as `photo.jpg`. Both become the path of the file.

`items` streams the tasks itself. ijson 3.6 took 1.05 s instead of 0.9 s for 50,000 tasks (18 MB), stopped at the first
NaN, which Python writes into such files, replaced half a surrogate pair by "?", and has no limit for the memory of one
task.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.imported import COLUMNS, Read
from labeler.transfer.rows.left_out import LeftOut
from shared.wire.imports import ImportIssue

Task = Mapping[str, Any]
NOT_AN_OBJECT = "has an annotation that is not an object"
_PIECE = 1 << 16  # characters read at once
_LARGEST = 1 << 24  # maximum characters of one task
_LOCAL = re.compile(r"[?&]d=([^&]+)")
_UPLOAD = re.compile(r"^/?data/upload/(?:\d+/)?(?:[0-9a-f]{8}-)?(.+)$")


def write(tasks: Iterator[Task]) -> Iterator[bytes]:
    """Write the list."""
    comma = b"["
    for task in tasks:
        yield comma + b"\n" + json.dumps(task).encode()
        comma = b","
    yield b"\n]\n" if comma == b"," else b"[]\n"


def task_of(row: ExportRow, extras: Extras, own: tuple[str, ...], result: list[Any] | None) -> dict[str, Any]:
    """The task of an image, without the columns that the format has its `own` place for; the image's label is its
    annotation, with this `result`.

    Images are referenced as local files: set Label Studio's `LOCAL_FILES_DOCUMENT_ROOT` to the image folder.
    """
    known = {name: value for name, value in row.record(extras).items() if name not in own}
    annotations: list[dict[str, Any]] = [] if result is None else [{"result": result}]
    for annotation in annotations:
        if "annotators" in extras and row.annotators:
            annotation["completed_by"] = {"email": row.annotators[0]}
    data = {"image": f"/data/local-files/?d={quote(row.uri)}", **known}
    return {"id": row.id, "data": data, "annotations": annotations}


def read(
    path: Path, full: Callable[[int, Task], Iterator[Read]], flat: Callable[[int, Task], Iterator[Read]]
) -> Iterator[Read]:
    """Rows of the tasks, which are counted from 1: `full` reads those of `JSON`, `flat` those of `JSON-MIN`."""
    try:
        for number, task in enumerate(items(path), start=1):
            if not isinstance(task, dict):
                yield ImportIssue(line=number, uri="", reason="is not a task")
            else:
                yield from (full if isinstance(task.get("data"), dict) else flat)(number, task)
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


def parts_of(number: int, task: Task, left: LeftOut) -> tuple[dict[str, Any], list[Any]]:
    """What a task of `JSON` says of its image, and its annotations; what nobody submitted is counted."""
    data = task["data"]
    for noun in ("predictions", "drafts"):
        left.add(noun[:-1], "", number, count=len(listed(task.get(noun))))
    known = {"uri": file_of(address_of(data)), "split": data.get("split")}
    return known, listed(task.get("annotations")) or listed(task.get("completions"))


def without_annotation(task: Task) -> dict[str, Any]:
    """What our own exports say of an image without an annotation; `status` is None in other files."""
    return {name: task["data"].get(name) for name in ("status", "annotators", "labeled_at", "history")}


def said_by(number: int, annotation: Task, task: Task, left: LeftOut, *, alone: bool) -> dict[str, Any]:
    """Who made an annotation and when, and whether it was skipped there. `alone`: whether the task has no other, so
    that the history of the image is that of the annotation."""
    data, by = task["data"], annotation.get("completed_by")
    cancelled = bool(annotation.get("was_cancelled"))  # how Label Studio marks skipped tasks
    if cancelled:
        left.add("annotation", "that was skipped or cancelled there", number, what="taken as skipped here")
    return {
        "annotator": by.get("email") if isinstance(by, dict) else by,
        "status": "skipped" if cancelled else None,
        "labeled_at": data.get("labeled_at") or annotation.get("created_at"),
        "history": data.get("history") if alone else None,
    }


def address_of(data: Task) -> str:
    """The address of the image; "" if there is none."""
    return next((str(data[name]) for name in COLUMNS["uri"] if name in data), "")


def listed(value: Any) -> list[Any]:
    """The value if it is a list, else an empty list."""
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
