"""Labels in the formats that people bring them in."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from labeler.transfer.formats import csv_table
from labeler.transfer.rows.exported import ExportRow
from labeler.transfer.sources import open_source
from shared.settings.services import SettingsError
from shared.wire.imports import ImportIssue, ImportRow
from tests.labeler.projects import photo


def rows(path: Path) -> list[tuple[str, str | None]]:
    return [(row.uri, row.label) for row in open_source(path).rows() if isinstance(row, ImportRow)]


def issues(path: Path) -> list[tuple[int, str]]:
    return [(row.line, row.reason) for row in open_source(path).rows() if isinstance(row, ImportIssue)]


def written(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_with_bad_rows_says_their_lines_and_goes_on(tmp_path: Path) -> None:
    text = (
        "Filename,Class,Split,confidence\na.png,cat,train,0.5\nb.png,dog\nc.png,,,\nd.png,cat,later,\ne.png,cat,val,2\n"
    )
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode() + b"\xff.png,cat,,\n" + "f.png,dog,TEST,\né.png,cat,,\n".encode())
    assert rows(path) == [("a.png", "cat"), ("d.png", "cat"), ("e.png", "cat"), ("f.png", "dog"), ("é.png", "cat")]
    assert [line for line, _ in issues(path)] == [3, 5, 6, 7]
    assert "which is not train" in issues(path)[1][1]
    first = next(open_source(path).rows())
    assert isinstance(first, ImportRow)
    assert (first.line, first.split, first.confidence) == (2, "train", 0.5)


def test_when_a_label_was_given(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "labels.csv",
        "uri,label,labeled_at\na.png,cat,2020-02-03T04:05:06+02:00\nb.png,cat,2020-02-03 04:05\nc.png,cat,\n"
        "d.png,cat,yesterday\ne.png,cat,9999-01-01\n",
    )
    given = [row.labeled_at for row in open_source(path).rows() if isinstance(row, ImportRow)]
    read = [at and at.isoformat() for at in given]
    assert read == ["2020-02-03T04:05:06+02:00", "2020-02-03T04:05:00+00:00", None, None, None]
    assert [line for line, _ in issues(path)] == [5, 6]
    assert "a time between 1970 and now is needed" in issues(path)[1][1]


def test_text_that_the_csv_export_escaped_is_read_as_it_was(tmp_path: Path) -> None:
    names = ["=cmd", "'=quoted", "-b", "plain", "'plain"]
    exported = [ExportRow(n, name, "", "train", name, "labeled") for n, name in enumerate(names)]
    path = tmp_path / "labels.csv"
    path.write_bytes(b"".join(csv_table.write(iter(exported), frozenset())))
    assert all(not line.split(b",")[1].startswith((b"=", b"-")) for line in path.read_bytes().splitlines())
    assert rows(path) == [(name, name) for name in names]


def test_json_lines(tmp_path: Path) -> None:
    path = written(tmp_path, "labels.jsonl", '{"path": "a.png", "label": 7}\n\n{"path": \n[1]\n{"path": "b.png"}\n')
    assert rows(path) == [("a.png", "7")]
    assert [line for line, _ in issues(path)] == [3, 4]


def test_parquet(tmp_path: Path) -> None:
    table = pa.table({"image_path": ["a.png", "b.png", None], "label": ["cat", None, "dog"], "other": [1, 2, 3]})
    pq.write_table(table, tmp_path / "labels.parquet")
    assert rows(tmp_path / "labels.parquet") == [("a.png", "cat")]
    assert issues(tmp_path / "labels.parquet") == [(3, "names no image")]
    assert open_source(tmp_path / "labels.parquet").total == 3


def test_a_folder_per_class_with_and_without_splits(tmp_path: Path) -> None:
    photo(tmp_path / "plain" / "cat" / "a.png", 1)
    photo(tmp_path / "plain" / "dog" / "b.png", 2)
    photo(tmp_path / "plain" / "beside.png", 3)
    assert rows(tmp_path / "plain") == [("cat/a.png", "cat"), ("dog/b.png", "dog")]
    photo(tmp_path / "odd" / "a%2Fb" / "a.png", 1)
    photo(tmp_path / "odd" / "50%20off" / "b.png", 2)
    assert {label for _, label in rows(tmp_path / "odd")} == {"a/b", "50%20off"}  # what no export of ours writes stays
    photo(tmp_path / "split" / "train" / "cat" / "a.png", 1)
    photo(tmp_path / "split" / "val" / "dog" / "b.png", 2)
    found = [(row.label, row.split) for row in open_source(tmp_path / "split").rows() if isinstance(row, ImportRow)]
    assert found == [("cat", "train"), ("dog", "validation")]


def test_an_imagefolder_of_datasets(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    written(tmp_path, "train/metadata.jsonl", '{"file_name": "a.png", "label": "cat"}\n')
    written(tmp_path, "test/metadata.csv", "file_name,label\nb.png,dog\n")
    found = [(row.uri, row.split) for row in open_source(tmp_path).rows() if isinstance(row, ImportRow)]
    assert found == [("train/a.png", "train"), ("test/b.png", "test")]


def test_label_studio(tmp_path: Path) -> None:
    def task(image: str, *choices: str, **more: object) -> dict[str, object]:
        result = [{"type": "choices", "value": {"choices": list(choices)}}]
        return {"data": {"image": image}, "annotations": [{"result": result, "completed_by": 3, **more}]}

    tasks = [
        task("/data/local-files/?d=photos/a%20b.png", "cat"),
        task("/data/upload/2/0a1b2c3d-b.png", "dog"),
        task("c.png", "cat", "dog"),
        task("d.png", "cat", was_cancelled=True),
    ]
    path = written(tmp_path, "tasks.json", json.dumps(tasks, indent=1))
    assert rows(path) == [("photos/a b.png", "cat"), ("b.png", "dog"), ("d.png", None)]
    assert issues(path) == [(3, "has several labels ('cat', 'dog'), and an image has one class here: keep one")]
    cut = written(tmp_path, "cut.json", json.dumps(tasks)[:-20])
    assert len(rows(cut)) == 2
    assert "to its end" in issues(cut)[-1][1]
    small = written(tmp_path, "min.json", json.dumps([{"image": "/data/upload/0a1b2c3d-x.png", "choice": "cat"}]))
    assert rows(small) == [("x.png", "cat")]


def test_a_long_list_of_tasks_is_read_in_pieces(tmp_path: Path) -> None:
    tasks = [{"image": f"{n}.png", "choice": "x" * (n % 90 + 1), "id": n} for n in range(3_000)]
    path = written(tmp_path, "long.json", json.dumps(tasks))
    assert rows(path) == [(f"{n}.png", "x" * (n % 90 + 1)) for n in range(3_000)]


def test_cvat(tmp_path: Path) -> None:
    text = """<annotations><meta><task><name>x</name></task></meta>
      <image id="0" name="a.png" subset="Test"><tag label="cat" source="manual"/></image>
      <image id="1" name="b.png"/>
      <image id="2" name="c.png" subset="default"><tag label="dog"/></image></annotations>"""
    path = written(tmp_path, "annotations.xml", text)
    found = [(row.uri, row.label, row.split) for row in open_source(path).rows() if isinstance(row, ImportRow)]
    assert found == [("a.png", "cat", "test"), ("c.png", "dog", None)]
    assert "not XML" in issues(written(tmp_path, "cut.xml", text[:150]))[0][1]


@pytest.mark.parametrize("name", ["labels.csv", "labels.parquet", "labels.txt", "none.csv", "empty"])
def test_a_file_without_labels_is_reported(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    if name != "none.csv" and name != "empty":
        (tmp_path / name).write_text("a,b\n1,2\n")
    with pytest.raises(SettingsError):
        list(open_source(tmp_path / name).rows())
