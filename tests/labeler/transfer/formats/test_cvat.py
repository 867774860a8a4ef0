"""CVAT's XML as its documentation has it, and back again with every name that a class or a file may have."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labeler.transfer.files.xml_names import meant, written
from labeler.transfer.formats import cvat
from labeler.transfer.rows.exported import ExportRow
from labeler.transfer.sources import open_source
from shared.wire.fields import Split
from shared.wire.imports import ImportRow
from tests.labeler.projects import answer, labeler, photo

ODD = [
    "<a & 'b' \"c\">",
    "ctrl\x07",
    "ctrl%07",
    "ctrl%2507",
    "two\nlines\tand\rmore",
    "50%20",
    "100%Baumwolle",
    "猫",
    "\ufffe",
]


def row(number: int, uri: str, split: Split = "train", label: str | None = None) -> ExportRow:
    return ExportRow(number, uri, "", split, label, "labeled" if label else "unlabeled", 30, 20)


def export(rows: Iterator[ExportRow] | list[ExportRow], path: Path) -> Path:
    with path.open("wb") as stream:
        stream.writelines(cvat.write(iter(rows), frozenset()))
    return path


def test_an_export_has_what_the_documentation_of_cvat_asks_for(tmp_path: Path) -> None:
    rows = [row(3, "a.png", "test", "cat"), row(5, "sub/b.png", "validation", "dog"), row(6, "c.png", "train", "cat")]
    root = ET.parse(export([*rows, row(9, "d.png")], tmp_path / "labels.xml")).getroot()
    assert [each.tag for each in root] == ["version", "meta", *["image"] * 4]
    assert root.findtext("version") == "1.1"
    task = root.find("meta/task")
    assert task is not None
    assert [each.tag for each in task] == ["name", "size", "mode", "labels"]
    assert (task.findtext("size"), task.findtext("mode")) == ("4", "annotation")
    assert [[(each.tag, each.text) for each in label] for label in task.iterfind("labels/label")] == [
        [("name", name), ("type", "tag"), ("attributes", None)] for name in ("cat", "dog")
    ]
    subsets = root.findall("meta/project/subsets/subset")  # without them, Datumaro reads no image
    assert [each.text for each in subsets] == ["Test", "Validation", "Train"]
    assert [image.attrib for image in root.iterfind("image")] == [
        {"id": str(at), "name": name, "subset": subset, "width": "30", "height": "20"}
        for at, (name, subset) in enumerate(
            [("a.png", "Test"), ("sub/b.png", "Validation"), ("c.png", "Train"), ("d.png", "Train")]
        )
    ]
    assert [[(tag.tag, tag.attrib) for tag in image] for image in root.iterfind("image")] == [
        *([("tag", {"label": name, "source": "manual"})] for name in ("cat", "dog", "cat")),
        [],
    ]


def test_classes_and_splits_of_a_project_come_back(tmp_path: Path) -> None:
    names = ["=1+1.png", "a b.png", "sub/ü%20.png", "c&d.png", "e.png"]
    for shade, name in enumerate(names):
        photo(tmp_path / "photos" / name, shade)
    classes = ["<&>\"'", "dog, big", "50%20"]
    with labeler(tmp_path, classes=classes) as service:
        service.catalog.move([2], "test")
        service.catalog.move([3], "validation")
        service.annotate([answer(1, classes[0]), answer(2, classes[1]), answer(3, classes[2])])
        service.annotate([answer(4, None, action="skip"), answer(5, None, action="flag")])
        said = {entry.uri: entry.split for entry in service.catalog.entries(0, 10) if entry.id < 4}
        labels = dict(zip([entry.uri for entry in service.catalog.entries(0, 10)], classes, strict=False))
        (tmp_path / "labels.xml").write_bytes(b"".join(service.exports.begin("cvat")[0]))
    source = open_source(tmp_path / "labels.xml")
    rows = [each for each in source.rows() if isinstance(each, ImportRow)]
    assert {each.uri: each.split for each in rows} == said
    assert {each.uri: each.label for each in rows} == labels
    assert source.told() == ["skipped: 2 images without a tag, first line 4"]


def test_names_that_xml_cannot_hold_come_back(tmp_path: Path) -> None:
    path = export([row(at, f"{name}.png", label=name) for at, name in enumerate(ODD)], tmp_path / "labels.xml")
    found = [(each.uri, each.label) for each in open_source(path).rows() if isinstance(each, ImportRow)]
    assert [uri for uri, _ in found] == [f"{name}.png" for name in ODD]
    tags = [tag.get("label") for tag in ET.parse(path).iter("tag")]
    assert tags[5:8] == ["50%20", "100%Baumwolle", "猫"]  # as they are, where XML can hold them


@given(st.text(st.one_of(st.characters(codec=None), st.sampled_from("%07fF\x07\ud800")), max_size=12))
@example("%ED%A0%80")
@example("%2507")
def test_any_name_comes_back(name: str) -> None:
    text = written(name)
    parsed = ET.fromstring(b"".join(cvat.write(iter([row(1, name)]), frozenset()))).find("image")
    assert parsed is not None
    assert parsed.get("name") == text
    assert meant(text) == name


def test_a_large_file_neither_waits_nor_lies_in_memory(tmp_path: Path) -> None:
    def rows(count: int) -> Iterator[ExportRow]:
        yield from (row(at, f"{at:06}.png", label=f"class {at % 7}") for at in range(count))

    pieces = cvat.write(rows(3_000), frozenset())
    assert next(pieces).startswith(b"<?xml")
    assert [next(pieces) for _ in range(4)][1:] == [b"\n"] * 3  # while it is read
    pieces.close()  # type: ignore[attr-defined]
    for at, _ in enumerate(cvat.read(export(rows(5_000), tmp_path / "labels.xml")), start=1):
        if at == 5_000:
            assert sum(type(each) is ET.Element for each in gc.get_objects()) < 3_000


@pytest.mark.parametrize("end", ["", "<annotations><image name='a.png'>"])
def test_a_truncated_file_is_reported(tmp_path: Path, end: str) -> None:
    (tmp_path / "labels.xml").write_text(end)
    (issue,) = cvat.read(tmp_path / "labels.xml")
    assert "is not XML to its end" in getattr(issue, "reason", "")
