"""Training a version as a job, on small images of two colours, from scratch."""

import os
import signal
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from starlette.testclient import TestClient

from shared.wire.models import TrainRequest
from tests.services import HOME
from tests.trainer.jobs.test_challenge import work
from tests.trainer.jobs.test_job_queue import finished, running
from tests.trainer.learning import client, learning, photos, picture, teach, trainer, truth, wait_for  # noqa: F401
from tests.trainer.logs import LOG, batch, label_rows
from tests.trainer.versions.test_library import say, taught  # noqa: F401
from trainer.jobs import train as train_job
from trainer.jobs.train import _parts, hold_out, run, tasks_of
from trainer.learners.fine_tuner import RATE
from trainer.routes.api import create_api
from trainer.work.job_context import LabeledImage

SMALL = {"architecture": "test_resnet", "weights": "none", "input_size": 32, "epochs": 2, "batch_size": 8}
UPLOAD = [("images", ("x.png", picture((220, 30, 30), 77), "image/png"))]


ANNS = set(range(34))
"""The train images that ann labeled; bob labeled the others."""


@pytest.fixture
def many(taught):  # noqa: F811
    """40 labels to learn from, and 20 to measure on."""
    acked = teach(taught, range(12, 34), after=34)
    rows = [
        row.model_copy(update={"annotator": "bob"})
        for row in label_rows([(i, truth(i)) for i in range(34, 40)], after=acked)
    ]
    taught.post("/annotations", json=batch(rows, catalog=60).model_dump(mode="json"))
    wait_for(lambda: taught.get("/status").json()["labels"] == 40)
    return taught


def test_a_network_is_trained_from_scratch_survives_a_kill_and_answers(many, trainer):  # noqa: F811
    asked = {**SMALL, "weights": "auto", "epochs": 8, "learning_rate": 0.01, "train": {"annotator": "ann"}}
    job = say(many, "/models", json={"name": "small", "train": asked})
    process = running(trainer.jobs)
    checkpoint = trainer.folder / "jobs" / job["id"] / "checkpoint.safetensors"
    wait_for(checkpoint.is_file, 200)
    os.kill(process, signal.SIGKILL)
    (checkpoint.parent / "seconds").write_text("1000")  # the seconds that it has worked so far
    ended = finished(many, job)
    assert (ended["state"], ended["attempts"]) == ("done", 2), ended
    assert not checkpoint.exists()
    version = many.get("/models/small").json()
    assert version["seconds"] == ended["result"]["seconds"] > 1000
    assert version["learner"] == "fine_tuner"
    assert version["architecture"] == "test_resnet"
    assert version["labels"] == 34  # too few to spare some for choosing the epoch
    assert (version["config"]["validation_images"], version["config"]["validation_accuracy"]) == (0, None)
    chosen, without = ended["result"]["notes"]
    assert "All train labels were learned" in chosen
    assert "No published weights of 'test_resnet' were available" in without
    assert ended["result"]["best_epoch"] == 8
    assert version["metrics"]["accuracy"]["n"] == 20
    assert version["metrics"]["accuracy"]["value"] > 0.8
    rows = trainer.registry.get("small").dataset()
    assert {row["split"] for row in rows} == {"train", "test"}
    assert {int(row["image_id"]) for row in rows if row["split"] == "train"} == ANNS
    said = say(many, "/predict?version=small", files=UPLOAD)
    assert said["predictions"][0]["label"] == "red"
    say(many, "/models/small/promote")
    assert many.post("/models", json={"name": "small", "train": SMALL}).status_code == 409
    # A clone with another configuration, from shrunk and perturbed weights, measured on a single class.
    clone = {"base": "small", "weights": "base", "epochs": 1, "learning_rate": 0.001}
    clone["test"] = {"split": "test", "label": "red"}
    trainer.replica.test_chances = dict.fromkeys(range(40, 60), 0.5)  # an active test
    ended = finished(many, say(many, "/models", json={"name": "clone", "train": clone}))
    assert ended["state"] == "done", ended
    cloned = many.get("/models/clone").json()
    assert (cloned["parent"], cloned["architecture"], cloned["input"]["size"]) == ("small", "test_resnet", 32)
    assert cloned["config"]["patience"] == version["config"]["patience"]
    assert many.delete("/models/small").status_code == 409
    # It keeps the filter that the request does not override.
    rows = trainer.registry.get("clone").dataset()
    assert {int(row["image_id"]) for row in rows if row["split"] == "train"} == ANNS
    assert {row["label"] for row in rows if row["split"] == "test"} == {"red"}
    assert cloned["metrics"]["accuracy"]["n"] == 10
    figures = version["metrics"], cloned["metrics"]
    assert [(each["active"], each["at_random"]) for each in figures] == [(False, True), (True, False)]
    assert [each["macro_f1"] is None for each in figures] == [False, True]
    assert "the accuracy is probably too low" in many.get("/models/clone/export?format=card").text
    assert "annotator ann" in many.get("/models/clone/export?format=card").text


