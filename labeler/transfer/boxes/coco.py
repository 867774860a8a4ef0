"""COCO's JSON with boxes: `images`, `annotations` with `bbox` [x, y, width, height] in pixels, `categories`.

The format cannot say whether an image without an annotation is empty or not annotated yet. Our exports say it as
`status`; of other files, such images are left out unless the user says that they are empty. A crowd region (`iscrowd`)
is no box of an object, so its image is rejected: its objects are not all boxed. Coordinates are meant in the image of
the size that the file gives: an image of another size is rejected, also one that is turned by its EXIF orientation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

from labeler.transfer.rows.boxed_rows import told_image
from labeler.transfer.rows.boxes import BOXES, BoxRow
from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.imported import SPLITS, Chosen, Read
from labeler.transfer.rows.left_out import LeftOut
from labeler.transfer.rows.whole_files import content_of
from shared.settings.services import SettingsError
from shared.wire.imports import NamedBoxes

IN_FOLDER = "_annotations.coco.json"
"""The file that Roboflow writes into the folder of a split, beside its images."""
_NAMED_BY_SPLIT = re.compile(r"instances_([a-z]+)\d*\.json")
_IN_MEMORY = 1 << 20  # bytes of annotations kept in memory; more are kept on disk


def write(rows: Iterator[ExportRow], extras: Extras, classes: Sequence[str]) -> Iterator[bytes]:
    """Write one JSON object; category ids count from 1 in the order of the project's classes. A class that was added or
    renamed meanwhile comes after them."""
    categories = {name: number for number, name in enumerate(classes, start=1)}
    count = 0
    with SpooledTemporaryFile(_IN_MEMORY) as annotations:
        yield b'{"info": {"description": "Flywheel"}, "images": [\n'
        comma = b""
        for row in rows:
            known = {name: value for name, value in row.record(extras).items() if name not in ("uri", BOXES)}
            image = {**known, "file_name": row.uri, "width": row.width, "height": row.height}
            yield comma + json.dumps(image).encode()
            comma = b",\n"
            for box in row.boxes or ():
                count += 1
                annotation = {
                    "id": count,
                    "image_id": row.id,
                    "category_id": categories.setdefault(box.label, len(categories) + 1),
                    "bbox": [box.x, box.y, box.w, box.h],
                    "area": round(box.w * box.h, 2),
                    "iscrowd": 0,
                    "segmentation": [],
                    "origin": box.origin,
                }
                annotations.write((b",\n" if count > 1 else b"") + json.dumps(annotation).encode())
        yield b'\n], "annotations": [\n'
        annotations.seek(0)
        while piece := annotations.read(_IN_MEMORY):
            yield piece
        named = [{"id": number, "name": name} for name, number in categories.items()]
        yield b'\n], "categories": ' + json.dumps(named).encode() + b"}\n"


def read(path: Path, chosen: Chosen | None, left: LeftOut) -> Iterator[Read]:
    """Rows of the file; `line` counts images. Raises SettingsError for another file format."""
    try:
        content = json.loads(content_of(path))
        names = {each["id"]: each["name"] for each in content["categories"]}
        images = [(image["id"], image["file_name"], image) for image in content["images"]]
        given: dict[Any, list[Mapping[str, Any]]] = {}
        for each in content["annotations"]:
            given.setdefault(each["image_id"], []).append({**each, "category_id": each["category_id"]})
    except KeyError as error:
        raise SettingsError(f"{path} is not COCO's JSON with boxes: {error} is missing.") from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise SettingsError(f"{path} is not COCO's JSON: {type(error).__name__} {error}.") from None
    split = split_of(path)
    listed = {image_id for image_id, _, _ in images}
    for image_id, some in given.items():
        if image_id not in listed:
            left.add("annotation", "of an image that the file does not list", 0, count=len(some))
    for number, (image_id, uri, image) in enumerate(images, start=1):
        annotator = next(iter(image.get("annotators") or []), None)
        parts = {"uri": uri, "annotator": annotator, "split": image.get("split") or split}
        parts |= {name: image.get(name) for name in ("status", "labeled_at", "history") if image.get(name) is not None}
        find = partial(_boxes, given.get(image_id, []), image, names, number, left)
        yield from told_image(number, parts, find, chosen, left)


def _boxes(
    given: list[Mapping[str, Any]], image: Mapping[str, Any], names: Mapping[Any, Any], line: int, left: LeftOut
) -> NamedBoxes:
    row = BoxRow(size=(image.get("width"), image.get("height")))
    for each in given:
        category, bbox, outline = each["category_id"], each.get("bbox"), each.get("segmentation")
        label = names.get(category) if isinstance(category, str | int) else None
        if label is None:
            row.refuse("", f"has a category {str(category)[:40]!r}, which the file does not list")
        elif each.get("iscrowd"):
            row.refuse(label, "is a region of a crowd (iscrowd), not a box of one object")
        elif isinstance(bbox, list) and bbox:
            row.listed(label, bbox, each.get("origin"))
            if outline:
                left.add("outline", "of an object, of which the box alone is read", line, what="read")
        elif isinstance(outline, list) and outline and all(isinstance(part, list) for part in outline):
            row.around(label, [number for part in outline for number in part])
            left.add("polygon", "as the box around it", line, what="read")
        else:
            row.refuse(label, "has no bbox")
    return row.answer()


def split_of(path: Path) -> str | None:
    """The split that a file says: `instances_val2017.json` by name, `train/_annotations.coco.json` by its folder."""
    found = _NAMED_BY_SPLIT.fullmatch(path.name)
    word = (found[1] if found else path.parent.name if path.name == IN_FOLDER else "").lower()
    return word if word in SPLITS else None
