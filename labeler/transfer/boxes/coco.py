"""COCO's JSON with boxes: annotations have a `bbox` [x, y, width, height] in pixels.

The format cannot tell whether an image without an annotation is empty or not annotated yet. Our exports add a `status`;
in other files, such images are left out unless the user says that they are empty. A crowd region (`iscrowd`) is not
the box of one object, so its image is rejected: some of its objects have no box. Coordinates are for the image size
given in the file. An image of another size is rejected, including one that its EXIF orientation turns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from labeler.transfer.files import coco
from labeler.transfer.rows.boxed_rows import told_image
from labeler.transfer.rows.boxes import BOXES, BoxRow
from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.imported import SPLITS, Chosen, Read
from labeler.transfer.rows.left_out import LeftOut
from shared.wire.imports import NamedBoxes

IN_FOLDER = "_annotations.coco.json"
"""The file that Roboflow writes into the folder of a split, beside its images."""
_NAMED_BY_SPLIT = re.compile(r"instances_([a-z]+)\d*\.json")


def write(rows: Iterator[ExportRow], extras: Extras, classes: Sequence[str]) -> Iterator[bytes]:
    """Write one JSON object; category ids count from 1 in the order of the project's classes. A class that is added or
    renamed during the export comes last."""
    categories = {name: number for number, name in enumerate(classes, start=1)}
    return coco.write(rows, extras, ("uri", BOXES), _annotations, categories)


def _annotations(row: ExportRow) -> Iterator[tuple[str, dict[str, Any]]]:
    for box in row.boxes or ():
        shape = {"bbox": [box.x, box.y, box.w, box.h], "area": round(box.w * box.h, 2)}
        yield box.label, {**shape, "iscrowd": 0, "segmentation": [], "origin": box.origin}


def read(path: Path, chosen: Chosen | None, left: LeftOut) -> Iterator[Read]:
    """Rows of the file; `line` counts images. Raises SettingsError for another file format."""
    content, split = coco.Content.of(path, "boxes"), split_of(path)
    for number, known, image, given in content.rows(left):
        parts = {**known, "split": image.get("split") or split}
        parts |= {name: image.get(name) for name in ("status", "labeled_at", "history") if image.get(name) is not None}
        yield from told_image(number, parts, partial(_boxes, given, image, content, number, left), chosen, left)


def _boxes(given: list[coco.Given], image: coco.Given, content: coco.Content, line: int, left: LeftOut) -> NamedBoxes:
    row = BoxRow(size=(image.get("width"), image.get("height")))
    for each in given:
        label, bbox, outline = content.name_of(each), each.get("bbox"), each.get("segmentation")
        if label is None:
            row.refuse("", coco.unlisted(str(each["category_id"])[:40]))
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
    """The split of a file: from its name (`instances_val2017.json`), or its folder (`train/_annotations.coco.json`)."""
    found = _NAMED_BY_SPLIT.fullmatch(path.name)
    word = (found[1] if found else path.parent.name if path.name == IN_FOLDER else "").lower()
    return word if word in SPLITS else None
