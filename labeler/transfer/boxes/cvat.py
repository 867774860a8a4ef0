"""CVAT's `CVAT for images 1.1` with a `box` per object: corners in pixels from 0, in the upright image.

CVAT shows images upright, as Flywheel does, and lists every image of a task, annotated or not. Our exports have the
status of an image as an attribute, which CVAT ignores. A polygon is read as the box around it; an image with another
shape, or with a turned box, is rejected, because its objects would not all be boxed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Final
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

from labeler.transfer.formats.cvat import SUBSETS, meant, written
from labeler.transfer.rows.boxed_rows import told_image
from labeler.transfer.rows.boxes import BoxRow
from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.imported import SPLITS, Chosen, Read
from labeler.transfer.rows.left_out import LeftOut
from labeler.transfer.rows.whole_files import check_xml
from shared.wire.imports import ImportIssue, NamedBoxes

SOURCES: Final[dict[str, str]] = {"drawn": "manual", "accepted": "auto", "corrected": "semi-auto", "imported": "file"}
"""Where a box comes from → CVAT's word for it."""
_ORIGIN_OF: Final = {word: origin for origin, word in SOURCES.items()}
_CORNERS: Final = ("xtl", "ytl", "xbr", "ybr")
_IN_MEMORY = 1 << 20  # bytes of images in memory; more are kept on disk until their number is written
_PULSE = 1_000  # a line feed is sent after so many images, so that the download does not seem dead


def write(rows: Iterator[ExportRow], extras: Extras, classes: Sequence[str]) -> Iterator[bytes]:
    """Write one XML document; `id` counts images from 0, like the frames of a task."""
    size = 0
    with SpooledTemporaryFile(_IN_MEMORY) as images:
        yield b'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n    <task>\n'
        yield b"      <name>Flywheel</name>\n"
        for size, row in enumerate(rows, start=1):
            images.write(_image(size - 1, row).encode())
            if size % _PULSE == 0:
                yield b"\n"
        yield f"      <size>{size}</size>\n      <mode>annotation</mode>\n      <labels>\n".encode()
        for label in classes:
            name = escape(written(label), {"\r": "&#13;"})
            line = f"        <label><name>{name}</name><type>rectangle</type><attributes></attributes></label>\n"
            yield line.encode()
        yield b"      </labels>\n    </task>\n  </meta>\n"
        images.seek(0)
        while piece := images.read(_IN_MEMORY):
            yield piece
        yield b"</annotations>\n"


def _image(number: int, row: ExportRow) -> str:
    boxes = "".join(
        f'    <box label={quoteattr(written(box.label))} source="{SOURCES[box.origin]}" occluded="0" xtl="{box.x:.2f}" '
        f'ytl="{box.y:.2f}" xbr="{box.x + box.w:.2f}" ybr="{box.y + box.h:.2f}" z_order="0"></box>\n'
        for box in row.boxes or ()
    )
    return (
        f'  <image id="{number}" name={quoteattr(written(row.uri))} subset="{SUBSETS[row.split]}" '
        f'width="{row.width}" height="{row.height}" status="{row.status}">\n{boxes}  </image>\n'
    )


def read(path: Path, chosen: Chosen | None, left: LeftOut) -> Iterator[Read]:
    """Rows of the file; `line` counts images from 1. Raises SettingsError for one that is too large."""
    check_xml(path)
    number = 0
    try:
        events = ET.iterparse(path, events=("start", "end"))  # noqa: S314 - without a document type, no entities
        root: ET.Element | None = None
        for event, element in events:
            root = element if root is None else root
            if event == "start":
                continue
            if element.tag == "track":
                left.add("track", "of a video", number)
                root.clear()  # frees what was read, so that memory does not grow with the file
            if element.tag != "image":
                continue
            number += 1
            subset = element.get("subset", "")
            split = subset if subset.lower() in SPLITS else None  # CVAT calls no subset "default"
            parts = {"uri": meant(element.get("name", "")), "split": split, "status": element.get("status")}
            yield from told_image(number, parts, partial(_boxes, element, number, left), chosen, left)
            root.clear()
    except ET.ParseError as error:
        yield ImportIssue(line=error.position[0], uri="", reason=f"is not XML to its end: {error}")


def _boxes(image: ET.Element, line: int, left: LeftOut) -> NamedBoxes:
    row = BoxRow(size=(image.get("width"), image.get("height")))
    for each in image:
        label = meant(each.get("label", ""))
        if each.tag == "tag":
            left.add("tag", "of a whole image, which has no place", line)
        elif each.tag == "box" and _turned(each.get("rotation")):
            row.refuse(label, f"is turned by {each.get('rotation')} degrees, and boxes here are upright")
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
