"""A zip that Ultralytics YOLO trains a classifier from, once unpacked: `train/`, `val/` and `test/` with class folders.

It differs from `imagefolder` where YOLO does. Its validation folder is `val`. It numbers the classes of each split by
that split's own folders, so every split has a folder for every class, though empty. It passes over a file by its
ending: a photo with another ending gets the one of its kind, and kinds that YOLO does not read stand in `left_out.txt`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from labeler.errors import Invalid
from labeler.transfer.formats.imagefolder import ExportNames, write_folders
from labeler.transfer.rows.exported import ExportRow, Extras

SPLITS = {"train": "train", "validation": "val", "test": "test"}
"""Our split → its folder."""
_TAKEN = re.compile(r"\.(avif|bmp|hei[cf]|jp2|jpe?g|mpo|png|tiff?|webp)", re.IGNORECASE)
_KINDS = (
    (re.compile(rb"\xff\xd8\xff"), ".jpg"),
    (re.compile(rb"\x89PNG"), ".png"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), ".webp"),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), ".tif"),
    (re.compile(rb"BM"), ".bmp"),
)
"""How a file begins → the ending of its kind."""


def write(rows: Iterator[ExportRow], extras: Extras) -> Iterator[bytes]:
    """Labeled images alone, each stored as it is."""
    return write_folders(rows, names(), ending)


def names() -> ExportNames:
    """Where the photos lie."""
    return ExportNames(SPLITS, every_class=True)


def ending(uri: str, head: bytes) -> str:
    """What is added to a name so that YOLO takes a file that begins so. Raises Invalid for a kind it does not read."""
    if _TAKEN.fullmatch(PurePosixPath(uri).suffix):
        return ""
    added = next((each for begins, each in _KINDS if begins.match(head)), None)
    if added is None:
        raise Invalid("is of a kind that YOLO does not read: save it as JPEG or PNG")
    return added
