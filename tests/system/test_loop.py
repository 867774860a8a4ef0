"""The core loop: click, learn, ask again; stop, resume, restart. Both real services, real HTTP."""

import csv
import shutil
from pathlib import Path

import httpx
import pytest

from tests.services import running_services, wait_for

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def services():
    # Images are in the test sample by chance, and some must be left when fourteen have been asked.
    with running_services(images=180, labeler={"test_set_frac": 0.25}) as services:
        yield services


def last_evaluation(services):
    return services.get("/api/progress")["evaluations"][-1]


def test_the_queue_is_ordered_before_the_first_label(services):
    wait_for(lambda: services.get("/api/project")["query_version"] >= 1, "the cold-start order")
    (item,) = services.queue("fresh")
    assert item["score"] is not None
    assert item["reason"]
    assert item["suggestions"] == []  # there is no label yet


def test_a_batch_changes_the_queue_and_brings_suggestions(services):
    before = services.get("/api/project")["query_version"]
    services.label(10)
    seq = services.get("/api/project")["last_seq"]
    wait_for(lambda: services.get("/api/project")["query_acked_seq"] >= seq, "a list that has seen the labels")
    assert services.get("/api/project")["query_version"] > before
    (item,) = services.queue("fresh")
    assert {s["name"] for s in item["suggestions"]} <= {"red", "green", "blue"}
    assert item["suggestions"][0]["confidence"] > 1 / 3


def test_accuracy_is_measured_on_images_that_nothing_learns_from(services):
    services.label(50)
    measured = wait_for(lambda: services.get("/api/progress")["evaluations"], "an evaluation")
    wait_for(services.caught_up, "the trainer")
    splits = {e["id"]: e["split"] for e in services.get("/api/images?after=0&limit=1000")["images"]}
    rows = [r for r in services.get("/api/annotations?after=0&limit=5000")["annotations"] if r["action"] == "label"]
    tested = sum(splits[row["image_id"]] == "test" for row in rows)
    assert tested >= 1
    status = wait_for(lambda: (s := services.status())["labels"] + tested == len(rows) and s, "the last fit")
    measured = last_evaluation(services)
    assert 0 < measured["accuracy"]["n"] <= tested
    assert measured["accuracy"]["low"] <= measured["accuracy"]["value"] <= measured["accuracy"]["high"]
    assert status["metrics"]["accuracy"] > 0.8  # three colours are easy


def test_test_images_are_asked_blind(services):
    splits = {e["id"]: e["split"] for e in services.get("/api/images?after=0&limit=1000")["images"]}
    items = services.queue("fresh", limit=30)
    tests = [item for item in items if splits[item["image_id"]] == "test"]
    assert tests
    for item in tests:
        assert (item["purpose"], item["suggestions"], item["reason"], item["score"]) == ("test", [], None, None)
    on_the_map = httpx.get(f"{services.trainer.url}/map", timeout=20).json()["image_ids"]
    assert on_the_map
    assert not [image_id for image_id in on_the_map if splits[image_id] == "test"]


def test_an_active_test_weights_its_answers(services):
    change = httpx.patch(f"{services.labeler.url}/api/settings", json={"test_order": "active"}, timeout=20)
    change.raise_for_status()

    def weighed():
        services.label(5)
        return last_evaluation(services)["active"] and last_evaluation(services)

    evaluation = wait_for(weighed, "an evaluation that knows the chances")
    assert evaluation["at_random"]
    assert 0 < evaluation["accuracy"]["low"] <= evaluation["accuracy"]["value"] <= evaluation["accuracy"]["high"]
    assert evaluation["macro_f1"] is None
    assert sum(map(sum, evaluation["confusion"])) == evaluation["accuracy"]["n"]


def test_stop_saves_and_resume_goes_on(services):
    rows = services.get("/api/project")["images"]["labeled"]
    services.label(3)  # less than a buffer: the stop must flush it
    httpx.post(f"{services.trainer.url}/stop", timeout=20).raise_for_status()
    status = wait_for(lambda: (s := services.status())["state"] == "stopped" and s, "the stop")
    wait_for(lambda: "Trainer safely shut down" in "".join(services.trainer.log), "the last word")
    with Path(status["saved"]["dataset"]).open(newline="") as stream:
        saved = list(csv.DictReader(stream))
    assert len(saved) == rows + 3
    assert all(services.truth[Path(row["uri"]).name] == row["label"] for row in saved)
    assert Path(status["saved"]["model"]).is_file()
    assert last_evaluation(services)["final"] is True

    services.label(2)  # a stopped trainer still takes labels
    wait_for(services.caught_up, "the acknowledgement")
    assert services.status()["state"] == "stopped"
    httpx.post(f"{services.trainer.url}/resume", timeout=20).raise_for_status()
    wait_for(lambda: services.status()["state"] == "training", "training")


def test_everything_is_there_after_a_restart(services):
    wait_for(
        lambda: last_evaluation(services)["acked_seq"] == services.get("/api/project")["last_seq"], "the last round"
    )
    before = services.get("/api/project")
    curve = services.get("/api/progress")["evaluations"]
    order = [item["image_id"] for item in services.queue("fresh", limit=10)]
    services.labeler.end()
    services.trainer.end()
    services.labeler.start()  # the trainer is still away
    after = services.get("/api/project")
    assert after["last_seq"] == before["last_seq"]
    assert after["images"] == before["images"]
    assert services.get("/api/progress")["evaluations"] == curve
    again = [item["image_id"] for item in services.queue("fresh", limit=10)]
    assert again == order
    services.trainer.start()
    wait_for(lambda: services.status()["model_version"], "the model")
    assert services.status()["metrics"]["test_labels"] == curve[-1]["accuracy"]["n"]


def test_a_trainer_without_its_files_gets_everything_again(services):
    labels = wait_for(lambda: services.caught_up() and services.status()["labels"], "the model")
    services.trainer.kill()
    shutil.rmtree(services.workspace / "trainer")
    services.trainer.start()
    wait_for(services.caught_up, "the whole log")
    wait_for(lambda: services.status()["labels"] == labels, "the model of before")
