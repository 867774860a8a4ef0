"""CVAT's `CVAT for images` XML with image tags, read element by element. Its ImageNet export is a folder per class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

from labeler.formats.left_out import LeftOut
from labeler.formats.records import SPLITS, Read, told
from shared.messages import ImportIssue


def read(path: Path, left: LeftOut | None = None) -> Iterator[Read]:
    """Rows of the file; `line` counts images from 1.

    Entities that would grow without end are refused by the expat that Python brings (2.4.1 and later).
    """
    number, counted = 0, LeftOut() if left is None else left
    try:
        for _, element in ET.iterparse(path):  # noqa: S314 - see above
            if element.tag == "track":
                counted.add("track", "of a video", number)
            if element.tag != "image":
                continue
            number += 1
            tags = [tag.get("label", "") for tag in element if tag.tag == "tag"]
            for shape in element:
                if shape.tag != "tag":
                    counted.add("shape", f"of the kind {shape.tag}, which gives the image no class", number)
            name, subset = element.get("name", ""), element.get("subset", "")
            split = subset if subset.lower() in SPLITS else None  # CVAT's own name for none is "default"
            silent = True
            for row in told(number, {"uri": name, "label": tags, "split": split}):
                silent = False
                yield row
            if silent:
                counted.add("image", "without a tag", number)
            element.clear()
    except ET.ParseError as error:
        yield ImportIssue(line=error.position[0], uri="", reason=f"is not XML to its end: {error}")
