"""COCO's JSON for classification: its annotations have no boxes.

Flagged, skipped and unlabeled images are listed without an annotation.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labeler.transfer.files import coco
from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.imported import Chosen, Read, told
from labeler.transfer.rows.left_out import LeftOut
from labeler.transfer.rows.several import ABSENT
from shared.wire.imports import ImportIssue


def write(rows: Iterator[ExportRow], extras: Extras) -> Iterator[bytes]:
    """Write one JSON object; category ids count from 1 in the order in which classes occur."""
    categories: dict[str, int] = {}

    def annotations_of(row: ExportRow) -> Iterator[tuple[str, dict[str, Any]]]:
        for name in row.present:
            yield name, {"id": row.id} if row.answer is None else {}
        for name in row.named:
            categories.setdefault(name, len(categories) + 1)

    return coco.write(rows, extras, ("uri", "label"), annotations_of, categories)


def read(path: Path, chosen: Chosen | None = None, left: LeftOut | None = None) -> Iterator[Read]:
    """Yield a row for each image with one category, or with any in a multi-label project (`chosen.several`).

    `line` counts images. An image without an annotation has no label. Raises SettingsError for another file format.
    """
    several = chosen is not None and chosen.several
    counted = LeftOut() if left is None else left
    content = coco.Content.of(path, "categories")
    for image_id, some in content.annotations.items():
        regions = sum(bool(each.get("bbox") or each.get("segmentation")) for each in some)
        which = "of an image, of which the category alone is read"
        counted.add("region", which, content.lines.get(image_id, 0), what="read", count=regions)
    for number, known, image, given in content.rows(counted):
        unlisted = next((each for each in given if content.name_of(each) is None), None)
        if unlisted is not None:
            yield ImportIssue(line=number, uri=str(known["uri"]), reason=coco.unlisted(unlisted["category_id"]))
            continue
        parts = {"label": [content.name_of(each) for each in given] or None, **known}
        parts |= {name: image.get(name) for name in ("split", "status", "labeled_at", "history", ABSENT)}
        rows = told(number, parts, several=several)
        says = "status" in image
        yield from rows if says else counted.if_none(rows, "image", "without an annotation", number)
