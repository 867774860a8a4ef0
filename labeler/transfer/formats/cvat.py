"""CVAT's XML with a tag for each class of an image. (CVAT's ImageNet export is a folder per class instead.)

In a multi-label project, the attribute `absent` of an image lists the classes that it lacks; CVAT ignores it. Skipped,
flagged and unanswered images have no tag.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import quoteattr

from labeler.transfer.files.cvat import document, image, images
from labeler.transfer.files.xml_names import meant, written
from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.imported import Chosen, Read, told
from labeler.transfer.rows.left_out import LeftOut
from labeler.transfer.rows.several import ABSENT
from shared.tasks.multilabel import cell_of
from shared.wire.imports import ImportIssue


def write(rows: Iterator[ExportRow], extras: Extras) -> Iterator[bytes]:
    """Write one XML document."""
    labels: dict[str, None] = {}

    def tagged() -> Iterator[tuple[str, str]]:
        for number, row in enumerate(rows):
            labels.update(dict.fromkeys(row.named))
            yield _image(number, row)

    return document(tagged(), labels, "tag")


def _image(number: int, row: ExportRow) -> tuple[str, str]:
    tags = "".join(f'    <tag label={quoteattr(written(name))} source="manual"></tag>\n' for name in row.present)
    absent = "" if row.answer is None else f" {ABSENT}={quoteattr(written(cell_of(row.answer[1])))}"
    return image(number, row, absent, tags)


def read(path: Path, chosen: Chosen | None = None, left: LeftOut | None = None) -> Iterator[Read]:
    """Rows of the file; `line` counts images from 1. Raises SettingsError for a file with a document type."""
    several = chosen is not None and chosen.several
    counted = LeftOut() if left is None else left
    for given in images(path, counted):
        if isinstance(given, ImportIssue):
            yield given
            continue
        number, known, element = given
        tags = [meant(tag.get("label", "")) for tag in element if tag.tag == "tag"]
        for shape in element:
            if shape.tag != "tag":
                counted.add("shape", f"of the kind {shape.tag}, which gives the image no class", number)
        absent = element.get(ABSENT)  # our own exports have it
        parts = known | {"label": tags or None, ABSENT: absent and meant(absent)}
        yield from counted.if_none(told(number, parts, several=several), "image", "without a tag", number)
