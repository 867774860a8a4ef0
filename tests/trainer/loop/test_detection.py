"""A detector in a running trainer: it learns from boxes, suggests boxes, is measured, saved, and survives a restart."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from uuid import uuid4

import pytest
from starlette.testclient import TestClient

from shared.wire.jobs import Comparison
from shared.wire.log import Row
from tests.standing import api_of
from tests.trainer.learning import learning, wait_for
from tests.trainer.logs import WHEN, batch, class_rows
from tests.trainer.scenes import box_rows, objects, scene, scenes
from trainer.live_detector import canvas, live_detector, pictures, studies
from trainer.routes.api import create_api
from trainer.sync.snapshot import Snapshot


@pytest.fixture
def photos(tmp_path):
    """24 scenes; the last six are the test sample."""
    return scenes(tmp_path / "photos", 24, test=range(18, 24))


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(canvas, "USUAL", 96)  # an eleventh of the work
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
    """A trainer, its client, and the lists that it offers. The detector has searched the first images of each."""
    with learning(tmp_path, photos, **more) as trainer, api_of(create_api, trainer) as api:
        offered, unsearched = [], []
        live = trainer.loop._studying._studies.live

        def offer(push):
            first = [query.image_id for query in push.queries[: pictures.AT_ONCE]]
            if live.detector is not None:
                unsearched.extend(live.pictures.unseen(live.detector, first))
            offered.append(push)

        trainer.publisher.offer = offer
        yield trainer, TestClient(api), offered
        assert not unsearched


def boxed(offered):
    return [query for query in offered[-1].queries if query.boxes] if offered else []


def test_boxes_are_suggested_after_five_images_and_measured_on_the_test_sample(tmp_path, photos):
    with drawing(tmp_path, photos) as (trainer, client, offered):
        acked = draw(client, [0, 1, 2, 3, *range(18, 24)])
        wait_for(lambda: offered)
        status = client.get("/status").json()
        assert (status["labels"], status["wants_each"]) == (0, True)  # four are too few
        assert not boxed(offered)
        draw(client, [4, 5, 6, 7, 8], after=acked)
        wait_for(lambda: client.get("/status").json()["labels"] == 9)
        assert not client.get("/status").json()["wants_each"]
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
        assert client.post("/models", json={"name": "early"}).status_code == 200
        draw(client, [9, 10, 11], after=acked + 5)
        client.post("/stop")
        saved = wait_for(lambda: (s := client.get("/status").json())["state"] == "stopped" and s["saved"], 60)
        [version] = [e for e in client.get("/models").json()["models"] if e["version"] == saved["model_version"]]
        assert (version["learner"], version["labels"]) == ("detector", 12)
        assert version["metrics"]["map_50"]["n"] == 6
        both_predict(client, saved["model_version"])
        compared(client, "early", saved["model_version"])


def both_predict(client, version):
    """The live detector, which was saved as the version, finds the same boxes as the version does."""
    by_id, saved = (
        client.post("/predict", json={"image_ids": [12, 13]}, params=asked).json()["predictions"]
        for asked in ({}, {"version": version})
    )
    uploaded = client.post("/predict", files={"images": scene(12)}).json()["predictions"]
    assert uploaded == by_id[:1]
    for live, kept in zip(by_id, saved, strict=True):
        assert [each["label"] for each in live["boxes"]] == [each["label"] for each in kept["boxes"]]
    assert client.get("/predictions").status_code in (404, 409, 503)


def compared(client, base, candidate):
    refused = client.post("/models/compare", json={"base": base, "candidate": candidate, "min_delta": {"macro_f1": 0}})
    assert "choose from map_50" in refused.json()["detail"]
    job = client.post("/models/compare", json={"base": base, "candidate": candidate, "iou_threshold": 0.4}).json()
    done = wait_for(lambda: (j := client.get(f"/jobs/{job['id']}").json())["state"] in ("done", "failed") and j, 120)
    assert done["state"] == "done", done["error"]
    assert done["request"].keys() == {"comparison", "classes", "active", "boxes", "saved"}
    assert done["request"]["boxes"] is True  # everybody can read jobs, and test images are drawn blind
    found = Comparison.model_validate(done["result"])
    assert found.images == 6
    assert found.map_gain is not None
    assert found.base.map_50 is not None
    assert found.candidate.map_50 is not None
    assert found.map_gain.value == pytest.approx(found.candidate.map_50.value - found.base.map_50.value)
    assert [each.metric for each in found.checks] == ["map_50"]
    assert found.decision == ("update_model" if found.map_gain.value >= -1e-12 else "discard")
    assert [curve.name for curve in found.base.curves] == [None, "square", "disc"]


def test_a_restarted_trainer_goes_on_from_its_detector_and_a_pause_holds(tmp_path, photos):
    with drawing(tmp_path, photos) as (trainer, client, _):
        acked = draw(client, range(6))
        wait_for(lambda: client.get("/status").json()["labels"] == 6, 60)
        client.post("/pause")
        acked = draw(client, [6, 7], after=acked)
        version = client.get("/status").json()["model_version"]
        steps = trainer.loop._studying._detector.detector.steps
        assert steps > 0
    with drawing(tmp_path, photos) as (trainer, client, _):
        status = client.get("/status").json()
        assert (status["state"], status["wants_each"]) == ("paused", False)
        assert status["model_version"] is None  # a paused trainer does nothing
        client.post("/resume")
        wait_for(lambda: (client.get("/status").json()["model_version"] or "").startswith("detector-"), 60)
        learner = trainer.loop._studying._detector
        assert version is not None
        wait_for(lambda: client.get("/status").json()["labels"] == 8, 60)
        assert learner._state.seen == set(range(8))


def test_an_image_held_out_later_is_unlearned_and_asked_without_boxes(tmp_path, photos, monkeypatch):
    with drawing(tmp_path, photos) as (trainer, client, offered):
        acked = draw(client, range(7))
        wait_for(lambda: client.get("/status").json()["labels"] == 7, 60)
        learner = trainer.loop._studying._detector
        before = learner.version
        rows = [moved(0, "test", after=acked), moved(9, "validation", after=acked + 1)]
        message = batch(rows, catalog=24).model_copy(update={"task": "detection"}).model_dump(mode="json")
        assert client.post("/annotations", json=message).status_code == 200
        wait_for(lambda: learner.version not in ("", before) and client.get("/status").json()["labels"] == 6, 60)
        assert learner._state.seen == set(range(1, 7))
        listed = wait_for(lambda: boxed(offered), 60)
        assert not {each.image_id for each in listed} & {0, 9, *range(18, 24)}
        after_a_full_disk(trainer, client, learner, acked + 2)
        monkeypatch.setattr(studies, "SHOWN", 2)
        assert trainer.control.inbox.ask(lambda: boxed_if_all_are_known(trainer.loop)) == 2


def boxed_if_all_are_known(loop):
    """How many images of the list get boxes if the detector has looked at all, and suggests nearly everything."""
    live, detector = loop.live, loop._studying._detector
    detector.pictures.look(detector.detector, [query.image_id for query in loop._asked.queries])
    model = replace(live.model, head=live.model.head.with_threshold(0.02))
    listed = loop._studying.boxed(loop._asked, replace(live, model=model), Snapshot.of(loop.replica))
    return sum(len(query.boxes) > 0 for query in listed.queries)


def after_a_full_disk(trainer, client, learner, acked):
    """A detector that could not be written to disk is live all the same, and is saved under the current class names."""
    wait_for(lambda: not learner.due, 60)
    file = trainer.folder / "detector" / "live.safetensors"
    file.unlink()
    file.mkdir()  # no file can take its place
    acked = draw(client, [7], after=acked)
    wait_for(lambda: trainer.loop.failed, 60)
    file.rmdir()
    wait_for(lambda: not learner.due, 60)
    row = Row(seq=acked + 1, id=uuid4(), action="class_renamed", label=1, name="box", created_at=WHEN)
    message = batch([row], catalog=24).model_copy(update={"task": "detection"}).model_dump(mode="json")
    assert client.post("/annotations", json=message).status_code == 200
    wait_for(lambda: client.get("/status").json()["model_version"] == learner.version, 60)
    saved = client.post("/models", json={"name": "renamed"}).json()["model_version"]
    [version] = [each for each in client.get("/models").json()["models"] if each["version"] == saved]
    assert [each["name"] for each in version["classes"]] == ["box", "disc"]
    assert version["labels"] == 7


def moved(image, split, *, after):
    return Row(seq=after + 1, id=uuid4(), action="split_changed", image_id=image, split=split, created_at=WHEN)
