"""The commands and the Python client in a detection project."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.client import Flywheel
from commands.connection import FlywheelError
from commands.labels.box_person import BoxAnnotator, draw, read_boxes
from commands.labels.imports import opened
from shared.settings.services import SettingsError
from shared.tasks.box_actions import Actions
from shared.tasks.iou import iou
from shared.wire.imports import NamedBox, NamedBoxes
from shared.wire.queries import Query, SuggestedBox
from tests.commands.labels.test_folders import served
from tests.commands.labels.test_several_classes import run
from tests.labeler.projects import boxes, labeler, photo, pushed

SIZE = (64, 48)


def told(service: Any) -> dict[int, list[tuple[Any, ...]]]:
    fold = service.log.fold
    return {
        image: [(fold.name_of(box.label), *box[1:]) for box in each.boxes]
        for image, each in sorted(fold.labels.items())
    }


def coco(path: Path, boxes: dict[str, list[tuple[str, list[float]]]]) -> Path:
    """A COCO file: name of an image → class and bbox of each object."""
    names = sorted({name for some in boxes.values() for name, _ in some})
    every = [(number, *each) for number, some in enumerate(boxes.values()) for each in some]
    content = {
        "images": [{"id": n, "file_name": name, "width": 64, "height": 48} for n, name in enumerate(boxes)],
        "categories": [{"id": n, "name": name} for n, name in enumerate(names)],
        "annotations": [
            {"id": n, "image_id": image, "category_id": names.index(name), "bbox": bbox, "iscrowd": 0}
            for n, (image, name, bbox) in enumerate(every)
        ],
    }
    path.write_text(json.dumps(content))
    return path


def test_the_command_and_python_import_label_and_export(tmp_path: Path) -> None:
    for number in range(5):
        photo(tmp_path / "photos" / f"{number:04d}.png", number, SIZE)
    first = coco(tmp_path / "first.json", {"0000.png": [("cat", [1, 2, 10, 20])], "0001.png": []})
    with (
        labeler(tmp_path, task="detection", classes=["cat", "dog"]) as service,
        served(service) as url,
        Flywheel(url, url) as client,
    ):
        looked = run("import", first, "--labeler-url", url, "--dry-run")
        assert ("skipped: 1 image without a box" in looked.output, told(service)) == (True, {})
        assert run("import", first, "--empty", "nothing", "--labeler-url", url).exit_code == 0
        cat = ("cat", 1, 2, 10, 20, "imported")
        assert told(service) == {1: [cat], 2: []}
        client.label({"0002.png": [{"label": "dog", "x": 0, "y": 0, "w": 64, "h": 48}], 4: []})
        assert told(service)[3] == [("dog", 0, 0, 64, 48, "drawn")]
        assert told(service)[4] == []
        for wrong in ("dog", ["dog"], {"yes": ["dog"]}):
            with pytest.raises(FlywheelError, match="An answer here is a list of boxes"):
                client.label({5: wrong})
        table = pd.DataFrame(
            {
                "uri": ["0004.png"] * 2,
                "label": ["dog", "cat"],
                "xmin": [9, 1],
                "ymin": [9, 1],
                "xmax": [1, 5],
                "ymax": [5, 8],
            }
        )
        counts = client.import_labels(table)
        assert (counts["labels"], counts["rejected"]) == (1, 0)
        assert told(service)[5] == [("dog", 1, 5, 8, 4, "imported"), ("cat", 1, 1, 4, 7, "imported")]
        every = client.labels(status="labeled")
        assert [len(some) for some in every["boxes"]] == [1, 0, 1, 0, 2]
        before = told(service)
        assert client.import_labels(every.reset_index())["conflict"] == 0
        assert told(service) == before
        assert run("export", tmp_path / "out.zip", "--format", "voc", "--labeler-url", url).exit_code == 0
        with pytest.raises(SettingsError, match="boxes belong to no folder: leave it out, and write a zip"):
            run("export", tmp_path / "out", "--files", "copy", "--labeler-url", url)


def test_a_simulated_person_uses_suggestions_and_counts_actions(tmp_path: Path) -> None:
    for number in range(3):
        photo(tmp_path / "photos" / f"{number:04d}.png", number, SIZE)
    objects: list[tuple[str, list[float]]] = [("cat", [2, 2, 20, 20]), ("dog", [30, 5, 20, 30])]
    truth = coco(tmp_path / "truth.json", {"0000.png": objects, "0001.png": objects, "0002.png": []})
    near = [(1, 2.5, 2, 20, 20), (1, 30, 5, 20, 30), (1, 2, 30, 10, 10)]  # good, of a wrong class, nothing there
    boxes = [
        SuggestedBox(label=label, confidence=0.9, **dict(zip("xywh", map(float, place), strict=True)))
        for label, *place in near
    ]
    with labeler(tmp_path, task="detection", classes=["cat", "dog"]) as service, served(service) as url:
        named = [Query(image_id=1, score=1, boxes=boxes), Query(image_id=2, score=0.5), Query(image_id=3, score=0.4)]
        service.push(pushed(service, [], queries=named))
        done = run("simulate", "--labels", truth, "--url", url, "--budget", 9, "--actions", tmp_path / "actions.csv")
        assert "4 actions (2 drawn, 1 corrected, 1 deleted; 1 accepted without one)" in done.output, done.output
        assert "Without suggestions: 4." in done.output
        kept = {image: [(box[0], box[5]) for box in some] for image, some in told(service).items()}
        assert kept == {
            1: [("cat", "accepted"), ("dog", "corrected")], 2: [("cat", "drawn"), ("dog", "drawn")], 3: [],
        }  # fmt: skip
        assert told(service)[1][0] == ("cat", 2.5, 2, 20, 20, "accepted")
    with (tmp_path / "actions.csv").open() as stream:
        assert [row["actions"] for row in csv.DictReader(stream)] == ["2", "2", "0"]


def test_without_suggestions_the_person_draws_every_box(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "0000.png", 0, SIZE)
    objects: list[tuple[str, list[float]]] = [("cat", [2, 2, 20, 20]), ("cat", [5, 5, 0, 9]), ("cat", [64, 5, 9, 9])]
    truth, _ = read_boxes(coco(tmp_path / "truth.json", {"0000.png": objects}))
    box = SuggestedBox(label=1, confidence=0.9, x=2.0, y=2.0, w=20.0, h=20.0)
    with labeler(tmp_path, task="detection", classes=["cat"]) as service, served(service) as url:
        service.push(pushed(service, [], queries=[Query(image_id=1, score=1, boxes=[box])]))
        person = BoxAnnotator(url, truth, suggestions=False)
        result = person.run(1)
        person.close()
        assert (result.actions, person.unseen) == ([Actions(drawn=1)], 2)
        assert told(service)[1][0][5] == "drawn"


places = st.tuples(st.integers(0, 50), st.integers(0, 30), st.integers(1, 14), st.integers(1, 18))


@given(
    st.lists(st.tuples(st.sampled_from(["cat", "dog"]), places), max_size=12),
    st.lists(st.tuples(st.sampled_from(["cat", "dog"]), places), max_size=12),
    st.integers(0, 99),
)
def test_the_person_leaves_every_object_with_one_box_near_it(truth: list[Any], suggested: list[Any], seed: int) -> None:
    objects = NamedBoxes(
        boxes=tuple(NamedBox(label=name, **dict(zip("xywh", map(float, place), strict=True))) for name, place in truth)
    )
    given_boxes = [{"name": name, **dict(zip("xywh", place, strict=True))} for name, place in suggested]
    boxes, done = draw(objects, given_boxes, SIZE, 0.03, Random(seed))
    assert [box["label"] for box in boxes] == [box.label for box in objects.boxes]
    assert done.drawn + done.corrected + done.accepted == len(truth)
    assert done.accepted + done.corrected + done.deleted == len(suggested)
    for box, true in zip(boxes, objects.boxes, strict=True):
        assert min(box["x"], box["y"], SIZE[0] + 0.01 - box["x"] - box["w"], SIZE[1] + 0.01 - box["y"] - box["h"]) >= 0
        if min(true.w, true.h) >= 5:
            assert iou([box["x"], box["y"], box["w"], box["h"]], [true.x, true.y, true.w, true.h]).item() > 0.6


def test_a_backup_of_boxes_is_restored(tmp_path: Path) -> None:
    photo(tmp_path / "photos" / "0000.png", 0, SIZE)
    with labeler(tmp_path, task="detection", classes=["cat"]) as service:
        service.annotate([boxes(1, ("cat", 1.25, 2, 10, 20, "corrected"))])
    here = ("--workspace", tmp_path / "workspace")
    assert run("backup", tmp_path / "kept", *here).exit_code == 0
    with labeler(tmp_path, task="detection", classes=["cat"]) as service:
        service.annotate([boxes(1)])
    assert run("restore", tmp_path / "kept", "--yes", *here).exit_code == 0
    assert run("export", tmp_path / "again.jsonl", *here).exit_code == 0
    [row] = [json.loads(line) for line in (tmp_path / "again.jsonl").read_text().splitlines()]
    assert row["boxes"] == [{"label": "cat", "x": 1.25, "y": 2, "w": 10, "h": 20, "origin": "corrected"}]


def test_a_folder_of_boxes_can_begin_a_project(tmp_path: Path) -> None:
    photo(tmp_path / "a.png", 0, SIZE)
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "classes.txt").write_text("cat\n")
    assert opened([tmp_path], None, "").folder == tmp_path
    with pytest.raises(SettingsError, match=r"There is no file or folder .*nothing"):
        opened([tmp_path / "nothing"], None, "")
