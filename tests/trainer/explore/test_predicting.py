"""A running trainer's predictions: for named images, uploads, and the whole pool."""

import pytest

from shared.pool_predictions import MEDIA_TYPE, PredictionColumns
from tests.trainer.learning import COLOURS, picture, teach, truth, wait_for


def test_predictions_come_in_the_order_given(client):
    assert client.post("/predict", json={"image_ids": [1]}).status_code == 409  # no model yet
    teach(client, range(12))
    wait_for(lambda: client.get("/status").json()["labels"] == 12)
    answer = client.post("/predict", json={"image_ids": [30, 31, 32]}).json()
    assert [p["label"] for p in answer["predictions"]] == ["red", "blue", "red"]
    assert all(abs(sum(p["probabilities"].values()) - 1) < 1e-4 for p in answer["predictions"])
    uploads = [("images", (f"{n}.png", picture(COLOURS[n], 1_000 + n), "image/png")) for n in (2, 1, 2)]
    answer = client.post("/predict", files=uploads).json()
    assert [p["label"] for p in answer["predictions"]] == ["blue", "red", "blue"]
    broken = client.post("/predict", files=[("images", ("x.png", b"not an image", "image/png"))])
    assert broken.status_code == 422
    assert client.post("/predict", json={"image_ids": [999]}).status_code == 404


def test_predictions_of_the_pool_name_no_test_image(client):
    assert "label images of at least two classes" in client.get("/predictions").json()["detail"]
    teach(client, range(12))
    wait_for(lambda: client.get("/status").json()["embedding"]["done"] == 60)
    wait_for(lambda: client.get("/status").json()["labels"] == 12)
    said = wait_for(lambda: (answer := client.get("/predictions")).status_code == 200 and answer.json())
    assert sorted(said["image_ids"]) == list(range(40))
    assert said["labels"] == [truth(image) for image in said["image_ids"]]
    assert all(0.5 <= confidence <= 1 for confidence in said["confidences"])
    packed = client.get("/predictions", headers={"accept": MEDIA_TYPE})
    assert packed.headers["content-type"] == MEDIA_TYPE
    columns = PredictionColumns.from_bytes(packed.content)
    assert columns.model_version == said["model_version"]
    assert columns.image_ids.tolist() == said["image_ids"]
    assert columns.labels.tolist() == said["labels"]
    assert columns.confidences.round(4).tolist() == pytest.approx(said["confidences"])
