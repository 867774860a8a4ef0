"""A detector in a running trainer: it learns from boxes, suggests boxes, is measured, saved, and survives a restart."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from starlette.testclient import TestClient

from tests.standing import api_of
from tests.trainer.learning import learning, wait_for
from tests.trainer.logs import batch, class_rows
from tests.trainer.scenes import box_rows, objects, scenes
from trainer.detection import pyramid
from trainer.live_detector import live_detector
from trainer.routes.api import create_api


@pytest.fixture
def photos(tmp_path):
    """24 scenes; the last six are the test sample."""
    return scenes(tmp_path / "photos", 24, test=range(18, 24))


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(pyramid, "SIZE", 96)  # an eleventh of the work
    monkeypatch.setattr(live_detector, "STEPS", 40)


def draw(client, images, after=0):
    rows = [] if after else class_rows("square", "disc")
    rows += box_rows(images, after=after or 2)
    message = batch(rows, catalog=24).model_copy(update={"task": "detection"}).model_dump(mode="json")
    given = client.post("/annotations", json=message)
    assert given.status_code == 200, given.text
    return given.json()["acked_seq"]


@contextmanager
def drawing(tmp_path, photos, **more):
    """A trainer, its client, and the lists that it offers."""
    with learning(tmp_path, photos, **more) as trainer, api_of(create_api, trainer) as api:
        offered = []
        trainer.publisher.offer = offered.append
        yield trainer, TestClient(api), offered


def boxed(offered):
    return [query for query in offered[-1].queries if query.boxes] if offered else []


def test_boxes_are_suggested_after_five_images_and_measured_on_the_test_sample(tmp_path, photos):
    with drawing(tmp_path, photos) as (trainer, client, offered):
        acked = draw(client, [0, 1, 2, 3, *range(18, 24)])
        wait_for(lambda: offered)
        assert client.get("/status").json()["labels"] == 0  # four are too few
        assert not boxed(offered)
        draw(client, [4, 5, 6, 7, 8], after=acked)
        wait_for(lambda: client.get("/status").json()["labels"] == 9)
        found = wait_for(lambda: client.get("/status").json()["metrics"].get("map_50") is not None, 60)
        assert found
        listed = wait_for(lambda: boxed(offered), 60)
        assert {each.image_id for each in listed} <= set(range(9, 18))
        for box in (box for query in listed for box in query.boxes):
            assert box.label in (1, 2)
            assert box.x >= 0
            assert box.y >= 0
            assert box.x + box.w <= 160.5
            assert box.y + box.h <= 120.5
        latest = trainer.replica.evaluations[-1]
        assert latest.test_labels == latest.map_50.n == 6
        assert latest.accuracy.n == 0
        assert sum(each.support for each in latest.classes) == sum(len(objects(n)) for n in range(18, 24))
        client.post("/stop")
        saved = wait_for(lambda: (s := client.get("/status").json())["state"] == "stopped" and s["saved"], 60)
        [version] = [e for e in client.get("/models").json()["models"] if e["version"] == saved["model_version"]]
        assert (version["learner"], version["labels"]) == ("detector", 9)
        assert version["metrics"]["map_50"]["n"] == 6
