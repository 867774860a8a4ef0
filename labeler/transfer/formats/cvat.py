"""CVAT's `CVAT for images 1.1`: XML with a tag per class of an image. CVAT's ImageNet export is a folder per class.

In a multi-label project, the attribute `absent` of an image has the classes that it lacks, which CVAT ignores.

Skipped, flagged and unanswered images have no tag. Characters that XML cannot hold, such as most control characters,
are percent-encoded, and decoded when read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import SpooledTemporaryFile
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.imported import SPLITS, Read, told
from labeler.transfer.rows.left_out import LeftOut
from labeler.transfer.rows.several import ABSENT
from labeler.transfer.rows.whole_files import check_xml
from shared.storage.safe_names import quoted, unquoted
from shared.tasks.multilabel import cell_of
from shared.wire.imports import ImportIssue

SUBSETS = {"train": "Train", "validation": "Validation", "test": "Test"}
"""Our split → the subset that CVAT offers for a task."""
_IN_MEMORY = 1 << 20  # bytes of images in memory; more are kept on disk until the list of labels is written
_PULSE = 1_000  # a line feed is sent after so many images, so that the download does not seem dead
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(rows: Iterator[ExportRow], extras: Extras) -> Iterator[bytes]:
    """Write one XML document; `id` counts images from 0, like the frames of a task."""
    labels: dict[str, None] = {}
    size = 0
    with SpooledTemporaryFile(_IN_MEMORY) as images:
        yield b'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n    <task>\n'
        yield b"      <name>Flywheel</name>\n"
        for size, row in enumerate(rows, start=1):
            images.write(_image(size - 1, row).encode())
            labels |= dict.fromkeys([*row.present, *(row.answer[1] if row.answer is not None else ())])
            if size % _PULSE == 0:
                yield b"\n"
        yield f"      <size>{size}</size>\n      <mode>annotation</mode>\n      <labels>\n".encode()
        for label in labels:
            name = escape(written(label), {"\r": "&#13;"})
            yield f"        <label><name>{name}</name><type>tag</type><attributes></attributes></label>\n".encode()
        yield b"      </labels>\n    </task>\n  </meta>\n"
        images.seek(0)
        while piece := images.read(_IN_MEMORY):
            yield piece
        yield b"</annotations>\n"


def _image(number: int, row: ExportRow) -> str:
    tags = "".join(f'    <tag label={quoteattr(written(name))} source="manual"></tag>\n' for name in row.present)
    absent = "" if row.answer is None else f" {ABSENT}={quoteattr(written(cell_of(row.answer[1])))}"
    return (
        f'  <image id="{number}" name={quoteattr(written(row.uri))} subset="{SUBSETS[row.split]}" '
        f'width="{row.width}" height="{row.height}"{absent}>\n{tags}  </image>\n'
    )


def written(name: str) -> str:
    """`name` in a form that XML can hold: percent-encoded if it has a character that XML cannot hold, or looks
    encoded."""
    plain = name
    while (shorter := unquoted(plain)) != plain:
        plain = shorter
    if not _NO_XML.search(plain):
        return name
    return re.sub(f"%|{_NO_XML.pattern}", lambda found: quoted(found[0]), name)


def meant(text: str) -> str:
    """The name from which `written` made `text`; `text` itself if it is not one of these."""
    name = unquoted(text)
    return name if name != text and written(name) == text else text


def read(path: Path, left: LeftOut | None = None, *, several: bool = False) -> Iterator[Read]:
    """Rows of the file; `line` counts images from 1. Raises SettingsError for one with a document type."""
    check_xml(path)
    number, counted = 0, LeftOut() if left is None else left
    try:
        events = ET.iterparse(path, events=("start", "end"))  # noqa: S314 - without a document type, there are no entities
        root: ET.Element | None = None
        for event, element in events:
            root = element if root is None else root
            if event == "start":
                continue
            if element.tag == "track":
                counted.add("track", "of a video", number)
                root.clear()  # frees what was read, so that memory does not grow with the file
            if element.tag != "image":
                continue
            number += 1
            tags = [meant(tag.get("label", "")) for tag in element if tag.tag == "tag"]
            for shape in element:
                if shape.tag != "tag":
                    counted.add("shape", f"of the kind {shape.tag}, which gives the image no class", number)
            name, subset = meant(element.get("name", "")), element.get("subset", "")
            split = subset if subset.lower() in SPLITS else None  # CVAT calls no subset "default"
            silent = True
            absent = element.get(ABSENT)  # our own exports have it
            parts = {"uri": name, "label": tags or None, "split": split, ABSENT: absent and meant(absent)}
            for row in told(number, parts, several=several):
                silent = False
                yield row
            if silent:
                counted.add("image", "without a tag", number)
            root.clear()
    except ET.ParseError as error:
        yield ImportIssue(line=error.position[0], uri="", reason=f"is not XML to its end: {error}")
