"""Which files of a dataset folder hold its labels, and which format a JSON file has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from labeler.transfer.files import fiftyone
from labeler.transfer.rows.imported import SPLITS
from shared.wire.fields import Split

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
"""Tables in the imagefolder layout of Hugging Face `datasets`."""


def files_called(folder: Path, names: Sequence[str]) -> list[Path]:
    """The files with these names in a folder and in the folders of its splits."""
    found = [path for name in names for path in (folder / name, *sorted(folder.glob(f"*/{name}")))]
    return [path for path in found if path.is_file()]


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
