"""Values and results of other tools: one class is taken, several are refused, and the rest is counted and named."""

import json
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from commands.given_labels import rows_of_table
from labeler.transfer.rows.texts import class_name
from labeler.transfer.sources import open_source
from shared.settings.services import SettingsError
from shared.wire.imports import ImportIssue, ImportRow
from tests.labeler.projects import photo
from tests.labeler.transfer.test_sources import issues, rows, written

SEVERAL = "has several labels ('cat', 'dog'), and an image has one class here: keep one"


def told(path: Path) -> list[str]:
    source = open_source(path)
    assert not [row for row in source.rows() if isinstance(row, ImportIssue)]
    return source.told()


def task(*results: dict[str, Any], image: str = "a.png", **more: Any) -> dict[str, Any]:
    return {"data": {"image": image}, "annotations": [{"result": list(results)}], **more}


def result(kind: str, inner: Any, name: str = "choice", **value: Any) -> dict[str, Any]:
    return {"type": kind, "from_name": name, "to_name": "image", "value": {kind: inner, **value}}


# ---------------------------------------------------------------- several labels

TWO: dict[str, Any] = {
    "min.json": [{"image": "a.png", "choice": {"choices": ["cat", "dog"]}}],
    "tasks.json": [task(result("choices", ["cat", "dog"]))],
    "taxonomy.json": [task(result("taxonomy", [["cat"], ["dog"]]))],
    "coco.json": {
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [{"image_id": 1, "category_id": 1}, {"image_id": 1, "category_id": 2}],
    },
    "list.jsonl": {"image": "a.png", "label": ["cat", "dog"]},
    "text.jsonl": {"image": "a.png", "label": '["cat", "dog"]'},
    "object.jsonl": {"image": "a.png", "label": {"choices": ["cat", "dog"]}},
    "list.csv": "image,label\na.png,\"['cat', 'dog']\"\n",
    "object.csv": 'image,label\na.png,"{""choices"": [""cat"", ""dog""]}"\n',
    "tags.xml": '<annotations><image name="a.png"><tag label="cat"/><tag label="dog"/></image></annotations>',
}


@pytest.mark.parametrize("name", TWO)
def test_a_row_with_two_labels_is_refused_with_its_line(tmp_path: Path, name: str) -> None:
    content = TWO[name] if isinstance(TWO[name], str) else json.dumps(TWO[name])
    path = written(tmp_path, name, content)
    assert rows(path) == []
    assert issues(path) == [(2 if name.endswith("csv") else 1, SEVERAL)]


@pytest.mark.parametrize("name", TWO)
def test_the_same_label_twice_is_one(tmp_path: Path, name: str) -> None:
    content = TWO[name] if isinstance(TWO[name], str) else json.dumps(TWO[name])
    assert rows(written(tmp_path, name, content.replace("dog", "cat"))) == [("a.png", "cat")]


def test_lists_in_parquet_and_in_a_data_frame(tmp_path: Path) -> None:
    given = [["cat", "dog"], ["cat"], [], None, ["dog", "dog"]]
    table = pa.table({"image": [f"{n}.png" for n in range(5)], "label": given})
    pq.write_table(table, tmp_path / "labels.parquet")
    assert rows(tmp_path / "labels.parquet") == [("1.png", "cat"), ("4.png", "dog")]
    assert issues(tmp_path / "labels.parquet") == [(1, SEVERAL)]
    frame = [(type(row), row.line) for row in rows_of_table(table.to_pandas())]
    assert frame == [(ImportIssue, 1), (ImportRow, 2), (ImportRow, 5)]


def test_an_object_without_the_name_of_a_class_is_refused_without_its_text(tmp_path: Path) -> None:
    path = written(tmp_path, "labels.jsonl", '{"image": "a.png", "label": {"x": 1, "secret": "text"}}\n')
    assert issues(path) == [(1, "has a label that is an object with 'x', 'secret': the name of a class is needed")]


