"""A round of the challenger where images have several classes, in this process."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256

import pytest
import timm
import torch
from safetensors.torch import save_file

from shared.settings.services import TrainerSettings
from shared.wire.jobs import Job
from shared.wire.trainer import ChallengerRound
from tests.trainer.learning import picture
from trainer.embeddings.backbones.backbone import load_backbone
from trainer.embeddings.backbones.feature_blocks import VERSION, VIEWS
from trainer.embeddings.backbones.torch_networks import IN_USE, TorchBackbone
from trainer.jobs import challenge
from trainer.sync.image_source import Photos
from trainer.sync.labeler_client import LabelerClient
from trainer.versions.active_backbone import EMBEDDINGS
from trainer.versions.registry import Registry
from trainer.work.job_context import LabeledImage, Work

COUNT, FOLDS = 60, 3
NOBODY = "http://127.0.0.1:9"  # a port on which nothing answers
RED, BLUE, GREEN = 1, 2, 3


def truth(number: int) -> dict[str, list[int]]:
    """Red in every second image, blue in two of three. Nobody said anything about green, or about blue in the first."""
    yes = [label for label, there in ((RED, number % 2), (BLUE, number % 3)) if there]
    asked = [RED] if number < 3 else [RED, BLUE]
    return {"yes": [each for each in yes if each in asked], "no": [each for each in asked if each not in yes]}


def work(tmp_path, head, **more) -> Work:
    """Labels in three folds, of which the `head` of a network that only sees blue says the same as it says here."""
    photos = tmp_path / "photos"
    photos.mkdir()
    images = []
    for number in range(COUNT):
        data = picture((200 if number % 2 else 80, 60, 220 if number % 3 else 60), number)
        (photos / f"{number}.png").write_bytes(data)
        said, digest = truth(number), sha256(data).hexdigest()
        row = LabeledImage(number, f"{number}.png", digest, "train", None, number % FOLDS, head(number), said)
        images.append(row)
    given = {"device": "cpu", "images": photos, "workspace": tmp_path, "labeler_url": NOBODY}
    given |= {"backbone": "auto", "model_fn": "tests.trainer.blind:network", "input_size": 16}
    given |= more
    settings = TrainerSettings.load(command_line={key: str(value) for key, value in given.items()})[0]
    client = LabelerClient(settings.labeler_url, timeout_seconds=1, headers={})
    asked = {"round": 1, "labels": COUNT, "ground": "out of fold", "judges": COUNT, "in_pauses": False}
    request = {"task": "multilabel", "challenge": asked}
    job = Job(id="1", kind="challenge", state="running", created_at=datetime.now(UTC), request=request)
    folder = tmp_path / "trainer" / "challenger" / "1"
    folder.mkdir(parents=True)
    models = Registry(tmp_path / "trainer" / "models")
    return Work(folder, job, settings, images, Photos(settings, client), models, tmp_path / "trainer" / "backbones")


def blue_alone(number: int) -> list[int]:
    return [BLUE] if number % 3 else []


def played(tmp_path, monkeypatch, head) -> ChallengerRound:
    monkeypatch.setattr(challenge, "EPOCHS", (3, 8))
    return challenge._Match(work(tmp_path, head)).play()


def test_a_network_that_finds_more_classes_takes_over(tmp_path, monkeypatch):
    found = played(tmp_path, monkeypatch, blue_alone)
    assert found.metric == "macro_f1"
    assert found.head.value == pytest.approx(0.5)  # half of the classes
    assert found.accuracy.value > 0.9
    assert (found.better, found.accuracy.n) == (True, COUNT)
    assert found.p < 0.01
    assert found.embeddings is not None


def test_a_head_without_mistakes_stays_after_one_fold(tmp_path, monkeypatch):
    found = played(tmp_path, monkeypatch, lambda number: truth(number)["yes"])
    assert (found.better, found.embeddings, found.head.value) == (False, None, 1.0)
    assert found.accuracy.n == COUNT / FOLDS


def test_an_image_that_can_be_read_only_after_a_kill_is_answered_then(tmp_path, monkeypatch):
    monkeypatch.setattr(challenge, "EPOCHS", (1, 1))
    given = work(tmp_path, blue_alone)
    kept = given.folder / "fold-0.json"
    kept.write_text(json.dumps({each.image_id: [] for each in given.images if each.fold == 0 and each.image_id}))
    match = challenge._Match(given)
    asked = match.fold == 0
    assert len(match._answers(0, "", ~asked, asked)) == COUNT / FOLDS
    assert "0" in json.loads(kept.read_text())


def test_it_learns_from_the_image_alone_and_is_measured_by_the_features_that_are_live(tmp_path, monkeypatch):
    monkeypatch.setattr(challenge, "EPOCHS", (1, 1))
    torch.manual_seed(0)
    weights, embeddings = tmp_path / "tiny.safetensors", tmp_path / "trainer" / EMBEDDINGS
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), weights)
    given = work(tmp_path, blue_alone, model_fn="", backbone="test_resnet", backbone_weights=weights, input_size=32)
    first = load_backbone(given.settings, embeddings)
    assert isinstance(first, TorchBackbone)
    live = first.in_version(VIEWS)
    (embeddings / live.key).mkdir(parents=True)
    (embeddings / live.key / IN_USE).touch()
    match = challenge._Match(given)
    assert (match.start.version, match.start.key) == (VERSION, first.key)
    trained = match._trained(0, "", match.train)
    assert (trained.version, trained.blocks) == (VIEWS, live.blocks)
    assert trained.key != live.key  # other weights
