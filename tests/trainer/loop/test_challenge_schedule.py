"""The challenger in real processes, with a network that cannot separate the classes until it is trained."""

import json
import os
from hashlib import sha256
from uuid import uuid4

import psutil
import pytest
from starlette.testclient import TestClient

from shared.wire.log import Row
from tests import forks
from tests.trainer.jobs.test_job_queue import running
from tests.trainer.learning import picture, settings_for, teach, truth, wait_for
from tests.trainer.logs import LOG, WHEN, batch, class_rows, entry, label_rows
from trainer.loop import challenge_schedule
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
        assert client.delete(f"/models/{new['version']}").status_code == 409  # its embeddings are in use
    finally:
        trainer.close()
    # After a restart, the same embeddings are live, unless the settings name another backbone.
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


def test_no_round_begins_if_the_head_makes_few_mistakes(tmp_path, folder):
    trainer, client = begin(tmp_path, folder, model_fn="", backbone="pixels", input_size=0)
    try:
        teach(client, range(60))
        wait_for(lambda: "is wrong on 0 of 60 images" in challenger(client)["message"])
        teach(client, range(60, 64), after=62)
        wait_for(lambda: client.get("/status").json()["labels"] == 64)
        wait_for(lambda: "next round begins at 66 labels" in challenger(client)["message"])
        assert trainer.rounds.list() == []
    finally:
        trainer.close()


def several(client, numbers):
    """Answers to what the network sees, whether an image has blue, and to what it does not see, whether it has red."""
    rows = class_rows("red", "blue")
    for number in numbers:
        yes = [1] if number % 2 == 0 else []
        said = {"image_id": number, "answer": {"yes": yes, "no": [each for each in (1, 2) if each not in yes]}}
        row = Row(id=uuid4(), seq=len(rows) + 1, action="label", annotator="ann", created_at=WHEN, **said)
        rows.append(row)
    message = batch(rows, catalog=150).model_copy(update={"task": "multilabel"})
    assert client.post("/annotations", json=message.model_dump(mode="json")).status_code == 200


def test_a_round_of_several_classes_learns_what_the_head_misses_and_no_test_image(tmp_path, folder, monkeypatch):
    monkeypatch.setenv(forks.CONSTANTS, json.dumps({"trainer.jobs.challenge.EPOCHS": [300, 300]}))
    trainer, client = begin(tmp_path, folder)
    try:
        several(client, [*range(70), *range(120, 150)])
        (job,) = wait_for(trainer.rounds.list, 60)
        lines = (trainer.rounds.folder / job.id / "images.jsonl").read_text().splitlines()
        told = {row["image_id"]: row for line in lines if (row := json.loads(line)).get("answer")}
        assert set(told) == set(range(70))
        assert told[0]["answer"] == {"yes": [1], "no": [2]}
        assert {row["fold"] for row in told.values()} == {0, 1, 2}
        assert {tuple(row["head"]) for row in told.values()} <= {(), (1,)}
        assert (job.request["task"], job.request["challenge"]["judges"]) == ("multilabel", 70)
        running(trainer.rounds)
    finally:
        trainer.close()


def test_from_scratch_it_halts_for_pause_and_stop_and_an_equally_good_head_stays(tmp_path, folder, monkeypatch):
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
        wait_for(lambda: not process.is_running(), 5)  # so its memory is free for the next job
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


LAPTOP = {"challenger": "auto", "device": "cpu"}


def test_on_a_laptop_without_a_gpu_a_round_waits_for_many_labels_if_there_are_enough_images(
    tmp_path, folder, monkeypatch
):
    monkeypatch.setattr(challenge_schedule, "LEAST_IN_PAUSES", 110)
    trainer, client = begin(tmp_path, folder, **LAPTOP)
    try:
        teach(client, range(90))
        wait_for(lambda: client.get("/status").json()["labels"] == 90)
        wait_for(lambda: "at 110 labels of train images (now 90)" in challenger(client)["message"])
        assert challenger(client)["state"] == "waiting"
        assert "significantly better on 110 labeled train images" in challenger(client)["aim"]
        monkeypatch.setattr(challenge_schedule, "LEAST_IN_PAUSES", 121)  # one more than there are train images
        wait_for(lambda: "only 120 train images: it needs 121 labels" in challenger(client)["message"])
        assert "next round begins" not in challenger(client)["message"]
        assert challenger(client)["aim"] == ""
        assert trainer.rounds.list() == []
        client.patch("/settings", json={"challenger": "off"})
        wait_for(lambda: (challenger(client)["state"], challenger(client)["aim"]) == ("off", ""))
    finally:
        trainer.close()


