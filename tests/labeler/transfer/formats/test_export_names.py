"""Exports that write folders and files under people's names: they unpack on any system, and read back as they were."""

from __future__ import annotations

import hashlib
import json
import unicodedata
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from commands.labels import folders
from labeler.service import Service
from labeler.transfer.formats import datasets, imagefolder
from labeler.transfer.rows.exported import ExportRow
from labeler.transfer.sources import open_source
from shared.wire.imports import ImportRow
from tests.labeler.projects import answer, labeler, photo

LONG = "猫" * 100  # 300 bytes; a class has at most 100 characters
CLASSES = [
    "CON",
    "nul.txt",
    "a.",
    "a ",
    "x:y",
    "unlabeled",
    "__MACOSX",
    "ctrl\x07",
    LONG,
    LONG[:-1] + "犬",
    "50%20",
    "ж",
]
NAMES = [
    *("ж" * 125 + ".png", "写" * 83 + ".png", "é" * 123 + ".tar.png", "a b.png", "con.png", "q?|<.png", "tail .png"),
    *("ü%41.png", "=1+1.png", "-x.png", "p.png", "s.png"),
]


def content(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def start(tmp_path: Path) -> Any:
    for shade, name in enumerate(NAMES):
        photo(tmp_path / "photos" / name, shade)
    return labeler(tmp_path, classes=[name for name in CLASSES if name.strip() == name])


def label_all(service: Service) -> dict[str, str]:
    """Content of each image → its class."""
    classes = [each.name for each in service.classes.entries()]
    entries = service.catalog.entries(0, 100)
    given = {entry.id: classes[at % len(classes)] for at, entry in enumerate(entries)}
    service.annotate([answer(image, label) for image, label in given.items()])
    return {entry.sha256: given[entry.id] for entry in entries}


def read_back(folder: Path) -> dict[str, str | None]:
    rows = list(open_source(folder).rows())
    assert all(isinstance(row, ImportRow) for row in rows)
    return {content((folder / row.uri).read_bytes()): row.label for row in rows if isinstance(row, ImportRow)}


def sound(names: list[str]) -> bool:
    """Whether every system can have files of these names."""
    folded = {unicodedata.normalize("NFC", name.casefold()) for name in names}
    parts = {part for name in names for part in name.split("/")}
    return len(folded) == len(set(names)) and all(
        len(part.encode()) <= 255 and part[-1] not in " ." and part.split(".")[0].lower() not in ("con", "nul")
        for part in parts
    )


@pytest.mark.parametrize("name", ["imagefolder", "yolo", "datasets", "fiftyone"])
def test_a_zip_unpacks_anywhere_and_reads_back(tmp_path: Path, name: str) -> None:
    with start(tmp_path) as service:
        said = label_all(service)
        with zipfile.ZipFile(BytesIO(b"".join(service.exports.begin(name)[0]))) as archive:
            assert sound(archive.namelist())
            archive.extractall(tmp_path / "unpacked")
    assert read_back(tmp_path / "unpacked") == said


def test_a_folder_of_copies_reads_back(tmp_path: Path) -> None:
    with start(tmp_path) as service:
        said = label_all(service)
        records = [json.loads(line) for line in b"".join(service.exports.begin("jsonl")[0]).splitlines()]
    written = folders.write(records, {"": [tmp_path / "photos"]}, tmp_path / "out", "copy")
    assert (written.count, written.left_out) == (len(NAMES), [])
    assert sound([path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*")])
    assert read_back(tmp_path / "out") == said
    long = folders.write(records, {"": [tmp_path / "photos"]}, tmp_path / ("ж" * 125), "copy")  # 250 bytes
    assert long.count == len(NAMES)


def test_classes_that_differ_in_capital_letters_alone_have_a_folder_each(tmp_path: Path) -> None:
    classes = ["Cat", "cat", "CAT", unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")]
    data = [photo(tmp_path / f"{at}.png", at).read_bytes() for at in range(len(classes))]
    rows = [
        ExportRow(at, f"{at}.png", content(data[at]), "train", name, "labeled", read=lambda at=at: data[at])  # type: ignore[misc]
        for at, name in enumerate(classes)
    ]
    with zipfile.ZipFile(BytesIO(b"".join(imagefolder.write(iter(rows), frozenset())))) as archive:
        assert sound(archive.namelist())
        archive.extractall(tmp_path / "unpacked")
    assert read_back(tmp_path / "unpacked") == {content(data[at]): name for at, name in enumerate(classes)}
    with zipfile.ZipFile(BytesIO(b"".join(datasets.write(iter(rows), frozenset())))) as archive:
        table = archive.read("train/metadata.jsonl").decode().splitlines()
    assert [(json.loads(line)["original"], json.loads(line)["label"]) for line in table] == [
        (row.uri, row.label) for row in rows
    ]