def test_held_out_labels_leave_every_class_something_to_learn():
    counts = {1: 400, 2: 40, 3: 2, 4: 1}
    given = [label for label, count in counts.items() for _ in range(count)]
    images = [LabeledImage(i, "", f"{i * 2_654_435_761 % 2**32:08x}", "train", k) for i, k in enumerate(given)]
    learned, held = hold_out(images, np.array(given))
    assert Counter(each.class_id for each in held) == {1: 60, 2: 6, 3: 1}
    assert sorted([*learned, *held], key=lambda each: each.image_id) == images
    assert hold_out(images[::-1], np.array(given[::-1]))[1] == held[::-1]  # chosen by their content, in any order


def test_answers_that_mention_no_learned_class_choose_no_threshold(tmp_path, monkeypatch):
    """Images with several classes. Only two of them say something about red, and neither of these is spared."""
    monkeypatch.setattr(train_job, "MEASURED_AT_ONCE", 2)
    given = work(tmp_path, lambda _: [])
    answers = [{"yes": [1], "no": []}, {"yes": [2], "no": [1]}, *[{"yes": [2], "no": []}] * 10]
    tests = [replace(image, split="test", answer={"yes": [1], "no": [2]}) for image in given.images[12:17]]
    (tmp_path / "photos" / tests[1].uri).unlink()
    given.images = [*(replace(each, answer=said) for each, said in zip(given.images, answers, strict=False)), *tests]
    asked = {"train": {"epochs": 1, "batch_size": 2}, "name": "whole", "task": "multilabel", "acked_seq": 3}
    asked |= {"classes": {"names": {"1": "red", "2": "blue"}}, "log_id": str(LOG)}
    given.job = given.job.model_copy(update={"kind": "train", "request": asked})
    trained = run(given)
    assert trained["notes"][1] == (
        "No epoch and no threshold was chosen: the answers for that do not mention the classes."
    )
    version = given.registry.get("whole").description
    assert [each.name for each in version.classes] == ["red"]
    assert version.metrics.test_labels == 4  # measured two at a time, without the image that is gone


def test_holding_out_labels_loses_no_class(tmp_path):
    """Images with several classes. Everybody said yes to red, but for one image, which would be held out."""
    given = work(tmp_path, lambda _: [])
    first = min(given.images, key=lambda each: each.sha256)
    given.images = [
        replace(
            each,
            answer={"yes": [2], "no": [1]}
            if each is first
            else {"yes": [1], "no": [2]}
            if row % 2
            else {"yes": [2], "no": []},
        )
        for row, each in enumerate(given.images)
    ]
    notes = []
    task, values = tasks_of(given)
    parts, chooses = _parts(given, task, values, notes)
    assert first in parts["train"]
    assert task.learnable(task.targets([values(each) for each in parts["train"]])).tolist() == [1, 2]
    assert sorted(each.image_id for part in parts.values() for each in part) == list(range(len(given.images)))
    assert (chooses, f"{len(parts['validation'])} train labels chose the thresholds" in notes[0]) == (False, True)
    assert (
        len(parts["validation"])
        == len(hold_out(given.images, task.kinds(task.targets(list(map(values, given.images)))))[1]) - 1
    )


def test_filters_that_choose_nothing_to_learn_from_are_refused(many):
    for train, said in [
        ({"train": {"split": "test"}}, "only select train images"),
        ({"train": {"label": "green"}}, "no class 'green'"),
        ({"train": {"label": "red"}}, "selected by 'train'"),
        ({"train": {"annotater": "ann"}}, "annotater"),
    ]:
        answer = many.post("/models", json={"name": "new", "train": {**SMALL, **train}})
        assert (answer.status_code, said in answer.json()["detail"]) == (422, True), answer.text


