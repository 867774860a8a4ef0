"""The challenger in real processes, with a network that cannot separate the classes until it is trained."""

import json
from hashlib import sha256

import psutil
import pytest
from starlette.testclient import TestClient

from tests import forks
from tests.trainer.jobs.test_job_queue import running
from tests.trainer.learning import picture, settings_for, teach, truth, wait_for
from tests.trainer.logs import batch, class_rows, entry, label_rows
from trainer.routes.api import create_api
from trainer.service import Trainer

RED, GREY = (200, 60, 120), (80, 60, 120)  # alike in blue
SHORTER = {"trainer.jobs.challenge.EPOCHS": [3, 8]}
SHORT = {"trainer.jobs.challenge.EPOCHS": [3, 3], "trainer.jobs.challenge.SCRATCH_SIZE": 32}
FITTED = {"model_fn": "tests.trainer.blind:network", "input_size": 16, "challenger": "on"}


def make(tmp_path, count):
    """Train images of two classes."""
    photos = tmp_path / "photos"
    photos.mkdir()
    entries = []
    for number in range(count):
        data = picture(GREY if number % 2 else RED, number)
        (photos / f"{number}.png").write_bytes(data)
        entries.append(entry(number, sha256=sha256(data).hexdigest()))
    return photos, entries


@pytest.fixture
def folder(tmp_path):
    """150 images; the last 30 are the test sample."""
    photos, entries = make(tmp_path, 150)
    return photos, [each.model_copy(update={"split": "test"}) if each.id >= 120 else each for each in entries]


def begin(tmp_path, folder, **more):
    photos, entries = folder
    trainer = Trainer(*settings_for(tmp_path, photos, **{**FITTED, **more}))
    if not trainer.replica.catalog:
        trainer.replica.update_catalog(entries, after=len(entries))
    trainer.catalog.complete.set()
    trainer.start()
    return trainer, TestClient(create_api(trainer))


def challenger(client):
    return client.get("/status").json()["challenger"]


def test_a_better_challenger_takes_over_and_the_chain_of_versions_says_so(tmp_path, folder, monkeypatch):
    monkeypatch.setenv(forks.CONSTANTS, json.dumps(SHORTER))
    trainer, client = begin(tmp_path, folder)
    try:
        frozen = trainer.loop.live.embedder.key
        teach(client, [*range(90), *range(120, 150)])
        wait_for(lambda: (now := challenger(client))["serving"] and now["last"], 200)
        status = client.get("/status").json()
        last = status["challenger"]["last"]
        assert last["better"]
        assert last["ground"] == "out of fold"
        assert last["accuracy"]["value"] > 0.9 > last["head"]["value"]
        assert last["p"] < 0.01
        assert last["accuracy"]["n"] == 90
        assert status["embedding"]["backbone"] == last["embeddings"] != frozen
        wait_for(lambda: client.get("/status").json()["metrics"]["accuracy"] > 0.9)
        base, new = client.get("/models").json()["models"]
        assert (new["version"], new["parent"]) == (status["challenger"]["serving"], base["version"])
        assert (base["embeddings"], new["embeddings"]) == (frozen, last["embeddings"])
        assert "took over" in new["reason"]
        assert new["metrics"]["accuracy"]["value"] > 0.9 > base["metrics"]["accuracy"]["value"]
        # Each version predicts with the backbone that it was fitted on.
        said = client.post("/predict", json={"image_ids": list(range(100, 110))}).json()["predictions"]
        assert [each["label"] for each in said] == ["red", "blue"] * 5
        for version in (base, new):
            assert client.post(f"/models/{version['version']}/promote").status_code == 200
        client.post("/models/now/promote")
        assert client.delete(f"/models/{new['version']}").status_code == 409  # its embeddings serve
    finally:
        trainer.close()
    # After a restart the same embeddings are live; with another backbone in the settings, that one is.
    trainer, client = begin(tmp_path, folder)
    try:
        assert trainer.loop.live.embedder.key == last["embeddings"]
        wait_for(lambda: client.get("/status").json()["labels"] == 90)
        assert challenger(client)["serving"] == new["version"]
    finally:
        trainer.close()
    trainer, client = begin(tmp_path, folder, model_fn="", backbone="pixels", challenger="off")
    try:
        assert challenger(client) == {**challenger(client), "serving": None, "state": "off"}
        assert client.get("/status").json()["embedding"]["backbone"].startswith("pixels")
    finally:
        trainer.close()


