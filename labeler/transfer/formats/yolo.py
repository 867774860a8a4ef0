"""A zip to train a classifier of Ultralytics YOLO: `train/`, `val/` and `test/` with class folders.

It differs from `imagefolder` where YOLO requires it. The validation folder is `val`. YOLO numbers the classes of each
split by that split's folders, so every split has a folder for every class, even if empty. YOLO skips files by
extension: a photo with an unknown extension gets a second one for its format, and formats that YOLO does not read are
listed in `left_out.txt`.
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
"""First bytes of a file → extension of its format."""


def write(rows: Iterator[ExportRow], extras: Extras) -> Iterator[bytes]:
    """Write only labeled images, uncompressed."""
    return write_folders(rows, names(), ending)


def names() -> ExportNames:
    """The paths of the photos."""
    return ExportNames(SPLITS, every_class=True)


def ending(uri: str, head: bytes) -> str:
    """The extension to append so that YOLO reads a file with the first bytes `head`. Raises Invalid for a format that
    YOLO does not read."""
    if _TAKEN.fullmatch(PurePosixPath(uri).suffix):
        return ""
    added = next((each for begins, each in _KINDS if begins.match(head)), None)
    if added is None:
        raise Invalid("has a format that YOLO does not read: save it as JPEG or PNG")
    return added
