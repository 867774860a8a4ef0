"""CVAT's XML with a `box` per object: corners in pixels from 0, in the upright image.

CVAT shows images upright, as Flywheel does, and lists every image of a task, annotated or not. Our exports store the
status of an image as an attribute, which CVAT ignores. A polygon is read as its bounding box. An image with another
shape, or with a rotated box, is rejected, because some of its objects would have no box.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET
from xml.sax.saxutils import quoteattr

from labeler.transfer.files.cvat import document, image, images
from labeler.transfer.files.xml_names import meant, written
from labeler.transfer.rows.boxed_rows import told_image
from labeler.transfer.rows.boxes import BoxRow
from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.imported import Chosen, Read
from labeler.transfer.rows.left_out import LeftOut
from shared.wire.imports import ImportIssue, NamedBoxes

SOURCES: Final[dict[str, str]] = {"drawn": "manual", "accepted": "auto", "corrected": "semi-auto", "imported": "file"}
"""Origin of a box → CVAT's word for it."""
_ORIGIN_OF: Final = {word: origin for origin, word in SOURCES.items()}
_CORNERS: Final = ("xtl", "ytl", "xbr", "ybr")


def write(rows: Iterator[ExportRow], extras: Extras, classes: Sequence[str]) -> Iterator[bytes]:
    """Write one XML document. A class that is added or renamed during the export comes last."""
    labels = dict.fromkeys(classes)
    return document((_image(number, row, labels) for number, row in enumerate(rows)), labels, "rectangle")


def _image(number: int, row: ExportRow, labels: dict[str, None]) -> tuple[str, str]:
    labels |= dict.fromkeys(box.label for box in row.boxes or ())
    boxes = "".join(
        f'    <box label={quoteattr(written(box.label))} source="{SOURCES[box.origin]}" occluded="0" xtl="{box.x:.2f}" '
        f'ytl="{box.y:.2f}" xbr="{box.x + box.w:.2f}" ybr="{box.y + box.h:.2f}" z_order="0"></box>\n'
        for box in row.boxes or ()
    )
    return image(number, row, f' status="{row.status}"', boxes)


def read(path: Path, chosen: Chosen | None, left: LeftOut) -> Iterator[Read]:
    """Rows of the file; `line` counts images from 1. Raises SettingsError for a file that is too large."""
    for given in images(path, left):
        if isinstance(given, ImportIssue):
            yield given
        else:
            number, known, element = given
            parts = known | {"status": element.get("status")}
            yield from told_image(number, parts, partial(_boxes, element, number, left), chosen, left)


def _boxes(image: ET.Element, line: int, left: LeftOut) -> NamedBoxes:
    row = BoxRow(size=(image.get("width"), image.get("height")))
    for each in image:
        label = meant(each.get("label", ""))
        if each.tag == "tag":
            left.add("tag", "of a whole image, which has no place", line)
        elif each.tag == "box" and _turned(each.get("rotation")):
            row.refuse(label, f"is rotated by {each.get('rotation')} degrees, but boxes here cannot be rotated")
        elif each.tag == "box":
            row.corners(
                label, *(each.get(corner) for corner in _CORNERS), origin=_ORIGIN_OF.get(each.get("source", ""))
            )
        elif each.tag == "polygon":
            row.around(label, (each.get("points") or "").replace(";", ",").split(","))
            left.add("polygon", "as the box around it", line, what="read")
        else:
            row.refuse(label, f"is a shape of the kind {each.tag[:40]}, not a box")
    return row.answer()


def _turned(degrees: str | None) -> bool:
    try:
        return float(degrees or 0) % 360 != 0
    except ValueError:
        return True
