"""A trainer that learns from a real folder of images, without a labeler, and helpers for tests of it."""

import io
import time
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from shared.settings.services import TrainerSettings
from shared.wire.fields import Split
from tests.databases import compile_once
from tests.patience import patience
from tests.standing import api_of
from tests.trainer.logs import batch, class_rows, entry, label_rows
from trainer.routes.api import create_api
from trainer.service import Trainer

compile_once()

COLOURS = {1: (220, 30, 30), 2: (30, 30, 220)}  # class id → what its images look like


def picture(colour, seed):
    rng = np.random.default_rng(seed)
    noise = rng.integers(-25, 25, (24, 24, 3))
    pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def truth(image_id):
    return 1 + image_id % 2


@pytest.fixture
def photos(tmp_path):
    """60 images in two colours; the last 20 are the test sample."""
    from hashlib import sha256

    folder = tmp_path / "photos"
    folder.mkdir()
    entries = []
    for number in range(60):
        data = picture(COLOURS[truth(number)], number)
        (folder / f"{number}.png").write_bytes(data)
        split: Split = "test" if number >= 40 else "train"
        entries.append(entry(number, split=split, sha256=sha256(data).hexdigest()))
    return folder, entries


def settings_for(tmp_path, photos, **more):
    given = {
        "workspace": tmp_path / "w",
        "images": photos,
        "backbone": "pixels",
        "labeler_url": "http://127.0.0.1:9",  # nobody listens there
        "labeler_timeout_seconds": 0.5,
        **more,
    }
    return TrainerSettings.load(command_line={name: str(value) for name, value in given.items()})


@contextmanager
def learning(tmp_path, photos, **more):
    """A trainer on the images of the fixture with these settings; a second one continues from the first one's files."""
    folder, entries = photos
    trainer = Trainer(*settings_for(tmp_path, folder, **more))
    if not trainer.replica.catalog:
        trainer.replica.update_catalog(entries, after=len(entries))
    trainer.catalog.complete.set()
    trainer.start()
    try:
        yield trainer
    finally:
        trainer.close()


@pytest.fixture
def trainer(tmp_path, photos):
    with learning(tmp_path, photos) as trainer:
        yield trainer


@pytest.fixture
def client(trainer):
    with api_of(create_api, trainer) as api:
        yield TestClient(api)


def wait_for(condition, seconds=120):
    began, pause = time.monotonic(), 0.005
    while (waited := time.monotonic() - began) < patience(seconds):
        found = condition()
        if found:
            return found
        time.sleep(pause)
        pause = min(1.3 * pause, max(0.1, 0.02 * waited))  # asking costs what is waited for
    raise AssertionError("it did not come about in time")


def teach(client, images, after=0):
    rows = [] if after else class_rows("red", "blue")
    rows += label_rows([(image, truth(image)) for image in images], after=after or 2)
    message = batch(rows, catalog=60).model_dump(mode="json")
    answer = client.post("/annotations", json=message)
    assert answer.status_code == 200
    return answer.json()["acked_seq"]