# ---------------------------------------------------------------- types


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (1.0, "1"),
        (0.5, "0.5"),
        (np.float32(2.0), "2"),
        (np.int64(7), "7"),
        (np.str_("cat"), "cat"),
        (Decimal("3.00"), "3"),
        (True, "true"),
        (np.bool_(False), "false"),
        (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2), "2026-01-02"),
        (pd.Timestamp("2026-01-02"), "2026-01-02"),
        (np.datetime64("2026-01-02", "ns"), "2026-01-02"),
        (b"cat", "cat"),
        (float("nan"), ""),
        (pd.NA, ""),
        (pd.NaT, ""),
        (None, ""),
        (["cat"], "cat"),
        (np.array(["cat"]), "cat"),
        (("cat",), "cat"),
        ("[cat]", "[cat]"),
        ({"label": "cat", "confidence": 0.9}, "cat"),
    ],
)
def test_no_type_leaks_into_the_name_of_a_class(value: Any, name: str) -> None:
    assert class_name(value) == name


@pytest.mark.parametrize("value", [b"\xff\xd8\xff\xe0", float("inf"), {"bytes": b"\x89PNG"}, {}, [[1], [2]]])
def test_a_value_that_is_no_name_is_refused_and_not_printed(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^has ") as refused:
        class_name(value)
    assert "\\x" not in str(refused.value)


def test_integers_with_a_gap_in_parquet_csv_of_pandas_and_json(tmp_path: Path) -> None:
    frame = pd.DataFrame({"image": ["a.png", "b.png", "c.png"], "label": [0, None, 1]})
    frame.to_parquet(tmp_path / "gap.parquet")
    frame.to_json(tmp_path / "gap.jsonl", orient="records", lines=True)
    frame.to_csv(tmp_path / "gap.csv", index=False)
    wanted = [("a.png", "0"), ("c.png", "1")]
    assert rows(tmp_path / "gap.parquet") == rows(tmp_path / "gap.jsonl") == rows(tmp_path / "gap.csv") == wanted
    assert told(tmp_path / "gap.csv")[0].endswith("classes 1.0 as 1, since their column has gaps")
    versions = written(tmp_path, "versions.csv", "image,label\na.png,1.0\nb.png,2.0\n")
    assert rows(versions) == [("a.png", "1.0"), ("b.png", "2.0")]
    assert [(row.uri, row.label) for row in rows_of_table(frame) if isinstance(row, ImportRow)] == wanted
    mixed = [{"image": "a.png", "label": True}, {"image": "b.png", "label": None}, {"image": "c.png", "label": 2.0}]
    path = written(tmp_path, "json.jsonl", "\n".join(map(json.dumps, mixed)))
    assert rows(path) == [("a.png", "true"), ("c.png", "2")]
    assert told(path) == ["skipped: 1 row without a label, first line 2"]


def test_columns_of_bytes_and_of_categories(tmp_path: Path) -> None:
    table = pa.table({"image": pa.array([b"a.png", b"b.png"]), "label": pa.array(["cat", "dog"]).dictionary_encode()})
    pq.write_table(table, tmp_path / "labels.parquet")
    assert rows(tmp_path / "labels.parquet") == [("a.png", "cat"), ("b.png", "dog")]


# ---------------------------------------------------------------- what Label Studio, COCO and CVAT say beside classes


def test_choices_and_taxonomies_of_any_control_are_classes_and_reported(tmp_path: Path) -> None:
    tasks = [
        task(result("choices", ["cat"], "animal"), image="a.png"),
        task(result("taxonomy", [["Animal", "Cat"]], "kind"), image="b.png"),
        task(result("taxonomy", [["Animal"], ["Animal", "Dog"]], "kind"), image="c.png"),
        task(result("choices", ["dog"], "animal"), image="d.png"),
    ]
    path = written(tmp_path, "tasks.json", json.dumps(tasks))
    assert rows(path) == [("a.png", "cat"), ("b.png", "Animal/Cat"), ("c.png", "Animal/Dog"), ("d.png", "dog")]
    assert told(path) == [
        "read: 2 labels of the control animal, first line 1",
        "read: 2 labels of the control kind, a path of a taxonomy with / between its parts, first line 2",
    ]
    done = {"annotator": 1, "annotation_id": 2}
    small = [
        {"image": "a.png", "animal": "cat", **done},
        {"image": "b.png", "animal": {"choices": ["dog"]}, "title": "a caption", **done},
        {"image": "c.png", "kind": [["Animal", "Cat"]], **done},
        {"image": "d.png", "animal": "cat", "title": "a caption", **done},
    ]
    path = written(tmp_path, "min.json", json.dumps(small))
    assert rows(path) == [("a.png", "cat"), ("b.png", "dog"), ("c.png", "Animal/Cat")]
    assert issues(path) == [(4, "has several fields that may be its class (animal, title): export JSON, not JSON-MIN")]


def test_annotations_without_a_class_of_the_image_are_counted_by_kind(tmp_path: Path) -> None:
    box = result("rectanglelabels", ["Car"], "box", x=1, y=2, width=3, height=4)
    region = result("choices", ["red"], "colour", x=1, y=2, width=3, height=4)
    tasks = [
        task(box, box, result("textarea", ["words"], "note")),
        task(region, result("choices", ["cat"]), image="b.png", predictions=[{"result": []}, {"result": []}]),
        {"data": {"image": "c.png"}, "annotations": []},
        task(image="d.png"),
        {"data": {"image": "e.png"}, "annotations": [{"result": [], "was_cancelled": True}], "drafts": [{}]},
    ]
    path = written(tmp_path, "tasks.json", json.dumps(tasks))
    assert rows(path) == [("b.png", "cat"), ("e.png", None)]
    assert told(path) == [
        "skipped: 2 results of the kind rectanglelabels, which gives the image no class, first line 1",
        "skipped: 1 result of the kind textarea, which gives the image no class, first line 1",
        "skipped: 2 predictions, first line 2",
        "skipped: 1 result of the kind choices for a region of the image, first line 2",
        "skipped: 1 task without an annotation, first line 3",
        "skipped: 1 annotation without a result, first line 4",
        "skipped: 1 draft, first line 5",
        "taken as skipped here: 1 annotation that was skipped or cancelled there, first line 5",
    ]
    two = task(result("choices", ["cat"], "animal"), result("choices", ["good"], "quality"))
    path = written(tmp_path, "two.json", json.dumps([two, {"data": {"image": "b.png"}, "annotations": [3]}]))
    assert issues(path) == [
        (1, "has a class in several controls (animal, quality), and an image has one: keep one"),
        (2, "has an annotation that is not an object"),
    ]
    boxes = [{"image": "a.png", "annotation_id": 1, "box": [{"x": 1, "rectanglelabels": ["Car"]}]}]
    assert told(written(tmp_path, "boxes.json", json.dumps(boxes))) == [
        "skipped: 1 region of the control box, which gives the image no class, first line 1",
        "skipped: 1 task without a class, first line 1",
    ]


def test_boxes_and_shapes_of_coco_and_cvat(tmp_path: Path) -> None:
    content = {
        "images": [{"id": n, "file_name": f"{n}.png"} for n in (1, 2, 3)],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]},
            {"image_id": 9, "category_id": 1},
            {"image_id": 3, "category_id": 5},
        ],
    }
    path = written(tmp_path, "coco.json", json.dumps(content))
    assert rows(path) == [("1.png", "cat")]
    assert issues(path) == [(3, "has a category 5, which the file does not list")]
    source = open_source(path)
    list(source.rows())
    assert source.told() == [
        "read: 1 region of an image, of which the category alone is read, first line 1",
        "skipped: 1 annotation of an image that the file does not list, first line 0",
        "skipped: 1 image without an annotation, first line 2",
    ]
    text = '<annotations><image name="a.png"><box label="cat"/></image><image name="b.png"/></annotations>'
    assert told(written(tmp_path, "shapes.xml", text)) == [
        "skipped: 1 shape of the kind box, which gives the image no class, first line 1",
        "skipped: 2 images without a tag, first line 1",
    ]


