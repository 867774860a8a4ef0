"""Boxes as other tools write them, and our exports as other tools' readers read them."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from pycocotools.coco import COCO

from labeler.transfer.boxes.opening import FORMATS
from labeler.transfer.rows.imported import Chosen
from labeler.transfer.sources import open_source
from shared.settings.services import SettingsError
from shared.wire.imports import ImportIssue, ImportRow, NamedBoxes
from shared.wire.project import ClassPatch
from tests.labeler.projects import boxes, photo
from tests.labeler.transfer.test_boxes import brought, project, told, written

Read = tuple[str, str | None, list[tuple[Any, ...]]]


def rows(path: Path, columns: str = "") -> list[Read | str]:
    """Name, split and boxes of each row, or why it is rejected."""
    source = open_source(path, Chosen.of(columns) if columns else None, task="detection")
    found: list[Read | str] = []
    for row in source.rows():
        if isinstance(row, ImportIssue):
            found.append(f"{row.uri} {row.reason}")
        elif isinstance(row, ImportRow) and isinstance(row.answer, NamedBoxes):
            found.append((row.uri, row.split, [(b.label, b.x, b.y, b.w, b.h) for b in row.answer.boxes]))
        else:
            found.append(f"{row.uri} {row.action}")
    return found


def said(path: Path) -> list[str]:
    source = open_source(path, task="detection")
    [*source.rows()]
    return source.told()


# ---------------------------------------------------------------- YOLO


@pytest.mark.parametrize("layout", ["images/train", "train/images"])
def test_yolo_reads_both_layouts_empty_files_and_names_of_either_form(tmp_path: Path, layout: str) -> None:
    labels = tmp_path / layout.replace("images", "labels")
    labels.mkdir(parents=True)
    for number in range(4):
        photo(tmp_path / layout / f"{number}.jpg", number, (64, 48))
    (labels / "0.txt").write_text("1 0.5 0.5 0.25 0.5\n0 0.1 0.1 0.2 0.2 0.93\n")
    (labels / "1.txt").write_text("")
    (labels / "2.txt").write_text("7 0.5 0.5 0.1 0.1\n")
    (tmp_path / "data.yaml").write_text(yaml.safe_dump({"train": f"../{layout}", "val": "x", "names": ["cat", "dog"]}))
    expected = [
        (f"{layout}/0.jpg", "train", [("dog", 0.375, 0.25, 0.25, 0.5), ("cat", 0, 0, 0.2, 0.2)]),
        (f"{layout}/1.jpg", "train", []),
        f"{layout}/2.jpg has a box that cannot be read: box 1 has the class 7, which has no name in the dataset",
    ]
    assert rows(tmp_path) == rows(tmp_path / "data.yaml") == expected
    (tmp_path / "data.yaml").write_text(yaml.safe_dump({"names": {0: "cat", 1: "dog"}}))
    assert rows(tmp_path, "empty=nothing") == [*expected, (f"{layout}/3.jpg", "train", [])]
    assert said(tmp_path) == [
        "skipped: 1 image without a text file, which may be unlabeled (empty=nothing: nothing is in it), first line 0"
    ]
    (tmp_path / "data.yaml").unlink()
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert rows(tmp_path)[:2] == expected[:2]
    (tmp_path / "classes.txt").write_text("cat\n\ndog\n")  # a number without a name is a number all the same
    assert "which has no name" in str(rows(tmp_path)[0])


def test_yolo_outlines_are_read_as_the_box_around_them(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg", 1)
    (tmp_path / "a.txt").write_text("0 0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6\n")
    (tmp_path / "obj.names").write_text("cat\n")
    assert rows(tmp_path) == [("a.jpg", None, [("cat", 0.1, 0.2, 0.4, 0.4)])]
    assert said(tmp_path) == ["read: 1 outline as the box around it, first line 1"]


def unpacked(name: str, content: bytes) -> bytes:
    """What a download says, where it is compressed."""
    if name == "parquet":
        return json.dumps(pq.read_table(BytesIO(content)).to_pylist(), default=str).encode()
    if zipfile.is_zipfile(BytesIO(content)):
        with zipfile.ZipFile(BytesIO(content)) as archive:
            return b"".join(map(archive.read, archive.namelist()))
    return content


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_class_that_is_renamed_during_a_download_does_not_break_it(tmp_path: Path, name: str) -> None:
    with project(tmp_path, "cat", "dog") as service:
        service.annotate([boxes(1, ("dog", 16, 12, 32, 24))])
        pieces, _ = service.exports.begin(name)
        dog = next(each.id for each in service.classes.entries() if each.name == "dog")
        service.classes.change(dog, ClassPatch(name="wolf"))
        content = b"".join(pieces)
    assert b"wolf" in unpacked(name, content)


def test_a_folder_that_stands_for_two_splits_is_the_one_that_it_is_called(tmp_path: Path) -> None:
    with project(tmp_path, "cat") as service:
        service.catalog.move([2], "test")
        service.annotate([boxes(1, ("cat", 16, 12, 32, 24)), boxes(2)])
        folder = written(service, "yolo", tmp_path)
    about = yaml.safe_load((folder / "data.yaml").read_text())
    assert about["val"] == about["test"] == "images/test"  # YOLO needs images to validate on
    assert [each[1] for each in rows(folder)] == ["test", "train"]


def test_our_yolo_export_is_what_ultralytics_asks_for(tmp_path: Path) -> None:
    with project(tmp_path, "cat", "dog") as service:
        service.catalog.move([2], "validation")
        service.annotate([boxes(1, ("dog", 16, 12, 32, 24)), boxes(2)])
        folder = written(service, "yolo", tmp_path)
    about = yaml.safe_load((folder / "data.yaml").read_text())
    assert about == {"train": "images/train", "val": "images/val", "nc": 2, "names": {0: "cat", 1: "dog"}}
    [image] = (folder / "images" / "train").iterdir()
    assert (folder / "labels" / "train" / f"{image.stem}.txt").read_text() == (
        "1 0.50000000 0.50000000 0.50000000 0.50000000\n"
    )
    [empty] = (folder / "labels" / "val").iterdir()
    assert empty.read_text() == ""


@pytest.mark.parametrize(
    ("content", "problem"),
    [("names: [", "is not YAML"), ("names: {a: &x [1], b: *x}", "no boxes that can be read"), ("5", "no boxes")],
)
def test_a_yaml_that_names_no_classes_is_no_dataset(tmp_path: Path, content: str, problem: str) -> None:
    photo(tmp_path / "a.jpg", 1)
    (tmp_path / "a.txt").write_text("0 .5 .5 .1 .1\n")
    (tmp_path / "data.yaml").write_text(content)
    with pytest.raises(SettingsError, match=problem):
        open_source(tmp_path, task="detection")


# ---------------------------------------------------------------- Pascal VOC


def voc(folder: Path, name: str, *objects: tuple[str, Any, Any, Any, Any], more: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    inside = "".join(
        f"<object><name>{label}</name><part><bndbox><xmin>9</xmin></bndbox></part><bndbox><xmin>{a}</xmin><ymin>{b}</ymin>"
        f"<xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for label, a, b, c, d in objects
    )
    (folder / f"{name}.xml").write_text(
        f"{more}<annotation><folder>x</folder><filename>{name}.jpg</filename>"
        f"<size><width>64</width><height>48</height><depth>3</depth></size>{inside}</annotation>"
    )


def test_voc_counts_from_1_if_all_of_a_dataset_does(tmp_path: Path) -> None:
    for name in ("a", "b"):
        photo(tmp_path / "JPEGImages" / f"{name}.jpg", ord(name), (64, 48))
    voc(tmp_path / "Annotations", "a", ("cat", 1, 1, 64, 48), ("dog", 11, 21, 20, 30))
    voc(tmp_path / "Annotations", "b")
    sets = tmp_path / "ImageSets" / "Main"
    sets.mkdir(parents=True)
    (sets / "val.txt").write_text("b\n")
    assert rows(tmp_path) == [
        ("JPEGImages/a.jpg", None, [("cat", 0, 0, 64, 48), ("dog", 10, 20, 10, 10)]),
        ("JPEGImages/b.jpg", "validation", []),
    ]
    assert said(tmp_path) == ["read: 2 files as VOC counts: pixels from 1, both corners inside, first line 1"]
    voc(tmp_path / "Annotations", "b", ("cat", 20, 0, 10, 5))  # a 0, and corners the other way round
    assert rows(tmp_path) == [
        ("JPEGImages/a.jpg", None, [("cat", 1, 1, 63, 47), ("dog", 11, 21, 9, 9)]),
        ("JPEGImages/b.jpg", "validation", [("cat", 10, 0, 10, 5)]),
    ]
    assert said(tmp_path) == []


# ---------------------------------------------------------------- XML in general

BOMB = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'


def test_xml_with_entities_is_refused_before_it_is_read(tmp_path: Path) -> None:
    voc(tmp_path, "a", ("cat", 1, 1, 5, 5), more=BOMB)
    cvat = tmp_path / "cvat.xml"
    cvat.write_text(f"{BOMB}<annotations><image id='0' name='&b;' width='1' height='1'/></annotations>")
    for path in (tmp_path / "a.xml", cvat):
        with pytest.raises(SettingsError, match=r"has a document type \(DOCTYPE\).*remove that line"):
            rows(path)
    with pytest.raises(SettingsError, match="DOCTYPE"):
        [*open_source(cvat).rows()]


# ---------------------------------------------------------------- CVAT


def test_cvat_boxes_polygons_and_what_is_no_box(tmp_path: Path) -> None:
    path = tmp_path / "annotations.xml"
    path.write_text(
        """<annotations>
        <image id="0" name="a.jpg" subset="Test" width="64" height="48">
          <box label="cat" source="auto" xtl="9.5" ytl="1.0" xbr="2.5" ybr="5.0"></box>
          <polygon label="dog" points="1,2;5,2;5,9"></polygon><tag label="nice"/></image>
        <image id="1" name="b.jpg" width="64" height="48"/>
        <image id="2" name="c.jpg" width="64" height="48">
          <box label="cat" rotation="30.0" xtl="1" ytl="1" xbr="5" ybr="5"/></image>
        <image id="3" name="d.jpg" width="64" height="48"><points label="cat" points="1,2"/></image>
        </annotations>"""
    )
    begins = "has a box that cannot be read: box 1 (cat)"
    assert rows(path) == [
        ("a.jpg", "test", [("cat", 2.5, 1, 7, 4), ("dog", 1, 2, 4, 7)]),
        f"c.jpg {begins} is rotated by 30.0 degrees, but boxes here cannot be rotated",
        f"d.jpg {begins} is a shape of the kind points, not a box",
    ]
    assert [each.split(",")[0] for each in said(path)] == [
        "read: 1 polygon as the box around it", "skipped: 1 tag of a whole image", "skipped: 1 image without a box"
    ]  # fmt: skip


# ---------------------------------------------------------------- Label Studio


def region(name: str, x: float, y: float, w: float, h: float, **value: Any) -> dict[str, Any]:
    place = {"x": x, "y": y, "width": w, "height": h, "rotation": 0, "rectanglelabels": [name], **value}
    return {"type": "rectanglelabels", "original_width": 64, "original_height": 48, "value": place}


def test_label_studio_full_and_minimal(tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    tasks: list[Any] = [
        {
            "data": {"image": "/data/upload/1/0a1b2c3d-a.jpg"},
            "annotations": [{"result": [region("cat", 50, 25, 25, 50)]}],
        },
        {"data": {"image": "b.jpg"}, "annotations": [{"result": []}]},
        {"data": {"image": "c.jpg"}, "annotations": [{"result": [], "was_cancelled": True}]},
        {"data": {"image": "d.jpg"}, "annotations": [{"result": [region("cat", 1, 1, 5, 5, rotation=12.5)]}]},
        {"data": {"image": "e.jpg"}, "annotations": [{"result": [{"type": "brushlabels", "value": {}}]}]},
        {"data": {"image": "f.jpg"}, "annotations": []},
    ]
    path.write_text(json.dumps(tasks))
    assert rows(path) == [
        ("a.jpg", None, [("cat", 0.5, 0.25, 0.25, 0.5)]),
        ("b.jpg", None, []),
        "c.jpg skip",
        "d.jpg has a box that cannot be read: box 1 (cat) is rotated (or its image), but boxes here cannot be",
        "e.jpg has a box that cannot be read: box 1 is a region of the kind brushlabels, not a box",
    ]
    flat = {"original_width": 64, "original_height": 48, **region("dog", 10, 20, 30, 40)["value"]}
    path.write_text(
        json.dumps(
            [{"image": "a.jpg", "id": 1, "label": [flat], "annotation_id": 5}, {"image": "b.jpg", "annotation_id": 6}]
        )
    )
    assert rows(path) == [("a.jpg", None, [("dog", 0.1, 0.2, 0.3, 0.4)]), ("b.jpg", None, [])]


# ---------------------------------------------------------------- tables


@pytest.mark.parametrize(
    "table",
    [
        "filename,label,x,y,w,h\na.png,cat,1,2,3,4\nb.png,dog,5,5,1,1\na.png,dog,0,0,2,2\n",
        "filename;width;height;class;xmin;ymin;xmax;ymax\na.png;64;48;cat;4;6;1;2\n"
        "b.png;64;48;dog;5;5;6;6\na.png;64;48;dog;0;0;2;2\n",
        'image_id,label,bbox\na.png,cat,"[1, 2, 3, 4]"\nb.png,dog,"[5, 5, 1, 1]"\na.png,dog,"[0.0, 0.0, 2.0, 2.0]"\n',
        "file\tclass\tx\ty\twidth\theight\na.png\tcat\t1\t2\t3\t4\nb.png\tdog\t5\t5\t1\t1\na.png\tdog\t0\t0\t2\t2\n",
    ],
)  # fmt: skip
def test_a_table_has_a_row_per_box_in_any_order(tmp_path: Path, table: str) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text(table)
    assert rows(path) == [
        ("a.png", None, [("cat", 1, 2, 3, 4), ("dog", 0, 0, 2, 2)]), ("b.png", None, [("dog", 5, 5, 1, 1)]),
    ]  # fmt: skip


def test_columns_of_a_table_can_be_named_and_numbered_and_shares_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text("a.png,0.5,0.25,0.75,0.5,cat\nb.png,,,,,\n")
    columns = "image=1,label=6,xmin=2,ymin=3,xmax=4,ymax=5"
    assert rows(path, columns) == [("a.png", None, [("cat", 0.5, 0.25, 0.25, 0.25)])]
    assert rows(path, columns + ",empty=nothing")[1] == ("b.png", None, [])
    path.write_text("photo,what,left,top,wide,high\na.png,cat,1,2,3,4\na.png,,5,6,7,8\n")
    assert rows(path, "image=photo,label=what,x=left,y=top,w=wide,h=high") == [
        "a.png has a box that cannot be read: box 2 has no class"
    ]
    path.write_text("filename,label\na.png,cat\n")
    with pytest.raises(SettingsError, match="has no columns for boxes: x, y, w, h or xmin"):
        open_source(path, task="detection")
    with pytest.raises(SettingsError, match="Only a detection project has boxes"):
        open_source(path, Chosen.of("x=label"))


@pytest.mark.parametrize("form", ["lists", "objects"])
def test_hugging_face_objects_with_class_labels(tmp_path: Path, form: str) -> None:
    names = datasets.ClassLabel(names=["cat", "dog"])
    box = datasets.Sequence(datasets.Value("float32"), length=4)
    inner = {"bbox": datasets.Sequence(box), "category": datasets.Sequence(names)}
    kind = inner if form == "lists" else [{"bbox": box, "category": names}]
    given: list[Any] = [[([1, 2, 3, 4], 1), ([0, 0, 5, 5], 0)], []]
    column = [
        {"bbox": [b for b, _ in each], "category": [c for _, c in each]}
        if form == "lists"
        else [{"bbox": b, "category": c} for b, c in each]
        for each in given
    ]
    features = datasets.Features({"file_name": datasets.Value("string"), "objects": kind})
    table = datasets.Dataset.from_dict({"file_name": ["a.png", "b.png"], "objects": column}, features)
    table.to_parquet(str(tmp_path / "train-00000-of-00001.parquet"))
    assert rows(tmp_path) == [
        ("a.png", "train", [("dog", 1, 2, 3, 4), ("cat", 0, 0, 5, 5)]), ("b.png", "train", []),
    ]  # fmt: skip


# ---------------------------------------------------------------- other tools' readers


def test_their_own_readers_read_our_exports(tmp_path: Path) -> None:
    with project(tmp_path, "cat", "dog") as service:
        service.annotate([boxes(1, ("dog", 1.5, 2, 10, 20), ("cat", 0, 0, 5, 5)), boxes(2)])
        coco = COCO(str(written(service, "coco", tmp_path)))
        assert [each["name"] for each in coco.loadCats(coco.getCatIds())] == ["cat", "dog"]
        found = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
        assert [(each["category_id"], each["bbox"], each["area"], each["iscrowd"]) for each in found] == [
            (2, [1.5, 2, 10, 20], 200, 0), (1, [0, 0, 5, 5], 25, 0),
        ]  # fmt: skip
        folder = written(service, "datasets", tmp_path)
        loaded = datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(tmp_path / "cache"))["train"]
        assert loaded[0]["objects"]["bbox"] == [[1.5, 2, 10, 20], [0, 0, 5, 5]]
        assert [row["objects"]["category"] for row in loaded] == [["dog", "cat"], []]
        assert {name: each.suffix for name, each in FORMATS.items()}["voc"] == "zip"


def test_places_are_those_of_the_upright_photo(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: stored 64 × 48, seen 48 × 64
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (64, 48), (9, 9, 9)).save(tmp_path / "photos" / "a.jpg", exif=exif)
    label = tmp_path / "tasks.json"
    label.write_text(
        json.dumps([{"data": {"image": "a.jpg"}, "annotations": [{"result": [region("cat", 50, 50, 25, 25)]}]}])
    )
    shares = tmp_path / "shares.csv"
    shares.write_text("filename,label,x,y,w,h\na.jpg,cat,0.5,0.5,0.25,0.25\n")
    with project(tmp_path, "cat") as service:
        [issue] = brought(service, label).issues["rejected"]
        assert issue.reason.startswith("has 64 × 48 pixels in the file, but is upright 48 × 64 here")
        brought(service, shares)
        assert told(service) == {1: [("cat", 24, 32, 12, 16, "imported")]}
        assert json.loads(written(service, "coco", tmp_path).read_text())["images"][0]["width"] == 48
