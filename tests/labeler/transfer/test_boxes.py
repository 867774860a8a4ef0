"""Boxes from and to files: round trips through every format, what absence means, and what is refused in which words."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from labeler.errors import Invalid
from labeler.service import Service
from labeler.transfer.boxes.opening import FORMATS
from labeler.transfer.formats import FORMATS as OF_CLASSES
from labeler.transfer.rows.exported import extras_named
from labeler.transfer.rows.imported import Chosen
from labeler.transfer.sources import open_source
from shared.importing import Outcome, take_rows
from shared.settings.services import SettingsError
from shared.wire.dataset import SnapshotPost
from tests.labeler.projects import answer, boxes, labeler, photo
from tests.labeler.transfer.test_label_files import settled

AWKWARD = 'a;b\\, "<c>"'
Told = dict[int, list[tuple[Any, ...]]]


@contextmanager
def project(folder: Path, *names: str, **values: Any) -> Iterator[Service]:
    """A detection project of six photos of 64 × 48 pixels."""
    if not (folder / "photos").exists():
        for number in range(6):
            photo(folder / "photos" / f"{number:04d}.png", number, (64, 48))
    with labeler(folder, task="detection", classes=list(names), **values) as service:
        yield service


def told(service: Service) -> Told:
    """Image → its boxes by name, with where they come from."""
    fold = service.log.fold
    return {
        image: [(fold.name_of(box.label), *box[1:]) for box in value.boxes]
        for image, value in sorted(fold.labels.items())
    }


def brought(service: Service, path: Path, columns: str = "", **choices: Any) -> Outcome:
    """Import a file, after a dry run that must say the same; a second import changes nothing."""
    source = open_source(path, Chosen.of(columns) if columns else None, task="detection")
    folder, take = source.folder, service.imports.take
    before = told(service), service.log.last_seq
    looked = take_rows(source.rows(), folder, take, dry_run=True, **choices)
    assert (told(service), service.log.last_seq) == before
    done = take_rows(source.rows(), folder, take, **choices)
    assert done == looked, "the dry run says what the import does"
    end = told(service), service.log.last_seq
    again = take_rows(source.rows(), folder, take, **choices)
    assert (again.counts["labels"], told(service), service.log.last_seq) == (0, *end), "again changes nothing"
    return done


def written(service: Service, name: str, folder: Path, *extras: str) -> Path:
    """The export as a file, or as an unpacked folder."""
    stream, found = service.exports.begin(name, extras=extras_named(["annotators", *extras]))
    data = b"".join(stream)
    if found.suffix != "zip":
        path = folder / f"{name}.{found.suffix}"
        path.write_bytes(data)
        return path
    zipfile.ZipFile(io.BytesIO(data)).extractall(folder / name)
    return folder / name


SAID = [
    boxes(1, ("cat", 1, 2, 10, 20), ("dog", 0, 0, 64, 48, "accepted"), (AWKWARD, 3.25, 4.5, 5.01, 6.99, "corrected")),
    boxes(2),
    boxes(3, ("dog", 33.33, 7.77, 11.11, 22.22), ("dog", 33.33, 7.77, 11.11, 22.22)),
    answer(4, None, action="skip"),
]
KEPT: Told = {
    1: [
        ("cat", 1, 2, 10, 20, "drawn"),
        ("dog", 0, 0, 64, 48, "accepted"),
        (AWKWARD, 3.25, 4.5, 5.01, 6.99, "corrected"),
    ],
    2: [],
    3: [("dog", 33.33, 7.77, 11.11, 22.22, "drawn")] * 2,
}
NO_ORIGIN = {"yolo", "voc"}


@pytest.fixture(scope="module")
def labeled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with project(tmp_path_factory.mktemp("labeled"), "cat", "dog", AWKWARD) as service:
        service.annotate(SAID)
        assert told(service) == KEPT
        yield service


@pytest.mark.parametrize("extras", [(), ("history",)])
@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_gives_back_the_boxes_and_nothing_here(
    labeled: Service, tmp_path: Path, name: str, extras: tuple[str, ...]
) -> None:
    path = written(labeled, name, tmp_path, *extras)
    pictures = path.is_dir() and name != "voc"
    with project(tmp_path / "other", **({"images": str(path)} if pictures else {})) as other:
        done = brought(other, path)
        kept = {k: [(*b[:5], "imported" if name in NO_ORIGIN else b[5]) for b in v] for k, v in KEPT.items()}
        assert (told(other), done.counts["rejected"], done.counts["conflict"], done.counts["cell"]) == (kept, 0, 0, 0)
        skipped = other.log.fold.state(4).status
        assert skipped == ("unlabeled" if name in NO_ORIGIN else "skipped")


@pytest.mark.parametrize(
    ("name", "listed"), [("cvat", "<name>{}</name>"), ("fiftyone", '"{}"'), ("coco", '"name": "{}"')]
)
def test_a_class_added_while_the_export_is_read_is_listed_too(tmp_path: Path, name: str, listed: str) -> None:
    with project(tmp_path, "cat") as service:
        pieces, format = service.exports.begin(name)
        service.classes.add("late", "ann")
        service.annotate([boxes(1, ("late", 1, 1, 9, 9))])
        content = b"".join(pieces)
        if format.suffix == "zip":
            content = zipfile.ZipFile(io.BytesIO(content)).read("metadata.json")
        assert all(listed.format(each) in content.decode() for each in ("cat", "late"))


@pytest.mark.parametrize("name", sorted(set(OF_CLASSES) - set(FORMATS)))
def test_a_format_without_a_place_for_boxes_says_which_ones_have_one(labeled: Service, name: str) -> None:
    with pytest.raises(Invalid, match=f"{name} has no place for boxes: choose coco, csv, cvat"):
        labeled.exports.begin(name)
    with pytest.raises(Invalid, match="holds no predictions"):
        labeled.exports.begin("coco", extras=extras_named(["predictions"]))


def coco(folder: Path, images: list[Any], annotations: list[Any], names: tuple[str, ...] = ("cat", "dog")) -> Path:
    """A COCO file beside the photos: images are (number, more fields), annotations (image, category, bbox, more)."""
    content = {
        "images": [
            {"id": 100 + k, "file_name": f"{k:04d}.png", "width": 64, "height": 48, **more} for k, more in images
        ],
        "annotations": [
            {"id": n, "image_id": 100 + k, "category_id": category, "bbox": bbox, **more}
            for n, (k, category, bbox, more) in enumerate(annotations)
        ],
        "categories": [{"id": 7 + k, "name": name} for k, name in enumerate(names)],
    }
    path = folder / "coco.json"
    path.write_text(json.dumps(content))
    return path


def test_an_image_without_an_annotation_is_empty_only_if_somebody_says_so(tmp_path: Path) -> None:
    with project(tmp_path, "cat", "dog") as service:
        images = [(0, {}), (1, {}), (2, {"status": "labeled"}), (3, {"split": "test"})]
        path = coco(tmp_path, images, [(0, 7, [1, 2, 3, 4], {}), (3, 8, [0, 0, 64, 48], {"iscrowd": 0})])
        source = open_source(path, task="detection")
        brought(service, path)
        assert told(service) == {
            1: [("cat", 1, 2, 3, 4, "imported")], 3: [], 4: [("dog", 0, 0, 64, 48, "imported")],
        }  # fmt: skip
        assert service.tally.splits[4] == "test"
        [*source.rows()]
        assert source.told() == [
            "skipped: 1 image without a box, which may be unlabeled (empty=nothing: nothing is in it), first line 2"
        ]
        brought(service, path, "empty=nothing")
        assert told(service)[2] == []


BAD = {
    "is a region of a crowd": (7, [1, 2, 3, 4], {"iscrowd": 1}),
    "has a category '99', which the file does not list": (99, [1, 2, 3, 4], {}),
    "has no bbox": (7, None, {}),
    "has no x, y, w, h: a box needs these four numbers": (7, [1, 2, 3], {}),
    "has 'wide' where a number is needed": (7, [1, 2, "wide", 4], {}),
    r"box 2 \(cat\) lies outside the image, which has 64 × 48 pixels: fix or remove it": (7, [64, 2, 3, 4], {}),
    r"box 2 \(cat\) has no area: fix or remove it": (7, [3, 2, 0, 4], {}),
    r"box 2 \(cat\) has 0.5 × 4 pixels, and a box needs 1 × 1": (7, [3, 2, 0.5, 4], {}),
    "has nan where a finite number is needed": (7, [float("nan"), 2, 3, 4], {}),
    "has a box of 'cow', which is not a class here: add it first": (9, [1, 2, 3, 4], {}),
}


@pytest.mark.parametrize("reason", BAD)
def test_a_box_that_cannot_be_taken_rejects_its_image_by_name_and_no_other(tmp_path: Path, reason: str) -> None:
    with project(tmp_path, "cat", "dog") as service:
        path = coco(
            tmp_path, [(0, {}), (1, {})], [(0, 8, [1, 1, 9, 9], {}), (1, 8, [1, 1, 9, 9], {}), (1, *BAD[reason])],
            ("cat", "dog", "cow"),
        )  # fmt: skip
        done = brought(service, path)
        assert told(service) == {1: [("dog", 1, 1, 9, 9, "imported")]}
        [issue] = done.issues["rejected"]
        assert (issue.line, issue.uri.endswith("0001.png")) == (2, True)
        assert re.search(reason, issue.reason), issue.reason


def test_a_box_partly_outside_is_cut_and_told(tmp_path: Path) -> None:
    with project(tmp_path, "cat") as service:
        path = coco(tmp_path, [(0, {})], [(0, 7, [-0.4, 2, 3, 4], {}), (0, 7, [60, 40, 30, 30], {})])
        done = brought(service, path)
        assert told(service) == {1: [("cat", 0, 2, 2.6, 4, "imported"), ("cat", 60, 40, 4, 8, "imported")]}
        assert [str(each) for each in done.issues["cell"]] == [
            f"line 1: {tmp_path / '0000.png'} box 2 (cat) reaches outside the image: cut at its edge"
            if (tmp_path / "0000.png").exists()
            else "line 1: 0000.png box 2 (cat) reaches outside the image: cut at its edge"
        ]


def test_boxes_of_an_image_of_another_size_or_not_yet_turned_are_refused(tmp_path: Path) -> None:
    with project(tmp_path, "cat") as service:
        sizes = [
            (0, {"width": 48, "height": 64}),
            (1, {"width": 640, "height": 480}),
            (2, {"width": 0, "height": None}),
        ]
        done = brought(service, coco(tmp_path, sizes, [(k, 7, [1, 2, 3, 4], {}) for k in range(3)]))
        assert [each.reason for each in done.issues["rejected"]] == [
            "has 48 × 64 pixels in the file, but is upright 64 × 48 here: the boxes are those of the image before EXIF "
            "turns it",
            "has 640 × 480 pixels in the file, but 64 × 48 here: the boxes would be in the wrong places",
        ]
        assert list(told(service)) == [3]


def test_answers_of_several_people_come_back(tmp_path: Path) -> None:
    with project(tmp_path / "one", "cat", "dog", overlap=2) as service:
        service.annotate([boxes(1, ("cat", 10, 10, 20, 20)), boxes(1, ("cat", 11, 10, 20, 20), annotator="bob")])
        service.annotate([boxes(2, ("cat", 10, 10, 20, 20)), boxes(2, ("dog", 10, 10, 20, 20), annotator="bob")])
        service.annotate([boxes(3, ("cat", 1, 1, 9, 9)), boxes(3, annotator="bob")])
        service.annotate([boxes(3, ("dog", 1, 1, 9, 9), action="settle", annotator="eve")])
        said, votes = (
            told(service),
            [{who: str(value) for who, value in service.log.fold.votes(n).items()} for n in (1, 2, 3)],
        )
        paths = [
            written(service, name, tmp_path, "history") for name in ("jsonl", "csv", "coco", "label_studio", "parquet")
        ]
    for path in paths:
        with project(tmp_path / path.suffix, "cat", "dog", overlap=2) as other:
            brought(other, path)
            found = [{who: str(value) for who, value in other.log.fold.votes(n).items()} for n in (1, 2, 3)]
            assert (told(other), found, other.log.fold.state(2).disputed) == (said, votes, True), path.name


def test_a_row_that_cannot_be_read_leaves_no_image_with_some_of_its_boxes(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text("filename,label,x,y,w,h\n0000.png,cat,1,2,3,4\n0001.png,cat,1,2,3,4\n0000.png,cat,1\n")
    with project(tmp_path, "cat") as service:
        done = brought(service, path)
        assert list(told(service)) == [2]
        assert [each.reason for each in done.issues["rejected"]] == [
            "has a box that cannot be read: box 2 stands in line 4",
            "has 3 cells where the header has 6",
        ]


def test_an_image_has_a_thousand_boxes_and_not_one_more(tmp_path: Path) -> None:
    path = tmp_path / "boxes.jsonl"
    many = [{"label": "cat", "x": k % 60, "y": k % 40, "w": 2, "h": 2} for k in range(1_001)]
    path.write_text("".join(json.dumps({"uri": f"000{k}.png", "boxes": many[k:]}) + "\n" for k in range(2)))
    with project(tmp_path, "cat") as service:
        done = brought(service, path)
        assert {image: len(some) for image, some in told(service).items()} == {2: 1_000}
        assert [each.reason for each in done.issues["rejected"]] == ["has 1,001 boxes, and an image has 1,000 at most"]
        again = written(service, "csv", tmp_path, "history")
    with project(tmp_path / "other", "cat") as other:
        brought(other, again)
        assert len(told(other)[2]) == 1_000


@pytest.mark.parametrize("policy", ["keep", "overwrite", "review"])
def test_boxes_that_contradict_an_answer_follow_the_choice_and_those_that_agree_do_not(
    tmp_path: Path, policy: str
) -> None:
    with project(tmp_path, "cat", "dog") as service:
        service.annotate([boxes(1, ("cat", 10, 10, 20, 20)), boxes(2, ("cat", 10, 10, 20, 20))])
        path = coco(tmp_path, [(0, {}), (1, {})], [(0, 8, [10, 10, 20, 20], {}), (1, 7, [11, 10, 20, 20], {})])
        done = brought(service, path, conflicts=policy)
        assert done.counts["conflict"] == 1
        state = service.log.fold.state(1)
        assert (state.disputed, told(service).get(1, [("open",)])[0][0]) == {
            "keep": (False, "cat"), "overwrite": (False, "dog"), "review": (True, "open"),
        }[policy]  # fmt: skip


def test_a_snapshot_tells_and_restores_boxes(tmp_path: Path) -> None:
    pair = ("cat", 1, 1, 9, 9), ("dog", 20, 1, 9, 9)
    with project(tmp_path, "cat", "dog") as service:
        service.annotate([boxes(1, ("cat", 10, 10, 20, 20)), boxes(2), boxes(3, *pair), boxes(4, *pair)])
        service.snapshots.save(SnapshotPost(name="one", annotator="ann"))
        swapped = boxes(3, ("dog", *pair[0][1:]), ("cat", *pair[1][1:]))
        service.annotate([boxes(1, ("cat", 12, 10, 20, 20)), swapped, boxes(4, *pair[::-1])])
        diff = service.snapshots.diff("one", None, 10)
        assert [(each.image_id, each.label) for each in diff.differences] == [
            (1, ("1 cat", "1 cat, with other boxes")),
            (3, ("1 cat, 1 dog", "1 cat, 1 dog, with other boxes")),
        ]
        stream, _ = service.exports.begin("jsonl", snapshot="one")
        assert json.loads(b"".join(stream).splitlines()[0])["boxes"][0]["x"] == 10
        service.snapshots.restore("one", "ann")
        assert {k: told(service)[k] for k in (1, 2)} == {1: [("cat", 10, 10, 20, 20, "drawn")], 2: []}
        assert [each[0] for each in told(service)[3]] == ["cat", "dog"]


def test_a_test_set_with_boxes_is_there_at_the_start(tmp_path: Path) -> None:
    for number in range(2):
        photo(tmp_path / "photos" / f"{number:04d}.png", number, (64, 48))
        photo(tmp_path / "test" / f"t{number}.png", 50 + number, (64, 48))
    (tmp_path / "test" / "annotations.json").write_text(
        json.dumps({
            "images": [{"id": k, "file_name": f"t{k}.png", "status": "labeled"} for k in range(2)],
            "categories": [{"id": 1, "name": "owl"}],
            "annotations": [{"image_id": 0, "category_id": 1, "bbox": [1, 2, 30, 30]}],
        })
    )  # fmt: skip
    with project(tmp_path, "owl", test_set=str(tmp_path / "test")) as service:
        names = {entry.id: entry.uri for entry in service.catalog.entries(0, 9)}
        found = {names[image]: some for image, some in told(service).items()}
        assert found == {"t0.png": [("owl", 1, 2, 30, 30, "imported")], "t1.png": []}
        assert {service.tally.splits[image] for image in told(service)} == {"test"}
    with (
        pytest.raises(SettingsError, match="has no boxes that can be read"),
        project(tmp_path / "x", test_set=str(tmp_path / "photos")),
    ):
        pass


def test_a_dry_run_names_a_class_that_it_would_add_in_the_order_of_the_import(tmp_path: Path) -> None:
    with project(tmp_path, "cat") as service:
        service.annotate([answer(1, None, action="skip")])
        path = tmp_path / "boxes.jsonl"
        some = [{"label": name, "x": 1, "y": 1, "w": 9, "h": 9} for name in ("owl", "cat")]
        path.write_text(json.dumps({"uri": "0000.png", "boxes": some}) + "\n")
        done = brought(service, path, add_classes=True)  # which compares it with the dry run
        assert [each.reason for each in done.issues["conflict"]] == [
            "is skipped here: that is kept, '1 cat, 1 owl' is skipped"
        ]


def test_a_file_given_on_the_page_is_looked_at_again_with_images_that_are_empty(tmp_path: Path) -> None:
    with project(tmp_path, "cat") as service:
        path = coco(tmp_path, [(0, {}), (1, {})], [(0, 7, [1, 2, 3, 4], {})])
        with path.open("rb") as stream:
            given = service.label_files.add("coco.json", stream)
        looked = settled(service, given.id)
        assert (looked.labels, [line.split(",")[0] for line in looked.told]) == (1, ["skipped: 1 image without a box"])
        service.label_files.look_again(given.id, "empty=nothing")
        assert settled(service, given.id).labels == 2
        service.label_files.take(given.id, add_classes=True)
        assert settled(service, given.id).state == "imported"
        assert told(service) == {1: [("cat", 1, 2, 3, 4, "imported")], 2: []}
