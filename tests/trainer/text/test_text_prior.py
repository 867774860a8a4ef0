"""Class names as a first guess, through a whole trainer."""

import io
import sys
import threading

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.trainer.learning import COLOURS, learning, picture, truth, wait_for
from tests.trainer.logs import batch, class_rows, entry, label_rows
from tests.trainer.text.networks import load_backbone, write_network
from trainer.columns.id_index import IdIndex
from trainer.embeddings import space
from trainer.routes.api import create_api
from trainer.sync.snapshot import Snapshot
from trainer.text.text_prior import TextPrior

NAMES = {1: "red", 2: "blue"}


@pytest.fixture
def photos(tmp_path):
    """200 train images in two colours."""
    from hashlib import sha256

    folder = tmp_path / "photos"
    folder.mkdir()
    entries = []
    for number in range(200):
        data = picture(COLOURS[truth(number)], number)
        (folder / f"{number}.png").write_bytes(data)
        entries.append(entry(number, sha256=sha256(data).hexdigest()))
    return folder, entries


def network(tmp_path, names=NAMES):
    """Settings of a network whose captions call the colours by these names."""
    seen = [Image.open(io.BytesIO(picture(COLOURS[one], 1_000 + one))) for one in names]
    captions = [f"a photo of a {name}" for name in names.values()]
    return write_network(tmp_path / "clip", list(zip(seen, captions, strict=True)))


def suggested(trainer):
    """The first suggestion of each image in the last list, if there is a list with suggestions."""
    push = trainer.loop._asked
    found = {query.image_id: query.suggestions[0].label for query in push.queries if query.suggestions} if push else {}
    return found or None


def told(client):
    return client.get("/status").json()["class_names"]


def test_names_suggest_before_the_first_label_and_the_model_takes_over(tmp_path, photos):
    with learning(tmp_path, photos, **network(tmp_path)) as trainer:
        client = TestClient(create_api(trainer))
        client.post("/annotations", json=batch(class_rows(*NAMES.values()), catalog=200).model_dump(mode="json"))
        wait_for(lambda: client.get("/status").json()["embedding"]["done"] == 200)
        first = wait_for(lambda: (now := suggested(trainer)) and len(now) == 100 and now)
        assert all(label == truth(image) for image, label in first.items())
        assert told(client)["state"] == "used"
        assert "20 answers will say" in told(client)["message"]
        assert client.get("/status").json()["model_version"] is None
        wait_for(lambda: len(trainer.loop.live.pool.space().train.ids) == 200)  # a moment later
        for words in NAMES.values():
            found = client.get("/described", params={"words": f"a photo of a {words}", "limit": 100}).json()["images"]
            assert {NAMES[truth(each["image_id"])] for each in found} == {words}
            assert found == sorted(found, key=lambda each: -each["similarity"])
        pool = trainer.loop.live.pool
        trainer.loop.text._seen, removed = None, pool._images.places
        pool._images.places = IdIndex(np.arange(199))  # an image is removed meanwhile
        gone = client.get("/described?words=red")
        assert (gone.status_code, gone.json()["detail"]) == (
            409,
            "Images have just been removed; ask again in a moment.",
        )
        pool._images.places = removed
        # The colours are easy, so the model is soon right as often as the names, and replaces them.
        rows = label_rows([(image, truth(image)) for image in range(20)], after=2)
        client.post("/annotations", json=batch(rows, catalog=200).model_dump(mode="json"))
        wait_for(lambda: told(client)["state"] == "dropped")
        assert told(client)["message"] == (
            "The class names are right about 20 of the first 20 answers, the model about 20: "
            "suggestions come from the model."
        )
        assert all(label == truth(image) for image, label in suggested(trainer).items())


