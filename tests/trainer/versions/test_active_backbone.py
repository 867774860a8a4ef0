"""Starting from a saved version: its network computes the embeddings."""

import numpy as np
import pytest
import timm
from starlette.testclient import TestClient

from shared.settings.services import SettingsError
from shared.wire.models import ModelInput
from tests.trainer.descriptions import description
from tests.trainer.learning import client, photos, settings_for, teach, trainer, wait_for  # noqa: F401
from trainer.routes.api import create_api
from trainer.service import Trainer


@pytest.fixture
def start(tmp_path, photos):  # noqa: F811
    """A function that ends the running trainer and starts another one in the same workspace, with other settings."""
    at_work = []

    def again(**given):
        for each in at_work:
            each.close()
        at_work.clear()
        trainer = Trainer(*settings_for(tmp_path, photos[0], **given))  # noqa: F811
        trainer.catalog.complete.set()
        trainer.start()
        at_work.append(trainer)
        return trainer, TestClient(create_api(trainer))

    yield again
    for each in at_work:
        each.close()


def test_the_head_of_a_version_brings_its_embeddings_and_is_the_parent_of_what_follows(client, trainer, start):  # noqa: F811
    teach(client, range(12))
    wait_for(lambda: client.get("/status").json()["labels"] == 12)
    client.post("/models", json={"name": "first"})
    pixels = trainer.loop.live.embedder.key
    trainer.close()
    other = {"backbone": "auto", "model_fn": "tests.trainer.blind:network", "input_size": 16}
    trainer, client = start(**other)
    assert trainer.loop.live.embedder.key != pixels
    trainer, client = start(**other, reload_model="first")
    assert trainer.loop.live.embedder.key == pixels
    wait_for(lambda: client.get("/status").json()["labels"] == 12)
    client.post("/models", json={"name": "second"})
    assert client.get("/models/second").json()["parent"] == "first"
    assert client.delete("/models/first").status_code == 409


def test_a_fine_tuned_network_makes_embeddings_without_its_classifier(client, trainer, start):  # noqa: F811
    network = timm.create_model("resnet10t", num_classes=2)
    tensors = {name: each.numpy() for name, each in network.state_dict().items()}
    needs = ModelInput(size=32, preparation="middle square", mean=[0.5] * 3, std=[0.5] * 3)
    trainer.registry.save(
        "tuned", tensors, description(learner="fine_tuner", architecture="resnet10t", input=needs), []
    )
    trainer.registry.save("torn", {"a": np.ones(1)}, description(learner="fine_tuner", architecture="resnet10t"), [])
    teach(client, range(12))
    trainer.close()
    trainer, client = start(reload_model="tuned")
    assert trainer.loop.live.embedder.key.startswith("resnet10t-32px")
    wait_for(lambda: client.get("/status").json()["labels"] == 12)
    client.post("/models", json={"name": "head"})
    head = client.get("/models/head").json()
    assert (head["parent"], head["config"]["backbone_trained_on"]) == ("tuned", "tuned")
    mark = trainer.folder / "embeddings" / trainer.loop.live.embedder.key / "mark"
    mark.touch()
    trainer, client = start(reload_model="tuned")
    assert mark.exists()  # the vectors are still there, so nothing is computed again
    for name, why in [("gone", "There is no model version"), ("torn", "its network has no")]:
        with pytest.raises(SettingsError, match=f"'reload_model' is '{name}'.*{why}"):
            start(reload_model=name)


def test_embeddings_that_took_over_and_cannot_be_read_give_way_with_a_reason(tmp_path, client, trainer, start):  # noqa: F811
    teach(client, range(12))
    folder = trainer.folder
    trainer.close()
    from trainer.versions.active_backbone import Serving, binding

    Serving(key="gone-1d-0", version="challenger-1", settings=binding(trainer.settings)).write(folder)
    trainer, client = start(challenger="off")
    wait_for(lambda: client.get("/status").json()["labels"] == 12)
    said = client.get("/status").json()["challenger"]
    assert "'challenger-1'" in said["message"]
    assert "the one in the settings is used instead" in said["message"]
    assert said["serving"] is None
