"""A zip with a folder per split and class, as torchvision's ImageFolder, timm and fastai read it.

It contains only labeled images, such as `train/shirt/17-photo.jpg`. The id keeps files of the same name apart.
Characters that a folder name cannot hold are percent-encoded: `a/b` is `a%2Fb` (`shared.storage.safe_names`). Names
that cannot be decoded, because they were too long or differ from another only in capital letters, are listed in
`names.csv`. The zip is sent while it is written. Images that can no longer be read are skipped and listed in
`left_out.txt`. `commands.labels.folders` writes the same layout as a folder on this machine, `yolo` writes a variant,
and `folder_layout` reads it back.
"""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Callable, Iterator, Mapping
from io import StringIO
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Self

from labeler.errors import Problem
from labeler.transfer.files.archives import Pipe, file_name, write_left_out
from labeler.transfer.files.spooled import pieces, spool
from labeler.transfer.rows.exported import ExportRow, Extras
from shared.cells import harmless, meant
from shared.images.finding import LEFT_BEHIND
from shared.storage.safe_names import SafeNames
from shared.storage.safe_names import meant as meant_by
from shared.storage.zip_writer import ZipWriter

NAMES = "names.csv"
_AS_NAMED: Mapping[str, str] = MappingProxyType({})
NO_CLASS = frozenset({"no_label", "no-label", "no label", "nolabel", "unlabeled", "unlabelled", "_unlabeled"})
"""Names, in lower case, of folders that are not a class: their photos are still to be labeled."""
RESERVED = NO_CLASS | LEFT_BEHIND
"""Folders that are skipped on reading, so a class with such a name is written differently."""


def write(rows: Iterator[ExportRow], extras: Extras) -> Iterator[bytes]:
    """Write images without zip compression, because their formats are already compressed."""
    return write_folders(rows, ExportNames(), lambda uri, data: "")


def write_folders(
    rows: Iterator[ExportRow], names: ExportNames, ending: Callable[[str, bytes], str]
) -> Iterator[bytes]:
    """The zip, with these names. `ending` returns a suffix for an image's name, or raises Problem to skip the image."""
    pipe = Pipe()
    left_out: list[str] = []
    with names, ZipWriter(pipe) as archive:
        for row in rows:
            if row.label is None:
                continue
            try:
                data = row.read()
                added = ending(row.uri, data)
            except Problem as problem:
                left_out.append(f"{row.uri}: {problem.detail}")
                continue
            archive.writestr(zipfile.ZipInfo(names.member(row.id, row.uri, row.split, row.label, added)), data)
            yield pipe.drain()
        for folder in names.empty():
            archive.mkdir(folder)
        write_left_out(archive, left_out)
        if piece := next(table := names.table(), b""):
            with archive.open(zipfile.ZipInfo(NAMES), "w") as member:
                for each in chain([piece], table):
                    member.write(each)
                    yield pipe.drain()
    yield from pipe.rest()


class ExportNames:
    """Paths of images in an export, by class, and a table of the names that cannot be decoded.

    `splits` maps splits to folder names. With `every_class`, each split has a folder for each class, even if empty.
    """

    def __init__(self, splits: Mapping[str, str] = _AS_NAMED, *, every_class: bool = False) -> None:
        self._splits, self._every_class = splits, every_class
        self._folders = SafeNames(RESERVED)
        self._used: dict[str, set[str]] = {}  # split → its class folders
        self._told: set[str] = set()  # folders listed in the table
        self._table = spool()
        self._note("path", "label", "uri")
        self._empty = self._table.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Delete the table."""
        self._table.close()

    def member(self, image_id: int, uri: str, split: str, label: str, ending: str = "") -> str:
        """The path of an image in the export, with `ending` appended to its name."""
        named = self._splits.get(split, split)
        self._used.setdefault(named, set()).add(self._folders.of(label))
        folder = f"{named}/{self._folders.of(label)}"
        if folder not in self._told and not self._folders.tells(label):
            self._told.add(folder)
            self._note(folder, label, "")
        file = file_name(image_id, uri + ending)
        if file != f"{image_id}-{uri.rsplit('/', 1)[-1]}":
            self._note(f"{folder}/{file}", "", uri)
        return f"{folder}/{file}"

    def empty(self) -> Iterator[str]:
        """Class folders without images; the train split has every class folder, too."""
        if self._every_class and self._used:
            train = self._splits.get("train", "train")
            every = set().union(*self._used.values())
            for split in sorted({train, *self._used}):
                yield from (f"{split}/{name}" for name in sorted(every - self._used.get(split, set())))

    def table(self) -> Iterator[bytes]:
        """The table as CSV (path, class of a folder, URI of an image); empty if all names can be decoded."""
        if self._table.tell() > self._empty:
            yield from pieces(self._table)

    def _note(self, *cells: str) -> None:
        line = StringIO(newline="")
        csv.writer(line).writerow(map(harmless, cells))
        self._table.write(line.getvalue().encode("utf-8", "backslashreplace"))


def classes_in(folder: Path) -> dict[str, str]:
    """Folder name → class, for an export with a table of names."""
    tables = [each for each in (folder / NAMES, *sorted(folder.glob(f"*/{NAMES}"))) if each.is_file()]
    if not tables:
        return {}
    try:
        with tables[0].open(newline="", encoding="utf-8") as stream:
            rows = [row for row in csv.reader(stream) if len(row) == 3 and row[1] and row[0] != "path"]
    except (OSError, ValueError, csv.Error):
        return {}
    return {path.rpartition("/")[2]: meant(label) for path, label, _ in rows}


def label_of(folder: str) -> str:
    """The class with this folder name."""
    return meant_by(folder, RESERVED)
