"""COCO's JSON for classification: `images`, `annotations` without boxes, `categories`.

Flagged, skipped and unlabeled images stand among the images and have no annotation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

from labeler.formats.records import Read, row_of
from labeler.formats.rows import ExportRow, Extras
from shared.messages import ImportIssue
from shared.settings import SettingsError

_IN_MEMORY = 1 << 20  # bytes of annotations, beyond which they wait on disk


def write(rows: Iterator[ExportRow], extras: Extras) -> Iterator[bytes]:
    """One JSON object; ids of categories count from 1 in the order in which classes come."""
    categories: dict[str, int] = {}
    with SpooledTemporaryFile(_IN_MEMORY) as annotations:
        yield b'{"info": {"description": "Flywheel"}, "images": [\n'
        comma = b""
        for row in rows:
            known = {name: value for name, value in row.record(extras).items() if name not in ("uri", "label")}
            image = {**known, "file_name": row.uri, "width": row.width, "height": row.height}
            yield comma + json.dumps(image).encode()
            comma = b",\n"
            if row.label is not None:
                category = categories.setdefault(row.label, len(categories) + 1)
                annotation = {"id": row.id, "image_id": row.id, "category_id": category}
                annotations.write((b",\n" if annotations.tell() else b"") + json.dumps(annotation).encode())
        yield b'\n], "annotations": [\n'
        annotations.seek(0)
        while piece := annotations.read(_IN_MEMORY):
            yield piece
        named = [{"id": number, "name": name} for name, number in categories.items()]
        yield b'\n], "categories": ' + json.dumps(named).encode() + b"}\n"


def read(path: Path) -> Iterator[Read]:
    """A row for each image with one category; `line` counts images. Raises SettingsError when it is no such file."""
    try:
        content = json.loads(path.read_bytes())
        names = {each["id"]: each["name"] for each in content["categories"]}
        given: dict[Any, set[str]] = {}
        for each in content["annotations"]:
            given.setdefault(each["image_id"], set()).add(names[each["category_id"]])
        images = [(image["id"], image["file_name"], image) for image in content["images"]]
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{path} is not COCO's JSON: {type(error).__name__} {error}.") from None
    for number, (image_id, uri, image) in enumerate(images, start=1):
        labels = given.get(image_id, set())
        if len(labels) > 1:
            yield ImportIssue(line=number, uri=str(uri), reason="has several categories; one is needed")
            continue
        annotator = next(iter(image.get("annotators") or []), None)
        parts = {"uri": uri, "label": next(iter(labels), None), "annotator": annotator}
        row = row_of(number, parts | {name: image.get(name) for name in ("split", "status", "labeled_at", "history")})
        if row is not None:
            yield row