def test_names_that_mislead_are_dropped_and_better_ones_stay(tmp_path, photos):
    swapped = {1: "blue", 2: "red"}
    with learning(tmp_path, photos, **network(tmp_path, swapped)) as trainer:
        client = TestClient(create_api(trainer))
        client.post("/annotations", json=batch(class_rows(*NAMES.values()), catalog=200).model_dump(mode="json"))
        first = wait_for(lambda: suggested(trainer))
        assert all(label != truth(image) for image, label in first.items())
        # A prompt for each class helps if the names mean something else to the network.
        client.patch("/settings", json={"text_prompts": ["a photo of a {}", "red = blue", "blue = red"]})
        wait_for(lambda: (now := suggested(trainer)) and all(label == truth(image) for image, label in now.items()))
        client.patch("/settings", json={"text_prompts": ["a photo of a {}"]})
        rows = label_rows([(image, truth(image)) for image in range(20)], after=2)
        client.post("/annotations", json=batch(rows, catalog=200).model_dump(mode="json"))
        wait_for(lambda: told(client)["state"] == "dropped")
        assert "right about 0 of the first 20 answers" in told(client)["message"]
        wait_for(lambda: (now := suggested(trainer)) and all(label == truth(image) for image, label in now.items()))
        client.patch("/settings", json={"text_prompts": ["a painting of a {}"]})  # other words get another chance
        wait_for(lambda: "a painting" in trainer.settings.text_prompts[0] and told(client)["state"] == "dropped")


def test_a_backbone_without_a_matching_text_network_is_reported(tmp_path, photos):
    given = {**network(tmp_path), "backbone": "pixels", "backbone_weights": "", "input_size": 0}
    with learning(tmp_path, photos, **given) as trainer:
        client = TestClient(create_api(trainer))
        client.post("/annotations", json=batch(class_rows(*NAMES.values()), catalog=200).model_dump(mode="json"))
        wait_for(lambda: told(client)["state"] == "failed")
        assert told(client)["message"].startswith("The backbone is no network")
        wait_for(lambda: trainer.loop._asked)
        assert suggested(trainer) is None
        assert client.get("/described?words=red").json()["detail"].startswith("The backbone is no network")


def test_a_text_network_whose_library_fails_is_said_and_does_not_load_for_ever(tmp_path, monkeypatch):
    loaded, backbone = load_backbone(tmp_path, network(tmp_path))
    broken = tmp_path / "broken" / "open_clip"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    for name in [each for each in sys.modules if each.split(".")[0] == "open_clip"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(broken.parent)
    prior, ended = TextPrior(loaded), threading.Event()
    prior.begin(backbone, ended.set)
    assert ended.wait(60)
    assert (prior.state, prior.message) == (
        "failed",
        "The text network cannot be loaded (operator torchvision::nms does not exist).",
    )


def test_the_names_are_back_when_their_network_is(tmp_path, photos):
    with learning(tmp_path, photos, **network(tmp_path)) as trainer:
        client = TestClient(create_api(trainer))
        client.post("/annotations", json=batch(class_rows(*NAMES.values()), catalog=200).model_dump(mode="json"))
        wait_for(lambda: suggested(trainer))
        text, live, snapshot = trainer.loop.text, trainer.loop.live, Snapshot.of(trainer.replica)
        assert text.guess(live.pool, None, snapshot) is None
        assert "Another network" in text.message
        assert text.guess(live.pool, live.embedder.backbone, snapshot) is not None
        assert text.state == "used"


def test_an_image_that_was_removed_and_is_back_is_guessed_as_before(tmp_path, photos, monkeypatch):
    monkeypatch.setattr(space, "LARGE", 100)  # in a small pool, a removal rebuilds the geometry
    with learning(tmp_path, photos, **network(tmp_path)) as trainer:
        client = TestClient(create_api(trainer))
        client.post("/annotations", json=batch(class_rows(*NAMES.values()), catalog=200).model_dump(mode="json"))
        wait_for(lambda: suggested(trainer) and trainer.loop.live.pool.complete and trainer.loop.live.pool.whole)
        text, live, snapshot = trainer.loop.text, trainer.loop.live, Snapshot.of(trainer.replica)
        pool, backbone = live.pool, live.embedder.backbone
        row, before = pool.train.row_of[3], text.guess(pool, backbone, snapshot).probabilities
        pool.drop(np.array([3]))
        text.start_over()
        assert text.guess(pool, backbone, snapshot) is not None
        pool.add([photos[1][3]], complete=True)
        assert pool.train.row_of[3] == row
        np.testing.assert_allclose(text.guess(pool, backbone, snapshot).probabilities[row], before[row], atol=1e-5)
