import csv
import json
import zipfile
from io import BytesIO, StringIO
from pathlib import Path

import pytest

from labeler.errors import Invalid
from labeler.service import Service
from labeler.transfer.formats import FORMATS
from tests.labeler.projects import answer, labeler, photo


def exported(service: Service, name: str) -> bytes:
    stream, _ = service.exports.begin(name)
    return b"".join(stream)


def folder(tmp_path: Path) -> None:
    for shade, name in enumerate(["=cmd|' /C calc'!A0.png", "-b.png", "c, d.png", "sub/ü.png"]):
        photo(tmp_path / "photos" / name, shade)


def test_csv(tmp_path: Path) -> None:
    folder(tmp_path)
    with labeler(tmp_path, classes=["@cat", "dog"], overlap=2) as service:
        service.annotate([answer(1, "@cat"), answer(1, "@cat", annotator="bob"), answer(2, None, action="flag")])
        rows = list(csv.DictReader(StringIO(exported(service, "csv").decode())))
    assert [row["uri"] for row in rows] == ["'-b.png", "'=cmd|' /C calc'!A0.png", "c, d.png", "sub/ü.png"]
    assert (rows[0]["label"], rows[0]["annotators"], rows[0]["status"]) == ("'@cat", "ann;bob", "labeled")
    assert rows[0]["labeled_at"].endswith("+00:00")
    assert [row["status"] for row in rows[1:]] == ["flagged", "unlabeled", "unlabeled"]


def test_json_lines(tmp_path: Path) -> None:
    folder(tmp_path)
    with labeler(tmp_path) as service:
        service.annotate([answer(3, "dog")])
        rows = [json.loads(line) for line in exported(service, "jsonl").splitlines()]
    assert [row["label"] for row in rows] == [None, None, "dog", None]
    assert rows[3]["uri"] == "sub/ü.png"
    assert rows[3]["labeled_at"] is None


def test_imagefolder(tmp_path: Path) -> None:
    folder(tmp_path)
    with labeler(tmp_path, classes=["a/b", ".."]) as service:
        service.annotate([answer(1, "a/b"), answer(3, ".."), answer(4, "a/b")])
        (tmp_path / "photos" / "sub" / "ü.png").unlink()
        with zipfile.ZipFile(BytesIO(exported(service, "imagefolder"))) as archive:
            assert archive.namelist() == ["train/a%2Fb/1--b.png", "train/%2E%2E/3-c, d.png", "left_out.txt"]
            assert archive.read("train/a%2Fb/1--b.png") == (tmp_path / "photos" / "-b.png").read_bytes()
            assert "sub/ü.png no longer exists" in archive.read("left_out.txt").decode()


def test_only_what_is_there_and_stands(tmp_path: Path) -> None:
    folder(tmp_path)
    with labeler(tmp_path) as service:
        (tmp_path / "photos" / "-b.png").unlink()
        service.scanner.start()
        service.scanner.wait(10)
        assert [json.loads(line)["id"] for line in exported(service, "jsonl").splitlines()] == [2, 3, 4]
        with pytest.raises(Invalid, match=", ".join(sorted(FORMATS))):
            service.exports.begin("xml")
