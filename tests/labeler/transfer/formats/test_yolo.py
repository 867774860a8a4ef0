"""The export for YOLO, as Ultralytics reads a folder: by torchvision's ImageFolder, split by split."""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from labeler.transfer.formats import yolo
from labeler.transfer.rows.exported import ExportRow
from labeler.transfer.sources import open_source
from shared.wire.fields import Split
from shared.wire.imports import ImportRow


def row(number: int, uri: str, split: Split, label: str | None, kind: str = "PNG") -> ExportRow:
    stream = BytesIO()
    Image.new("RGB", (16, 16), (number, 0, 0)).save(stream, kind)
    status = "labeled" if label else "skipped"
    return ExportRow(number, uri, str(number), split, label, status, read=stream.getvalue)


ROWS = [
    row(1, "a.png", "train", "cat"),
    row(2, "b.png", "train", "Con"),
    row(3, "sub/c.png", "validation", "dog"),
    row(4, "d.png", "test", "a/b"),
    row(5, "e.png", "train", None),
]


def unpacked(rows: list[ExportRow], folder: Path) -> Path:
    with zipfile.ZipFile(BytesIO(b"".join(yolo.write(iter(rows), frozenset())))) as archive:
        assert archive.testzip() is None
        archive.extractall(folder)
    return folder


def test_each_split_numbers_the_classes_alike(tmp_path: Path) -> None:
    read = pytest.importorskip("torchvision.datasets").ImageFolder
    folder = unpacked(ROWS, tmp_path / "out")
    assert sorted(path.name for path in folder.iterdir()) == ["test", "train", "val"]
    found = {name: read(folder / name, allow_empty=True) for name in ("train", "val", "test")}
    assert [each.classes for each in found.values()] == [["%43on", "a%2Fb", "cat", "dog"]] * 3
    assert {Path(file).name: label for each in found.values() for file, label in each.samples} == {
        "1-a.png": 2,
        "2-b.png": 0,
        "3-c.png": 3,
        "4-d.png": 1,
    }


def test_it_reads_back(tmp_path: Path) -> None:
    rows = list(open_source(unpacked(ROWS, tmp_path / "out")).rows())
    assert {(each.uri, each.label, each.split) for each in rows if isinstance(each, ImportRow)} == {
        ("train/cat/1-a.png", "cat", "train"),
        ("train/%43on/2-b.png", "Con", "train"),
        ("val/dog/3-c.png", "dog", "validation"),
        ("test/a%2Fb/4-d.png", "a/b", "test"),
    }
    assert len(rows) == 4


def test_a_test_set_alone_has_the_folders_that_yolo_asks_for(tmp_path: Path) -> None:
    folder = unpacked([row(1, "a.png", "test", "cat")], tmp_path / "out")
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) == [
        *("test", "test/cat", "test/cat/1-a.png", "train", "train/cat")
    ]


@pytest.mark.parametrize(
    ("uri", "kind", "member"),
    [
        ("IMG_1", "JPEG", "1-IMG_1.jpg"),
        ("scan.v2", "TIFF", "1-scan.v2.tif"),
        ("a.jfif", "JPEG", "1-a.jfif.jpg"),
        ("a.dat", "WEBP", "1-a.dat.webp"),
        ("b.JPEG", "JPEG", "1-b.JPEG"),
        ("b", "BMP", "1-b.bmp"),
    ],
)
def test_a_photo_has_an_ending_that_yolo_takes(tmp_path: Path, uri: str, kind: str, member: str) -> None:
    folder = unpacked([row(1, uri, "train", "cat", kind)], tmp_path / "out")
    assert [path.name for path in (folder / "train" / "cat").iterdir()] == [member]
    assert (folder / "names.csv").is_file() == (member != f"1-{uri}")


def test_images_that_yolo_does_not_read_are_named(tmp_path: Path) -> None:
    folder = unpacked([row(1, "a.gif", "train", "cat", "GIF"), row(2, "b.png", "train", "cat")], tmp_path / "out")
    assert [path.name for path in (folder / "train" / "cat").iterdir()] == ["2-b.png"]
    assert "a.gif: has a format that YOLO does not read" in (folder / "left_out.txt").read_text()
