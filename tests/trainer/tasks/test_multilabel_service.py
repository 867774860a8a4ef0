"""A running trainer in a multi-label project: predictions, versions, exports, and refusals."""

from __future__ import annotations

import csv
import io
import runpy
from hashlib import sha256
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from shared.wire.fields import Split
from shared.wire.log import Row
from tests.services import HOME
from tests.standing import api_of
from tests.trainer.learning import learning, wait_for
from tests.trainer.logs import WHEN, batch, class_rows, entry
from trainer.routes.api import create_api
from trainer.strategies import STRATEGIES

RED, BLUE, GREY = (220, 30, 30), (30, 30, 220), (128, 128, 128)
IMAGES, TEST = 80, 25


def has(number: int) -> tuple[bool, bool]:
    """Whether the image is red at the left, and blue at the right."""
    return bool(number % 2), number % 3 == 0


def picture(number: int) -> bytes:
    left, right = has(number)
    colours = np.empty((24, 24, 3))
    colours[:, :12], colours[:, 12:] = (RED if left else GREY), (BLUE if right else GREY)
    noise = np.random.default_rng(number).integers(-25, 25, (24, 24, 3))
    stream = io.BytesIO()
    Image.fromarray(np.clip(colours + noise, 0, 255).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def answered(seq: int, number: int, there: tuple[bool, bool]) -> Row:
    """A row that says of an image whether red and blue are there."""
    yes, no = ([each for each, said in zip((1, 2), there, strict=True) if said is wanted] for wanted in (True, False))
    content = {"action": "label", "image_id": number, "answer": {"yes": yes, "no": no}, "annotator": "ann"}
    return Row.model_validate({"id": uuid4(), "seq": seq, "created_at": WHEN} | content)


def send(client: TestClient, rows: list[Row]) -> None:
    message = batch(rows, catalog=IMAGES).model_copy(update={"task": "multilabel"})
    assert client.post("/annotations", json=message.model_dump(mode="json")).status_code == 200


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """A trainer that knows answers about red and blue, and has a class that no answer is about."""
    folder = tmp_path_factory.mktemp("several")
    entries = []
    (folder / "photos").mkdir()
    for number in range(IMAGES):
        data = picture(number)
        (folder / "photos" / f"{number}.png").write_bytes(data)
        split: Split = "test" if number >= IMAGES - TEST else "train"
        entries.append(entry(number, split=split, sha256=sha256(data).hexdigest()))
    with learning(folder, (folder / "photos", entries)) as trainer, api_of(create_api, trainer) as app:
        client = TestClient(app)
        rows = class_rows("red", "blue", "green")
        for number in [*range(40), *range(IMAGES - TEST, IMAGES)]:
            rows.append(answered(len(rows) + 1, number, has(number)))
        send(client, rows)
        wait_for(lambda: client.get("/status").json()["metrics"].get("test_labels") == TEST)
        wait_for(lambda: client.post("/models", json={"name": "first"}).status_code in (200, 201))
        yield client


def names(number):
    return [name for name, there in zip(("red", "blue"), has(number), strict=True) if there]


@pytest.mark.parametrize("version", ["now", "first"])
def test_predictions_are_probabilities_of_each_class(api, version):
    asked = list(range(40, 55))
    said = api.post("/predict", params={"version": version}, json={"image_ids": asked}).json()["predictions"]
    assert np.mean([each["labels"] == names(number) for each, number in zip(said, asked, strict=True)]) > 0.8
    for each in said:
        assert each["label"] == ";".join(each["labels"])
        assert set(each["probabilities"]) == {"red", "blue"}
        assert 0 <= each["confidence"] <= 1
    sums = [sum(each["probabilities"].values()) for each in said]
    assert max(sums) > 1.5
    assert min(sums) < 0.5


def test_a_version_predicts_the_same_as_the_live_model(api):
    both = [
        api.post("/predict", params={"version": version}, json={"image_ids": [41, 42]}).json()["predictions"]
        for version in ("now", "first")
    ]
    for live, saved in zip(*both, strict=True):
        assert live["labels"] == saved["labels"]
        assert live["probabilities"] == pytest.approx(saved["probabilities"], abs=1e-3)


def test_unlearned_classes_are_named(api):
    assert api.get("/status").json()["not_learned"] == ["green"]
    newest = api.get("/evaluations").json()["evaluations"][-1]
    assert [each["learned"] for each in newest["classes"]] == [True, True, False]
    assert newest["micro_f1"]["n"] == TEST
    assert api.get("/status").json()["metrics"]["micro_f1"] == newest["micro_f1"]["value"]


def test_the_card_and_the_labels_of_a_version_tell_several_classes(api):
    card = api.get("/models/first/export", params={"format": "card"}).text
    assert "2 classes, of which an image can have any number" in card
    assert "| mean average precision |" in card
    assert "An image of anything else" not in card
    table = api.get("/models/first/export", params={"format": "csv"}).text
    cells = {int(row["image_id"]): row for row in csv.DictReader(io.StringIO(table))}
    assert (cells[3]["label"], cells[3]["class_id"]) == ("red;blue", "1;2")
    assert cells[1]["label"] == "red"
    assert cells[2]["label"] == ""


def test_strategies_that_need_one_class_are_neither_offered_nor_taken(api):
    offered = [each["name"] for each in api.get("/strategies").json()["strategies"]]
    assert offered == [name for name, registered in STRATEGIES.items() if registered.several]
    refused = api.patch("/settings", json={"query_strategy": "margin"})
    assert refused.status_code == 422
    assert "In a multi-label project, choose one of uncertainty_herding" in refused.json()["detail"]
    assert api.patch("/settings", json={"query_strategy": "entropy"}).status_code == 200


def test_thresholds_name_what_is_measured(api):
    taken = api.patch("/settings", json={"early_stopping_metrics_thresholds": {"mean_average_precision": 0.99}})
    assert taken.status_code == 200


@pytest.fixture(scope="module")
def whole(api):
    """A whole network, as a version; it was trained from scratch."""
    asked = {"architecture": "test_resnet", "weights": "none", "input_size": 32, "epochs": 6, "learning_rate": 0.01}
    refused = api.post("/models", json={"name": "whole", "train": {**asked, "train": {"label": "green"}}})
    assert (refused.status_code, "that some train images have and others lack" in refused.text) == (422, True)
    job = api.post("/models", json={"name": "whole", "train": {**asked, "batch_size": 8}}).json()["id"]
    ended = wait_for(lambda: (seen := api.get(f"/jobs/{job}").json())["state"] in ("done", "failed") and seen, 200)
    assert ended["state"] == "done", ended
    assert any("train labels chose the thresholds" in note for note in ended["result"]["notes"])
    return api.get("/models/whole").json()


def test_a_whole_network_learns_several_classes_and_answers(api, whole):
    assert whole["learner"] == "sigmoid_fine_tuner"
    assert [each["name"] for each in whole["classes"]] == ["red", "blue"]  # no answer says anything about green
    assert whole["metrics"]["macro_f1"] > 0.8
    assert whole["metrics"]["micro_f1"]["n"] == TEST
    assert whole["labels"] < 40
    asked = list(range(40, 55))
    said = api.post("/predict", params={"version": "whole"}, json={"image_ids": asked}).json()["predictions"]
    assert np.mean([each["labels"] == names(number) for each, number in zip(said, asked, strict=True)]) > 0.8
    card = api.get("/models/whole/export", params={"format": "card"}).text
    assert "A fine-tuned network with one sigmoid for each class" in card
    assert "| mean average precision |" in card
    assert api.post("/models/whole/promote").status_code == 200
    assert api.post("/models/now/promote").status_code == 200


def test_two_versions_are_compared_on_the_same_images(api, whole):
    assert api.post("/models", json={"name": "second"}).status_code in (200, 201)
    both = {"base": "first", "candidate": "second"}
    refused = api.post("/models/compare", json={**both, "min_delta": {"map_50": 0}})
    assert "not measured by 'map_50'" in refused.json()["detail"]
    job = api.post("/models/compare", json={**both, "significant": True}).json()["id"]
    ended = wait_for(lambda: (seen := api.get(f"/jobs/{job}").json())["state"] in ("done", "failed") and seen, 120)
    found = ended["result"]
    assert found, ended["error"]
    assert (found["images"], found["looked_at"], found["differing"]) == (TEST, IMAGES - TEST, [])
    assert [check["metric"] for check in found["checks"]] == ["macro_f1"]
    assert found["candidate"]["macro_f1"] == found["base"]["macro_f1"] > 0.6
    assert found["macro_f1_gain"] == {"value": 0.0, "low": 0.0, "high": 0.0, "n": TEST, "unlabeled": 0}
    assert found["decision"] == "discard"
    assert "the gain in macro F1 is not significant" in found["reason"]
    assert [curve["name"] for curve in found["base"]["curves"]] == [None, "red", "blue", "green"]
    job = api.post("/models/compare", json={"base": "first", "candidate": whole["version"]}).json()["id"]
    ended = wait_for(lambda: (seen := api.get(f"/jobs/{job}").json())["state"] in ("done", "failed") and seen, 120)
    assert (ended["result"]["images"], ended["result"]["candidate"]["macro_f1"]) == (TEST, whole["metrics"]["macro_f1"])
    recorded = api.post("/models/compare", json={**both, "recorded": True}).json()["result"]
    assert recorded["candidate"]["micro_f1"]["n"] == TEST


@pytest.mark.parametrize("version", ["first", "whole"])
def test_an_onnx_export_says_the_same_without_flywheel(api, whole, version, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    answer = api.get(f"/models/{version}/export", params={"format": "onnx"})
    assert answer.status_code == 200, answer.text
    (tmp_path / "model.onnx").write_bytes(answer.content)
    asked = [41, 42, 45]
    for number in asked:
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    script = runpy.run_path(str(HOME / "docs" / "files" / "run_export.py"))
    script["main"](str(tmp_path / "model.onnx"), *(str(tmp_path / f"{number}.png") for number in asked))
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    said = api.post("/predict", params={"version": version}, json={"image_ids": asked}).json()["predictions"]
    assert [line[1] for line in lines] == ["; ".join(each["labels"]) or "none of these" for each in said]
    for line, each in zip(lines, said, strict=True):
        sure = [float(share) for share in line[2].split("; ") if share]
        assert sure == pytest.approx([each["probabilities"][name] for name in each["labels"]], abs=2e-3)


def test_doubtful_answers_come_by_the_same_route(api):
    found = wait_for(lambda: (said := api.get("/label-issues").json())["judged"] and said)
    assert (found["judged"], found["missing"], found["issues"]) == (40, 0, [])
    red, blue = has(7)
    send(api, [answered(api.get("/status").json()["acked_seq"] + 1, 7, (not red, blue))])
    (issue,) = wait_for(lambda: api.get("/label-issues").json()["issues"])
    assert (issue["image_id"], issue["label"], issue["proposed"], issue["given"]) == (7, 1, 1, not red)
    assert issue["label_name"] == issue["proposed_name"] == "red"
    assert api.get("/near-duplicates").status_code == 200
