"""Tables as people have them: their dialect is detected and reported, or the message asks for it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from commands.connection import FlywheelError
from commands.given_labels import boxes_of_table, rows_of_table
from labeler.transfer.formats.csv_table import Table
from labeler.transfer.rows.imported import Chosen
from labeler.transfer.rows.left_out import LeftOut
from labeler.transfer.sources import open_source
from shared.settings.services import SettingsError
from shared.wire.imports import CellIssue, ImportIssue, ImportRow, NamedBoxes

Pairs = list[tuple[str, str | None]]
CATS: Pairs = [("a.png", "cat"), ("b.png", "dog")]


def table(tmp_path: Path, text: str | bytes, name: str = "labels.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def taken(path: Path, columns: str | None = None) -> list[ImportRow]:
    source = open_source(path, Chosen.of(columns) if columns else None)
    return [row for row in source.rows() if isinstance(row, ImportRow)]


def pairs(path: Path, columns: str | None = None) -> Pairs:
    return [(row.uri, row.label) for row in taken(path, columns)]


def lost(path: Path) -> list[tuple[int, str]]:
    return [(each.line, each.reason) for each in open_source(path).rows() if isinstance(each, CellIssue)]


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("filename;label\na.png;cat\nb.png;dog\n", "semicolon"),
        ("sep=;\r\nfilename;label\r\na.png;cat\r\nb.png;dog\r\n", "semicolon"),
        ("sep=\t\nfilename\tlabel\na.png\tcat\nb.png\tdog\n", "tab"),
        ("filename\tlabel\na.png\tcat\nb.png\tdog\n", "tab"),
        ("filename|label\na.png|cat\nb.png|dog\n", "bar"),
        ("filename,label,\na.png,cat,\nb.png,dog,\n", "comma"),
        ("filename,label\na.png,cat,\nb.png,dog,,\n", "comma"),
        ('filename, label\na.png, "cat"\nb.png, dog\n', "comma"),
        ("a.png;cat\nb.png;dog\n", "semicolon"),
        ("a.png\tcat\t\nb.png\tdog\t\n", "tab"),
    ],
)
def test_the_separator_is_found_and_reported(tmp_path: Path, text: str, separator: str) -> None:
    path = table(tmp_path, text)
    assert pairs(path) == CATS
    (said,) = open_source(path).told()
    assert f"separator {separator}" in said


def test_the_line_of_a_row_is_that_of_the_file(tmp_path: Path) -> None:
    path = table(tmp_path, "sep=;\nfilename;label\na.png;cat\n;dog\n")
    issues = [(each.line, each.reason) for each in open_source(path).rows() if isinstance(each, ImportIssue)]
    assert issues == [(4, "names no image")]


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("utf-8-sig", ["café.png", "Größe.png"]),
        ("utf-16", ["café.png", "写真.png"]),
        ("utf-16-le", ["cafe.png", "große.png"]),  # without a byte order mark
        ("utf-32", ["café.png", "b.png"]),
        ("latin-1", ["café.png", "Größe.png"]),
        ("cp1252", ["niño – 1.png", "b.png"]),
        ("cp1251", ["кошка.png", "собака.png"]),
        ("cp932", ["写真1.png", "公園の虎.png"]),
        ("gb18030", ["照片1.png", "公园里的老虎.png"]),
    ],
)
def test_encodings_of_spreadsheets(tmp_path: Path, encoding: str, names: list[str]) -> None:
    text = "filename;label\n" + "".join(f"{name};x\n" for name in names)
    path = table(tmp_path, text.encode(encoding))
    assert [uri for uri, _ in pairs(path)] == names
    told = {"latin-1": "cp1252", "utf-16-le": "utf-16-le"}.get(encoding, encoding)
    assert f"encoding {told}" in open_source(path).told()[0]


def test_an_odd_letter_far_down_tells_the_encoding(tmp_path: Path) -> None:
    rows = [f"{number:07d}.png,cat" for number in range(20_000)]
    path = table(tmp_path, "\n".join(["filename,label", *rows, "é.png,dog"]).encode("cp1252"))
    assert pairs(path)[-1] == ("é.png", "dog")
    damaged = table(
        tmp_path, "\n".join(["filename,label", *rows, "é.png,dog", "ü.png,cat"]).encode() + b"\n\xff.png,cat"
    )
    found = list(open_source(damaged).rows())
    assert isinstance(found[-1], ImportIssue)
    assert (found[-1].line, found[-1].reason, len(found)) == (20_004, "is not UTF-8", 20_003)


@pytest.mark.parametrize(
    "header",
    [
        "image_id,labels",
        "Image ID,Class",
        "filepath,category",
        "file-name,target",
        "path,class_name",
        "id,breed",
        "ImagePath,y",
    ],
)
def test_headers_of_other_tools(tmp_path: Path, header: str) -> None:
    path = table(tmp_path, f"{header}\na.png,cat\nb.png,dog\n")
    assert pairs(path) == CATS
    first, second = header.split(",")
    assert f"image from '{first}', label from '{second}'" in open_source(path).told()[0]


def test_columns_are_said_where_nothing_tells_them(tmp_path: Path) -> None:
    path = table(tmp_path, "foto;art;wer\na.png;cat;ann\nb.png;dog;bob\n")
    with pytest.raises(SettingsError, match=r"--columns image=…,label=… .* 'foto', 'art', 'wer'"):
        open_source(path)
    assert pairs(path, "image=foto,label=art") == CATS
    assert [row.annotator for row in taken(path, "image=foto, label=art, annotator=wer")] == ["ann", "bob"]
    bare = table(tmp_path, "x,a.png,cat\ny,b.png,dog\n", "bare.csv")
    assert pairs(bare, "image=2,label=3") == CATS
    odd = table(tmp_path, 'uri,label,"a,b"\n1.png,x,cat\n2.png,y,dog\n', "odd.csv")
    assert pairs(odd, "image=uri,label=a,b") == [("1.png", "cat"), ("2.png", "dog")]
    hashed = table(tmp_path, "uri#label\na.png#cat\nb.png#dog\n", "hashed.csv")
    assert pairs(hashed, "separator=#") == CATS
    mac = table(tmp_path, "uri,label\né.png,cat\n".encode("mac_roman"), "mac.csv")
    assert pairs(mac, "encoding=mac_roman") == [("é.png", "cat")]
    for wrong in (
        "image=foto,label=nope",
        "picture=foto",
        "image",
        "encoding=none,image=foto,label=art",
        "separator=ab",
    ):
        with pytest.raises(SettingsError):
            open_source(path, Chosen.of(wrong))
    with pytest.raises(SettingsError, match="not a table"):
        open_source(tmp_path, Chosen.of("image=a"))


@pytest.mark.parametrize("more", ["", "score"])
@pytest.mark.parametrize("wrong", ["image=nope", "label=nope", "image=filename,label=nope", "split=nope", "score=nope"])
def test_a_column_that_is_not_there_is_refused_although_the_header_would_do(
    tmp_path: Path, wrong: str, more: str
) -> None:
    header = ",".join(filter(None, ["filename", "label", more]))
    path = table(tmp_path, f"{header}\na.png,cat{',1' * bool(more)}\nb.png,dog{',1' * bool(more)}\n")
    for chosen in (wrong, wrong + ",separator=comma"):
        with pytest.raises(SettingsError, match=r"has no column 'nope'.*The first row is 'filename', 'label'"):
            open_source(path, Chosen.of(chosen))
    assert pairs(path, "image=1") == pairs(path, "label=2") == CATS
    bare = table(tmp_path, "id,label\nx1,cat\nx2,dog\n", "ids.csv")
    with pytest.raises(SettingsError, match="has no column 'nope'"):
        open_source(bare, Chosen.of("image=id,label=label,split=nope"))


def test_a_column_given_by_its_number_is_read_beside_a_header_that_names_the_others(tmp_path: Path) -> None:
    path = table(tmp_path, "filename,label,part\na.png,cat,test\nb.png,dog,train\n")
    assert [row.split for row in taken(path, "split=3")] == ["test", "train"]


@pytest.mark.parametrize("task", ["classification", "multilabel", "detection"])
def test_a_column_that_no_line_has_is_refused(tmp_path: Path, task: str) -> None:
    held = {"detection": '"boxes": []'}.get(task, '"label": "cat"')
    path = table(tmp_path, f'{{"uri": "a.png", {held}}}\n{{"uri": "b.png", {held}, "part": "test"}}\n', "labels.jsonl")
    rows = list(open_source(path, Chosen.of("split=part"), task=task).rows())
    assert [row.split for row in rows if isinstance(row, ImportRow)] == [None, "test"]
    for wrong in ("image=nope", "score=nope"):
        with pytest.raises(SettingsError, match=r"has no column 'nope'; it has uri, .*, part"):
            next(open_source(path, Chosen.of(wrong), task=task).rows())


def test_a_column_that_a_parquet_file_of_boxes_lacks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "boxes.parquet"
    pq.write_table(pa.table({"uri": ["a.png"], "boxes": [[{"label": "cat", "x": 1, "y": 1, "w": 9, "h": 9}]]}), path)
    for wrong in ("image=nope", "score=nope"):
        with pytest.raises(SettingsError, match="has no column 'nope'; it has uri, boxes"):
            next(open_source(path, Chosen.of(wrong), task="detection").rows())


BOX = {"x": 1, "y": 2, "w": 9, "h": 8}


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"boxes": [{**BOX, "label": "old"}, BOX], "kind": ["cat", "dog"]}, ["cat", "dog"]),
        ({"boxes": [{**BOX, "label": "old"}, BOX], "kind": "cat"}, ["cat", "cat"]),
        ({"boxes": [{**BOX, "label": "own"}], "kind": None}, ["own"]),
        ({"objects": {"bbox": [[1, 2, 9, 8]] * 2, "category": ["a", "b"]}, "kind": ["cat", "dog"]}, ["cat", "dog"]),
        ({"objects": [{"bbox": [1, 2, 9, 8], "category": "a"}], "kind": "cat"}, ["cat"]),
        ({"boxes": [BOX, BOX], "kind": ["cat"]}, "has 2 boxes, but 1 classes of boxes"),
    ],
)
def test_the_classes_of_boxes_are_in_the_column_that_is_named(
    tmp_path: Path, columns: dict[str, Any], found: list[str] | str
) -> None:
    record = {"uri": "a.png", **columns}
    lines = table(tmp_path, json.dumps(record), "boxes.jsonl")
    pq.write_table(pa.Table.from_pylist([record]), tmp_path / "boxes.parquet")
    frame = boxes_of_table(pd.DataFrame([record]), Chosen.of("label=kind"), LeftOut())
    for rows in (
        *(
            open_source(each, Chosen.of("label=kind"), task="detection").rows()
            for each in (lines, lines.with_suffix(".parquet"))
        ),
        frame,
    ):
        (read,) = rows
        if isinstance(found, str):
            assert isinstance(read, ImportIssue)
            assert read.reason == found
        else:
            assert isinstance(read, ImportRow)
            assert isinstance(read.answer, NamedBoxes)
            assert [box.label for box in read.answer.boxes] == found


def test_classes_by_number_beside_the_boxes_have_the_names_in_the_schema(tmp_path: Path) -> None:
    features = {"kind": {"feature": {"names": ["cat", "dog"], "_type": "ClassLabel"}, "_type": "Sequence"}}
    rows = pa.table({"uri": ["a.png"], "boxes": [[BOX, BOX]], "kind": [[1, 0]]})
    told = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    pq.write_table(rows.replace_schema_metadata(told), tmp_path / "boxes.parquet")
    (read,) = open_source(tmp_path / "boxes.parquet", Chosen.of("label=kind"), task="detection").rows()
    assert isinstance(read, ImportRow)
    assert isinstance(read.answer, NamedBoxes)
    assert [box.label for box in read.answer.boxes] == ["dog", "cat"]


def test_a_column_for_a_part_of_a_box_is_refused_where_all_boxes_are_in_one_column(tmp_path: Path) -> None:
    record = {"uri": "a.png", "boxes": [{**BOX, "label": "cat"}], "left": 3}
    lines = table(tmp_path, json.dumps(record), "boxes.jsonl")
    pq.write_table(pa.Table.from_pylist([record]), tmp_path / "boxes.parquet")
    for path in (lines, lines.with_suffix(".parquet")):
        with pytest.raises(SettingsError, match="in one column, boxes or objects: leave out x= of the columns"):
            next(open_source(path, Chosen.of("x=left"), task="detection").rows())


def test_a_column_that_a_data_frame_lacks_is_refused() -> None:
    frame = pd.DataFrame({"uri": ["a.png"], "label": ["cat"], "boxes": [[]]})
    with pytest.raises(FlywheelError, match="has no column 'nope'; it has uri, label, boxes"):
        next(rows_of_table(frame, Chosen.of("score=nope")))
    with pytest.raises(FlywheelError, match="has no column 'nope'"):
        next(boxes_of_table(frame, Chosen.of("image=nope"), LeftOut()))


def test_a_column_that_a_parquet_file_lacks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    pq.write_table(pa.table({"uri": ["a.png", "b.png"], "label": ["cat", "dog"]}), path)
    assert pairs(path, "image=uri") == CATS
    with pytest.raises(SettingsError, match="has no column 'nope'; it has uri, label"):
        pairs(path, "image=uri,label=label,split=nope")


def test_columns_are_said_of_json_lines_and_parquet_too(tmp_path: Path) -> None:
    lines = table(tmp_path, '{"foto": "a.png", "art": "cat"}\n{"foto": "b.png", "art": "dog"}\n', "labels.jsonl")
    assert pairs(lines, "image=foto,label=art") == CATS
    pq.write_table(pa.table({"foto": ["a.png", "b.png"], "art": ["cat", "dog"]}), tmp_path / "labels.parquet")
    assert pairs(tmp_path / "labels.parquet", "image=foto,label=art") == CATS


def test_scores_as_they_are_written(tmp_path: Path) -> None:
    comma = table(tmp_path, "filename;label;score\na.png;cat;0,9\nb.png;dog;1\n")
    assert [row.confidence for row in taken(comma)] == [0.9, 1.0]
    percent = table(tmp_path, "filename,label,score\na.png,cat,90\nb.png,dog,1\nc.png,dog,12.5 %\n", "percent.csv")
    assert [row.confidence for row in taken(percent)] == [0.9, 0.01, 0.125]
    assert "scores in percent" in open_source(percent).told()[0]
    shares = table(
        tmp_path, "filename,label,score\na.png,cat,0.9\nb.png,dog,90\nc.png,dog,high\nd.png,cat,0.1\n", "s.csv"
    )
    assert [row.confidence for row in taken(shares)] == [0.9, None, None, 0.1]
    assert [line for line, _ in lost(shares)] == [3, 4]


def test_times_of_spreadsheets(tmp_path: Path) -> None:
    head = "filename;label;labeled_at\n"
    noon = datetime(2024, 1, 1, 12, tzinfo=UTC)
    days = table(tmp_path, head + "a.png;cat;45292,5\nb.png;cat;45292.5\nc.png;cat;01.01.2024 12:00\n")
    assert [row.labeled_at for row in taken(days)] == [noon] * 3
    british = table(tmp_path, head + "a.png;cat;31/01/2024\nb.png;cat;01/02/2024 12:00:30\n", "british.csv")
    assert [row.labeled_at for row in taken(british)][1] == datetime(2024, 2, 1, 12, 0, 30, tzinfo=UTC)
    american = table(tmp_path, head + "a.png;cat;1/31/2024 1:05 PM\nb.png;cat;01/02/2024\n", "american.csv")
    assert [row.labeled_at for row in taken(american)] == [
        datetime(2024, 1, 31, 13, 5, tzinfo=UTC),
        datetime(2024, 1, 2, tzinfo=UTC),
    ]
    either = table(tmp_path, head + "a.png;cat;01/02/2024\nb.png;cat;30.02.2024\n", "either.csv")
    assert [row.labeled_at for row in taken(table(tmp_path, head + "a.png;cat;01/02/2024\n", "one.csv"))] == [None]
    assert [line for line, _ in lost(either)] == [3]  # the point tells that the day is first; there is no 30 February


def test_a_cell_that_is_optional_costs_no_row(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "filename,label,split,annotator,score,labeled_at\n"
        f"a.png,cat,0,{'x' * 3_000},nan,soon\n"
        "b.png,dog,unknown,ann,0.5,2024-01-01\n",
    )
    assert pairs(path) == CATS
    assert [(row.split, row.annotator, row.confidence) for row in taken(path)] == [
        (None, None, None),
        (None, "ann", 0.5),
    ]
    assert [line for line, _ in lost(path)] == [2, 2, 2, 2, 3]
    assert "the split '0', which is not train, validation or test: the row is imported without it" in lost(path)[0][1]


def test_rows_without_a_label_are_counted_and_rows_without_an_image_rejected(tmp_path: Path) -> None:
    path = table(tmp_path, "filename,label\na.png,cat\nc.png,\n,dog\nd.png, \nb.png,dog\n")
    source = open_source(path)
    rows = source.rows()
    assert len(list(source.rows())) == 3  # as for the vocabulary of an import
    found = list(rows)
    assert [(each.uri, each.label) for each in found if isinstance(each, ImportRow)] == CATS
    assert [(each.line, each.reason) for each in found if isinstance(each, ImportIssue)] == [(4, "names no image")]
    assert source.told()[1] == "skipped: 2 rows without a label, first line 3"
    ours = Table(table(tmp_path, "uri,label,status\na.png,,unlabeled\n", "ours.csv"))
    assert (list(ours.rows()), len(ours.told())) == ([], 1)  # it says so itself