def test_pretrained_weights_from_a_file(tmp_path, photos):  # noqa: F811
    torch.manual_seed(0)
    weights = tmp_path / "weights.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), weights)
    given = {"backbone": "test_resnet", "backbone_weights": weights, "input_size": 32, "backbone_mean": "0.5,0.5,0.5"}
    given["weights_folder"] = tmp_path / "larger"
    given["weights_folder"].mkdir()
    save_file(
        timm.create_model("test_efficientnet").state_dict(), given["weights_folder"] / "test_efficientnet.safetensors"
    )
    with learning(tmp_path, photos, **given) as trainer:  # noqa: F811
        client = TestClient(create_api(trainer))
        teach(client, range(30))
        ended = finished(client, say(client, "/models", json={"name": "tuned", "train": {"epochs": 1}}))
        assert ended["state"] == "done", ended
        assert ended["result"]["epochs"] == 1  # as requested; there is none for the classifier alone
        tuned = client.get("/models/tuned").json()
        assert (tuned["config"]["weights"], tuned["input"]["size"], tuned["input"]["mean"]) == ("file", 32, [0.5] * 3)
        assert tuned["metrics"] is None  # no test image is labeled
        assert tuned["config"]["learning_rate"] == RATE  # a network with weights needs no search for a rate
        larger = {"architecture": "test_efficientnet", "epochs": 1, "input_size": 32}
        ended = finished(client, say(client, "/models", json={"name": "larger", "train": larger}))
        assert client.get("/models/larger").json()["config"]["weights"] == "file", ended
        other = {"architecture": "resnet18", "weights": "file", "epochs": 1}
        ended = finished(client, say(client, "/models", json={"name": "other", "train": other}))
        assert (ended["state"], "has a file for 'resnet18'" in ended["error"]) == ("failed", True)


def test_impossible_training_is_refused_with_a_reason(taught):  # noqa: F811
    for train, status, named in [
        ({"base": "gone"}, 404, "gone"),
        ({"epochs": 0}, 422, "epochs"),
        ({"weights": "magic"}, 422, "weights"),
        ({"speed": 11}, 422, "speed"),
        ({"architecture": "resnet_18"}, 422, "Did you mean resnet18"),
    ]:
        answer = taught.post("/models", json={"name": "new", "train": train})
        assert (answer.status_code, named in answer.json()["detail"]) == (status, True)
    assert taught.post("/models", json={"name": "a/b", "train": {}}).status_code == 422
    assert taught.get("/networks/resnet18").json() == {"name": "resnet18"}
    refused = taught.get("/networks/resnet_18")
    assert (refused.status_code, "Did you mean resnet18" in refused.json()["detail"]) == (422, True)
    assert taught.get("/jobs").json()["jobs"] == []
    bad = {"architecture": "resnet18", "input_size": 16, "epochs": 1, "weights": "file"}
    ended = finished(taught, say(taught, "/models", json={"name": "new", "train": bad}))
    assert (ended["state"], "has a file for 'resnet18'" in ended["error"]) == ("failed", True)


def test_without_labels_nothing_is_trained(client):  # noqa: F811
    answer = client.post("/models", json={"name": "new", "train": TrainRequest().model_dump()})
    assert answer.status_code == 422


def test_a_network_of_ones_own_is_trained_as_a_whole(tmp_path, photos, monkeypatch):  # noqa: F811
    """The network of the documentation."""
    docs = str(HOME / "docs" / "files")
    monkeypatch.syspath_prepend(docs)
    monkeypatch.setenv("PYTHONPATH", docs)
    with learning(tmp_path, photos, model_fn="own_network:network", input_size=32) as trainer:  # noqa: F811
        client = TestClient(create_api(trainer))
        teach(client, [*range(30), *range(40, 60)])
        asked = {"epochs": 5, "learning_rate": 0.01, "batch_size": 8}
        job = finished(client, say(client, "/models", json={"name": "mine", "train": asked}))
        assert job["state"] == "done", job
        version = client.get("/models/mine").json()
        assert (version["architecture"], version["config"]["weights"]) == ("own_network:network", "model_fn")
        assert version["metrics"]["accuracy"]["value"] > 0.8
        assert [row["epoch"] for row in version["config"]["trained"]["history"]] == [1, 2, 3, 4, 5]
        assert say(client, "/predict?version=mine", files=UPLOAD)["predictions"][0]["label"] == "red"
        onnx = client.get("/models/mine/export?format=onnx")
        assert onnx.status_code == 200, onnx.text
        for train, named in [
            ({"architecture": "os:getcwd"}, "not by a request"),
            ({"architecture": "own_network:network", "weights": "pretrained"}, "loads its own weights"),
        ]:
            answer = client.post("/models", json={"name": "other", "train": train})
            assert (answer.status_code, named in answer.json()["detail"]) == (422, True), answer.text
