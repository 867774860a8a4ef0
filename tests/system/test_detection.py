"""Boxes drawn over HTTP come back as suggested boxes, are measured on images that nothing learns from, and survive a
kill. Both real services, real HTTP."""

import json
from uuid import uuid4

import pytest

from tests import forks
from tests.services import running_services, wait_for
from tests.trainer.scenes import answer, scenes

pytestmark = pytest.mark.system

SMALL = {"trainer.live_detector.canvas.USUAL": 96}
"""An eleventh of the work. Detection in `test_kills.py` starts a trainer with the usual canvas."""


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    folder, _ = scenes(tmp_path_factory.mktemp("scenes"), 60)
    about = {"images": folder, "task": "detection", "classes": "square,disc", "test_set_frac": 0.25}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(forks.CONSTANTS, json.dumps(SMALL))
        with running_services(images=1, labeler={**about, "test_free_labels": 6}, trainer={"images": folder}) as pair:
            yield pair


def draw(services, count):
    """Draw a box around every object in the next images; returns the questions."""
    numbers = {image_id: int(name.removesuffix(".png")) for image_id, name in services.names().items()}
    names = {entry["name"]: entry["id"] for entry in services.get("/api/project")["classes"]}
    asked = []
    for _ in range(count):
        (item,) = services.queue()
        boxes = answer(numbers[item["image_id"]])["boxes"]
        for box in boxes:
            box["label"] = names["square" if box["label"] == 1 else "disc"]
        given = {"id": str(uuid4()), "image_id": item["image_id"], "action": "label", "annotator": "ann"}
        services.annotate([{**given, "answer": {"boxes": boxes}}]).raise_for_status()
        asked.append(item)
    return asked


def boxed(services):
    return [item for item in services.queue(limit=12) if item["boxes"]]


def test_boxes_are_suggested_once_five_images_are_labeled(services):
    wait_for(lambda: services.get("/api/project")["query_version"] >= 1, "the first order")
    first = draw(services, 6)
    assert not [item for item in first[:5] if item["boxes"]]
    suggested = wait_for(lambda: boxed(services), "suggested boxes", 240)
    for item in suggested:
        assert (item["width"], item["height"]) == (160, 120)
        assert item["suggestions"] == []
        for box in item["boxes"]:
            assert box["name"] in {"square", "disc"}
            assert 0 <= box["x"] < box["x"] + box["w"] <= 160
            assert 0 <= box["y"] < box["y"] + box["h"] <= 120


def test_test_images_come_without_boxes_and_measure_the_detector(services):
    splits = {entry["id"]: entry["split"] for entry in services.get("/api/images?after=0&limit=1000")["images"]}

    asked = draw(services, 20)
    assert [item for item in asked if splits[item["image_id"]] == "test"]
    latest = wait_for(lambda: services.get("/api/progress")["evaluations"], "an evaluation", 240)[-1]
    assert latest["accuracy"]["n"] == 0
    assert latest["map_50"]["low"] <= latest["map_50"]["value"] <= latest["map_50"]["high"]
    assert {each["name"] for each in latest["classes"]} == {"square", "disc"}
    tests = [item for item in services.queue(limit=24) if splits[item["image_id"]] == "test"]
    assert tests
    assert not [item for item in tests if item["boxes"] or item["reason"]]
    rows = [row for row in services.rows() if row["action"] == "label"]
    held = sum(splits[row["image_id"]] != "train" for row in rows)
    wait_for(lambda: services.status()["labels"] == len(rows) - held, "the last round", 240)


def test_a_killed_trainer_goes_on_from_its_detector(services):
    before = services.status()
    services.trainer.kill()
    services.trainer.start()
    after = wait_for(lambda: (s := services.status())["model_version"] and s, "the model", 120)
    assert after["model_version"].startswith("detector-")
    assert after["labels"] >= before["labels"] > 0
    assert wait_for(lambda: boxed(services), "suggested boxes", 240)
