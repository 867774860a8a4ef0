"""CVAT's `CVAT for images` XML with image tags, read element by element. Its ImageNet export is a folder per class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

from labeler.formats.records import SPLITS, Read, row_of
from shared.messages import ImportIssue


def read(path: Path) -> Iterator[Read]:
    """Rows of the file; `line` counts images from 1.

    Entities that would grow without end are refused by the expat that Python brings (2.4.1 and later).
    """
    number = 0
    try:
        for _, element in ET.iterparse(path):  # noqa: S314 - see above
            if element.tag != "image":
                continue
            number += 1
            labels = [tag.get("label", "") for tag in element.iter("tag")]
            name, subset = element.get("name", ""), element.get("subset", "")
            if len(labels) > 1:
                yield ImportIssue(line=number, uri=name, reason="has several labels; one is needed")
            elif labels:
                split = subset if subset.lower() in SPLITS else None  # CVAT's own name for none is "default"
                row = row_of(number, {"uri": name, "label": labels[0], "split": split})
                if row is not None:
                    yield row
            element.clear()
    except ET.ParseError as error:
        yield ImportIssue(line=error.position[0], uri="", reason=f"is not XML to its end: {error}")