def test_folders_of_fiftyone(tmp_path: Path) -> None:
    def said(kind: str, **values: Any) -> dict[str, Any]:
        return {"_cls": kind, **values}

    photo(tmp_path / "plain" / "data" / "sub" / "a.jpeg", 1)
    content = {"classes": ["cat", "dog"], "labels": {"sub/a": 1, "gone": 0, "c": None, "d": 9, "e": [0, 1]}}
    written(tmp_path / "plain", "labels.json", json.dumps(content))
    assert rows(tmp_path / "plain") == [("data/sub/a.jpeg", "dog"), ("data/gone", "cat")]
    assert issues(tmp_path / "plain") == [
        (4, "has a label that is not among the classes of the file"),
        (5, SEVERAL),
    ]
    samples = [
        {"filepath": "data/a.png", "tags": ["x", "Test"], "ground_truth": said("Classification", label="cat")},
        {
            "filepath": "data/b.png",
            "ground_truth": said("Classification", label="dog"),
            "model": said("Classification", label="cat", confidence=0.9),
            "boxes": said("Detections", detections=[]),
        },
        {"filepath": "data/c.png", "many": said("Classifications", classifications=[{"label": "cat"}])},
        {"filepath": "data/d.png", "ground_truth": None},
        {"filepath": "data/e.png", "one": said("Classification"), "two": said("Classification")},
    ]
    (tmp_path / "full" / "data").mkdir(parents=True)
    written(tmp_path / "full", "samples.json", json.dumps({"samples": samples}))
    source = open_source(tmp_path / "full")
    found = [(row.uri, row.label, row.split) for row in source.rows() if isinstance(row, ImportRow)]
    assert found == [("data/a.png", "cat", "test"), ("data/b.png", "dog", None), ("data/c.png", "cat", None)]
    assert source.told() == [
        "skipped: 1 classification of the field model beside ground_truth, first line 2",
        "skipped: 1 field boxes of the kind Detections, which gives the image no class, first line 2",
        "skipped: 1 sample without a classification, first line 4",
    ]
    assert issues(tmp_path / "full") == [
        (5, "has a class in several fields (one, two), and an image has one: keep one")
    ]


