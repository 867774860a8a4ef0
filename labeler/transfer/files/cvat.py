"""CVAT's `CVAT for images 1.1`: an XML document with every image of a task, each with tags or shapes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

from labeler.transfer.files.spooled import pieces, spool
from labeler.transfer.files.whole_files import check_xml
from labeler.transfer.files.xml_names import meant, written
from labeler.transfer.rows.exported import ExportRow
from labeler.transfer.rows.imported import SPLITS
from labeler.transfer.rows.left_out import LeftOut
from shared.wire.imports import ImportIssue

_SUBSETS = {"train": "Train", "validation": "Validation", "test": "Test"}
"""Our split → the subset that CVAT offers for a task."""
_PULSE = 1_000  # a line feed is sent after so many images, so that the download does not seem dead


def document(images: Iterable[tuple[str, str]], labels: Iterable[str], kind: str) -> Iterator[bytes]:
    """The document with these images, as `image` gives them. `labels` are asked for after the images; they are of one
    `kind`.

    The subsets are named as in the export of a CVAT project. Otherwise Datumaro takes the name of the file for the only
    subset, and finds no image in it. FiftyOne reads the labels of the task.
    """
    size, subsets = 0, dict[str, None]()
    with spool() as spooled:
        yield b'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n    <task>\n'
        yield b"      <name>Flywheel</name>\n"
        for size, (subset, image) in enumerate(images, start=1):
            subsets[subset] = None
            spooled.write(image.encode())
            if size % _PULSE == 0:
                yield b"\n"
        yield f"      <size>{size}</size>\n      <mode>annotation</mode>\n      <labels>\n".encode()
        for label in labels:
            name = escape(written(label), {"\r": "&#13;"})
            line = f"        <label><name>{name}</name><type>{kind}</type><attributes></attributes></label>\n"
            yield line.encode()
        yield b"      </labels>\n    </task>\n"
        if subsets:
            named = "".join(f"<subset>{each}</subset>" for each in subsets)
            yield f"    <project><name>Flywheel</name><subsets>{named}</subsets></project>\n".encode()
        yield b"  </meta>\n"
        yield from pieces(spooled)
        yield b"</annotations>\n"


def image(number: int, row: ExportRow, attribute: str, inside: str) -> tuple[str, str]:
    """The subset of an image and its `image` element; `number` counts from 0, like the frames of a task."""
    subset = _SUBSETS[row.split]
    return subset, (
        f'  <image id="{number}" name={quoteattr(written(row.uri))} subset="{subset}" '
        f'width="{row.width}" height="{row.height}"{attribute}>\n{inside}  </image>\n'
    )


def images(path: Path, left: LeftOut) -> Iterator[tuple[int, dict[str, Any], ET.Element] | ImportIssue]:
    """(number from 1, name and split, element) of each image. Raises SettingsError for a document type or a file that
    is too large.

    The element is cleared once the next one is asked for, so that memory does not grow with the file.
    """
    check_xml(path)
    number = 0
    try:
        events = ET.iterparse(path, events=("start", "end"))  # noqa: S314 - without a document type, there are no entities
        root: ET.Element | None = None
        for event, element in events:
            root = element if root is None else root
            if event == "start":
                continue
            if element.tag == "track":
                left.add("track", "of a video", number)
                root.clear()
            if element.tag != "image":
                continue
            number += 1
            subset = element.get("subset", "")
            split = subset if subset.lower() in SPLITS else None  # CVAT calls no subset "default"
            yield number, {"uri": meant(element.get("name", "")), "split": split}, element
            root.clear()
    except ET.ParseError as error:
        yield ImportIssue(line=error.position[0], uri="", reason=f"is not XML to its end: {error}")