def test_on_a_laptop_without_a_gpu_a_round_uses_only_pauses(tmp_path, folder, monkeypatch):
    """Halted while somebody labels, also after Stop and a kill, and at the lowest priority otherwise."""
    monkeypatch.setenv(forks.CONSTANTS, json.dumps({"trainer.jobs.challenge.EPOCHS": [3, 300]}))
    monkeypatch.setattr(challenge_schedule, "LEAST_IN_PAUSES", 60)
    monkeypatch.setattr(challenge_schedule, "QUIET_SECONDS", 3_600.0)
    trainer, client = begin(tmp_path, folder, **LAPTOP)

    def halted(other_than=None):
        process = psutil.Process(wait_for(lambda: (pid := running(trainer.rounds)) != other_than and pid))
        wait_for(lambda: process.status() == psutil.STATUS_STOPPED)
        return process

    try:
        teach(client, range(90))
        wait_for(lambda: "when nobody has labeled for 60 min" in challenger(client)["message"])
        assert trainer.rounds.list() == []
        monkeypatch.setattr(challenge_schedule, "QUIET_SECONDS", 0.0)  # a pause begins
        wait_for(lambda: (now := challenger(client))["state"] == "training" and now["seconds_left"] is not None, 120)
        assert "significantly better on 90 labeled train images" in challenger(client)["aim"]
        process = psutil.Process(running(trainer.rounds))
        assert process.nice() == 19
        assert os.sched_getscheduler(process.pid) == os.SCHED_IDLE
        monkeypatch.setattr(challenge_schedule, "QUIET_SECONDS", 3_600.0)  # somebody labels again
        assert halted() == process
        assert challenger(client)["state"] == "halted"
        assert "continues when nobody has labeled" in challenger(client)["message"]
        with trainer.control.jobs_held():
            pass  # a round of the loop in between does not wake it
        assert process.status() == psutil.STATUS_STOPPED
        process.kill()
        again = halted(other_than=process.pid)
        client.post("/stop")
        wait_for(lambda: not again.is_running())
        client.post("/resume")
        halted(other_than=again.pid)
        client.post("/pause")
        monkeypatch.setattr(challenge_schedule, "QUIET_SECONDS", 0.0)
        wait_for(lambda: "paused" in challenger(client)["message"])
        assert halted().pid == running(trainer.rounds)
    finally:
        trainer.close()


def test_on_a_laptop_without_a_gpu_no_round_is_begun_that_takes_too_long(tmp_path, folder, monkeypatch):
    for name, value in {"LEAST_IN_PAUSES": 60, "QUIET_SECONDS": 0.0, "LONGEST_SECONDS": 0.0}.items():
        monkeypatch.setattr(challenge_schedule, name, value)
    trainer, client = begin(tmp_path, folder, **LAPTOP)
    try:
        teach(client, range(90))
        wait_for(lambda: "a round would take about" in challenger(client)["message"])
        assert trainer.rounds.list() == []
    finally:
        trainer.close()


def test_on_a_laptop_without_a_gpu_a_challenger_that_was_not_ahead_waits_for_half_as_many_more(
    tmp_path, folder, monkeypatch
):
    monkeypatch.setattr(challenge_schedule, "LEAST_IN_PAUSES", 60)
    monkeypatch.setattr(challenge_schedule, "QUIET_SECONDS", 3_600.0)
    trainer, client = begin(tmp_path, folder, **LAPTOP)
    try:
        teach(client, range(90))
        asked = {"round": 1, "labels": 90, "ground": "out of fold"}
        for right, needed in ((80, "it needs 135 labels"), (84, "at 100 labels")):
            found = {"accuracy": {"value": right / 90, "low": 0.7, "high": 0.98, "n": 90}}
            found |= {"head": {"value": 82 / 90, "low": 0.7, "high": 0.98, "n": 90}}
            found |= {"gain": {"value": (right - 82) / 90, "low": -0.1, "high": 0.1, "n": 90}}
            result = {**asked, **found, "p": 0.8, "better": False, "notes": [], "seconds": 1.0}
            trainer.rounds.remember("challenge", {"challenge": asked, "log_id": str(LOG)}, result)
            wait_for(lambda needed=needed: needed in challenger(client)["message"])
    finally:
        trainer.close()


def test_auto_trains_nothing_where_no_network_embeds_the_images(tmp_path, folder):
    trainer, client = begin(tmp_path, folder, **LAPTOP, model_fn="", backbone="pixels", input_size=0)
    try:
        teach(client, range(90))
        wait_for(lambda: client.get("/status").json()["labels"] == 90)
        wait_for(lambda: "no network embeds the images" in challenger(client)["message"])
        assert challenger(client)["state"] == "off"
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
        # It was judged on the validation images, because there are no test images.
        assert client.get("/models").json()["models"][-1]["metrics"] is None
    finally:
        trainer.close()