@pytest.mark.parametrize("cell", ["[" * 50_000 + "]" * 50_000, '{"a":' * 50_000 + "1" + "}" * 50_000])
def test_brackets_beyond_any_depth_are_the_text_that_they_are(cell):
    assert class_name(cell) == cell


DEEP = "[" * 50_000 + "]" * 50_000


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", f'{{"uri": "a.png", "label": {DEEP}}}\n'),
        ("a.csv", f"uri,label,history\na.png,cat,{DEEP}\n"),
        ("coco.json", f'{{"images": {DEEP}, "annotations": [], "categories": []}}'),
        ("tasks.json", f'[{{"data": {{"image": "a.png"}}, "annotations": {DEEP}}}]'),
        ("samples.json", f'{{"samples": {DEEP}}}'),
    ],
)
def test_brackets_beyond_any_depth_in_a_file_are_a_sentence(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    rows = open_source(tmp_path / name).rows
    if name in ("coco.json", "samples.json"):
        with pytest.raises(SettingsError, match=name):
            list(rows())
    else:
        (said,) = rows()
        assert isinstance(said, ImportRow if name == "a.csv" else ImportIssue)


@pytest.mark.parametrize("task", ["classification", "multilabel", "detection"])
def test_a_class_name_that_is_too_long_is_refused_in_words(tmp_path: Path, task: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"image,label,xmin,ymin,xmax,ymax\na.png,{101 * 'x'},1,1,2,2\nb.png,cat,1,1,2,2\n")
    bad, good = open_source(path, task=task).rows()
    assert isinstance(bad, ImportIssue)
    assert isinstance(good, ImportRow)
    assert bad.reason.endswith(": a class name has at most 100 characters, and this one has 101")
    assert bad.reason.count("has an invalid") == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (r'{"image": "\ud800.png", "label": "cat"}', "has an invalid uri: Input should be a valid string"),
        (r'{"image": "a.png", "label": "\udfff"}', "has an invalid label: Input should be a valid string"),
        (r'{"image": "a.png", "label": "c\u0000"}', "holds the character NUL"),
        (r'{"image": "a.png", "label": "cat", "annotator": "a\u0000"}', "holds the character NUL"),
    ],
)
def test_text_that_nothing_can_store_is_a_fault_of_its_row(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text(line + '\n{"image": "b.png", "label": "cat"}\n')
    bad, good = open_source(path).rows()
    assert isinstance(bad, ImportIssue)
    assert isinstance(good, ImportRow)
    assert bad.reason.startswith(reason)
    assert str(bad).encode().startswith(b"line 1: ")  # so that it can be printed, and sent


@pytest.mark.parametrize(
    "wrong", [{"counts": True, "annotator": "ann"}, {"counts": True, "annotator": "ann", "action": 1}]
)
@pytest.mark.parametrize("project", ["classification", "multilabel", "detection"])
def test_a_history_of_another_tool_leaves_the_label(tmp_path: Path, project: str, wrong: dict[str, Any]) -> None:
    label: dict[str, Any] = {"label": ["cat"]} if project != "detection" else {"boxes": []}
    path = written(tmp_path, "labels.jsonl", json.dumps({"image": "a.png", **label, "history": [wrong]}))
    (row,) = open_source(path, task=project).rows()
    assert isinstance(row, ImportRow)
    assert (row.action, row.answers) == ("label", [])


@pytest.mark.parametrize("project", ["classification", "detection"])
def test_an_image_of_coco_with_a_list_for_an_id_is_a_sentence(tmp_path: Path, project: str) -> None:
    content = {"images": [{"id": [1], "file_name": "a.png"}], "annotations": [], "categories": []}
    path = written(tmp_path, "coco.json", json.dumps(content))
    with pytest.raises(SettingsError, match=r"coco\.json is not COCO's JSON: TypeError"):
        list(open_source(path, task=project).rows())


@pytest.mark.parametrize(("annotators", "name"), [(["ann", "bob"], "ann"), ("ann", "ann"), (7, "7"), ([], None)])
def test_the_annotators_of_an_image_of_coco_need_no_list(tmp_path: Path, annotators: Any, name: str | None) -> None:
    content = {
        "images": [{"id": 1, "file_name": "a.png", "annotators": annotators}],
        "annotations": [{"image_id": 1, "category_id": 1}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (row,) = open_source(written(tmp_path, "coco.json", json.dumps(content))).rows()
    assert isinstance(row, ImportRow)
    assert row.annotator == name


def test_a_choice_that_is_an_object_is_a_fault_of_its_row(tmp_path: Path) -> None:
    path = written(tmp_path, "tasks.json", json.dumps([task(result("choices", [{"a": 1}]))]))
    assert issues(path) == [(1, "has a label that is an object with 'a': the name of a class is needed")]


@pytest.mark.parametrize("encoding", ["gbk", "utf-99"])
@pytest.mark.parametrize("project", ["classification", "detection"])
def test_xml_in_an_encoding_that_the_parser_lacks_is_a_sentence(tmp_path: Path, project: str, encoding: str) -> None:
    path = written(tmp_path, "tags.xml", f'<?xml version="1.0" encoding="{encoding}"?><annotations></annotations>')
    with pytest.raises(SettingsError, match=r"tags\.xml cannot be decoded .*: save it as UTF-8\."):
        list(open_source(path, task=project).rows())