def test_no_round_is_begun_where_the_head_hardly_errs(tmp_path, folder):
    trainer, client = begin(tmp_path, folder, model_fn="", backbone="pixels", input_size=0)
    try:
        teach(client, range(60))
        wait_for(lambda: "errs on 0 of 60 images" in challenger(client)["message"])
        teach(client, range(60, 64), after=62)
        wait_for(lambda: client.get("/status").json()["labels"] == 64)
        wait_for(lambda: "next round begins at 66 labels" in challenger(client)["message"])
        assert trainer.rounds.list() == []
    finally:
        trainer.close()


def test_from_scratch_it_waits_for_whoever_asks_and_a_head_that_is_as_good_stays(tmp_path, folder, monkeypatch):
    monkeypatch.setenv(forks.CONSTANTS, json.dumps(SHORT))
    trainer, client = begin(tmp_path, folder, model_fn="", backbone="pixels", input_size=0)
    try:
        wrong = label_rows([(image, 3 - truth(image)) for image in range(9)], after=2)
        rows = [*class_rows("red", "blue"), *wrong, *label_rows([(i, truth(i)) for i in range(9, 60)], after=11)]
        client.post("/annotations", json=batch(rows, catalog=60).model_dump(mode="json"))
        process = psutil.Process(running(trainer.rounds))
        wait_for(lambda: challenger(client)["state"] == "training", 60)
        client.post("/pause")
        wait_for(lambda: process.status() == psutil.STATUS_STOPPED)
        assert "paused" in challenger(client)["message"]
        client.post("/resume")
        wait_for(lambda: process.status() != psutil.STATUS_STOPPED)
        client.post("/stop")
        wait_for(lambda: not process.is_running(), 5)  # its memory is free for a job that follows
        assert challenger(client)["state"] == "halted"
        client.post("/resume")
        last = wait_for(lambda: challenger(client)["last"], 200)
        assert (last["better"], last["embeddings"]) == (False, None)
        assert last["head"]["value"] > 0.7
        assert trainer.rounds.list()[0].attempts == 1
        assert client.get("/models").json()["models"][-1]["reason"] == "asked to stop"
        wait_for(lambda: "next round begins at 66 labels" in challenger(client)["message"])
        client.patch("/settings", json={"challenger": "off"})
        wait_for(lambda: challenger(client)["state"] == "off")
    finally:
        trainer.close()


def test_on_a_laptop_without_a_gpu_there_is_none_unless_asked_for(tmp_path, folder):
    trainer, client = begin(tmp_path, folder, challenger="auto", device="cpu")
    try:
        teach(client, range(90))
        wait_for(lambda: client.get("/status").json()["labels"] == 90)
        assert challenger(client)["state"] == "off"
        assert "GPU" in challenger(client)["message"]
        assert trainer.rounds.list() == []
    finally:
        trainer.close()


def test_enough_validation_labels_judge_and_are_not_learned(tmp_path, monkeypatch):
    monkeypatch.setenv(forks.CONSTANTS, json.dumps(SHORTER))
    photos, entries = make(tmp_path, 280)
    entries = [each.model_copy(update={"split": "validation"}) if each.id >= 80 else each for each in entries]
    trainer, client = begin(tmp_path, (photos, entries))
    try:
        teach(client, [*range(60), *range(80, 280)])
        wait_for(lambda: (now := challenger(client))["serving"] and now["last"], 200)
        last = challenger(client)["last"]
        assert (last["ground"], last["labels"], last["accuracy"]["n"]) == ("validation", 60, 200)
        assert last["accuracy"]["value"] > 0.9 > last["head"]["value"]
        # What has judged goes on judging; a test sample there is not.
        assert client.get("/models").json()["models"][-1]["metrics"] is None
    finally:
        trainer.close()
