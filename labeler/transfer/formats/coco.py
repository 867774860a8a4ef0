"""COCO's JSON for classification: `images`, `annotations` without boxes, `categories`.

Flagged, skipped and unlabeled images are listed without an annotation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.imported import Read, told
from labeler.transfer.rows.left_out import LeftOut
from labeler.transfer.rows.several import ABSENT
from shared.settings.services import SettingsError
from shared.wire.imports import ImportIssue

_IN_MEMORY = 1 << 20  # bytes of annotations kept in memory; more are kept on disk


def write(rows: Iterator[ExportRow], extras: Extras) -> Iterator[bytes]:
    """Write one JSON object; category ids count from 1 in the order in which classes occur."""
    categories: dict[str, int] = {}
    count = 0  # of annotations
    with SpooledTemporaryFile(_IN_MEMORY) as annotations:
        yield b'{"info": {"description": "Flywheel"}, "images": [\n'
        comma = b""
        for row in rows:
            known = {name: value for name, value in row.record(extras).items() if name not in ("uri", "label")}
            image = {**known, "file_name": row.uri, "width": row.width, "height": row.height}
            yield comma + json.dumps(image).encode()
            comma = b",\n"
            for name in row.present:
                category, count = categories.setdefault(name, len(categories) + 1), count + 1
                annotation = {
                    "id": row.id if row.answer is None else count,
                    "image_id": row.id,
                    "category_id": category,
                }
                annotations.write((b",\n" if annotations.tell() else b"") + json.dumps(annotation).encode())
            for name in row.answer[1] if row.answer is not None else ():
                categories.setdefault(name, len(categories) + 1)
        yield b'\n], "annotations": [\n'
        annotations.seek(0)
        while piece := annotations.read(_IN_MEMORY):
            yield piece
        named = [{"id": number, "name": name} for name, number in categories.items()]
        yield b'\n], "categories": ' + json.dumps(named).encode() + b"}\n"


def read(path: Path, left: LeftOut | None = None, *, several: bool = False) -> Iterator[Read]:
    """Yield a row for each image with one category, or with any in a multi-label project (`several`).

    `line` counts images. An image without an annotation has no label. Raises SettingsError for another file format.
    """
    counted = LeftOut() if left is None else left
    try:
        content = json.loads(path.read_bytes())
        names = {each["id"]: each["name"] for each in content["categories"]}
        given: dict[Any, list[str]] = {}
        unlisted: dict[Any, Any] = {}
        for each in content["annotations"]:
            if each["category_id"] in names:
                given.setdefault(each["image_id"], []).append(names[each["category_id"]])
            else:
                unlisted[each["image_id"]] = each["category_id"]
        images = [(image["id"], image["file_name"], image) for image in content["images"]]
        regions = [each["image_id"] for each in content["annotations"] if each.get("bbox") or each.get("segmentation")]
    except KeyError as error:
        raise SettingsError(f"{path} is not COCO's JSON with categories: {error} is missing.") from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise SettingsError(f"{path} is not COCO's JSON: {type(error).__name__} {error}.") from None
    lines = {image_id: number for number, (image_id, _, _) in enumerate(images, start=1)}
    for image_id in regions:
        counted.add("region", "of an image, of which the category alone is read", lines.get(image_id, 0), what="read")
    for image_id, some in given.items():
        if image_id not in lines:
            counted.add("annotation", "of an image that the file does not list", 0, count=len(some))
    for number, (image_id, uri, image) in enumerate(images, start=1):
        if image_id in unlisted:
            reason = f"has a category {unlisted[image_id]!r}, which the file does not list"
            yield ImportIssue(line=number, uri=str(uri), reason=reason)
            continue
        annotator = next(iter(image.get("annotators") or []), None)
        parts = {"uri": uri, "label": given.get(image_id), "annotator": annotator}
        parts |= {name: image.get(name) for name in ("split", "status", "labeled_at", "history", ABSENT)}
        silent = True
        for row in told(number, parts, several=several):
            silent = False
            yield row
        if silent and "status" not in image:
            counted.add("image", "without an annotation", number)
