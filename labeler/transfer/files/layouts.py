"""Which files of a dataset folder hold its labels, and which format a JSON file has."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from labeler.transfer.files import fiftyone
from labeler.transfer.rows.imported import SPLITS
from shared.images.finding import is_left_out
from shared.wire.fields import Split

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
"""Tables in the imagefolder layout of Hugging Face `datasets`."""


def files_called(folder: Path, names: Sequence[str]) -> list[Path]:
    """The files with these names in a folder and in the folders of its splits."""
    found = [path for name in names for path in (folder / name, *sorted(folder.glob(f"*/{name}")))]
    return [path for path in found if path.is_file()]


def dataset_below(folder: Path) -> tuple[Path, str] | None:
    """A folder in this one that is a dataset of its own, and the file that says so. Somebody unpacked it beside photos.

    Only names are looked up, because the folders may hold a million photos. A folder that cannot be read is none.
    """
    tables = [f"{split}/{each}" for split in SPLITS for each in METADATA]
    with os.scandir(folder) as entries:
        names = sorted(
            entry.name for entry in entries if not (entry.is_file(follow_symlinks=False) or is_left_out(entry.name))
        )
    for inside in (folder / name for name in names):
        with suppress(PermissionError):
            if not inside.is_dir():
                continue
            table = fiftyone.table_in(inside)
            found = table.name if table else next((each for each in tables if (inside / each).is_file()), None)
            if found is not None:
                return inside, found
    return None


def placed(folder: Path, files: Sequence[Path]) -> Iterator[tuple[Path, str, Split | None]]:
    """Each file with its folder inside the dataset ("." for the dataset's own), and the split that it is called."""
    for file in files:
        inside = file.parent.relative_to(folder).as_posix()
        yield file, inside, SPLITS.get(inside.lower())


def json_format(path: Path) -> Literal["coco", "fiftyone", "label_studio"]:
    """Label Studio's JSON is a list, COCO's an object, FiftyOne's an object with its own first key."""
    if fiftyone.is_ours(path):
        return "fiftyone"
    with path.open("rb") as stream:
        return "coco" if stream.read(1_024).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{" else "label_studio"
