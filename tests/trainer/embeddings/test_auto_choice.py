"""The backbone that `auto` chooses."""

import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import huggingface_hub
import pytest
from PIL import Image

from shared.settings.project_file import edit
from shared.settings.services import TrainerSettings
from shared.wire.images import ImageEntry
from tests.trainer.embeddings.embedders import Opened, Photos, run
from trainer.embeddings.auto_choice import recall
from trainer.embeddings.embedder import Embedder


def settled(embedder: Embedder, entries: Sequence[ImageEntry]) -> list[ImageEntry]:
    """`run`, while the backbone is chosen on its own thread."""
    done: list[ImageEntry] = []
    while not done:
        done = embedder.step(entries, more_coming=False)
        time.sleep(0.01)
    return done + run(embedder, [entry for entry in entries if entry not in done])


def test_a_choice_may_end_while_its_progress_is_asked_for(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = opened(model_fn="", backbone="auto", input_size=0)
    choosers = iter([embedder._chooser])
    monkeypatch.setattr(Embedder, "_chooser", property(lambda _: next(choosers, None)), raising=False)
    assert embedder._downloading() is None


def test_auto_takes_pixels_for_images_as_small_as_digits(photos: Photos, opened: Opened) -> None:
    entries = photos.add(6)  # 20 × 10 pixels
    embedder = opened(model_fn="", backbone="auto", input_size=0)
    assert (embedder.key, embedder.resolved, embedder.banner) == ("auto", None, None)
    assert embedder.step(entries, more_coming=True) == []  # larger ones may follow
    assert settled(embedder, entries) == entries
    assert embedder.resolved is not None
    assert embedder.resolved.name == "pixels"
    assert embedder.banner is None  # no warning: pixels suit such images
    again = opened(model_fn="", backbone="auto", input_size=0)
    assert again.key == embedder.key  # at once: it remembers that the images are small
    assert again.banner is None


def test_auto_takes_pixels_for_the_demo_whose_digits_are_enlarged(
    photos: Photos, opened: Opened, tmp_path: Path
) -> None:
    with edit(tmp_path / "demo") as project:
        project.demo = True
    large = BytesIO()
    Image.new("RGB", (64, 64), "red").save(large, "PNG")
    entries = [*photos.add(3), photos.entry(9, large.getvalue())]
    embedder = opened(model_fn="", backbone="auto", input_size=0, workspace=tmp_path / "demo")
    assert settled(embedder, entries) == entries
    assert embedder.resolved is not None
    assert embedder.resolved.name == "pixels"


def test_auto_takes_a_network_for_photos_and_remembers_it(
    photos: Photos, opened: Opened, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    large = BytesIO()
    Image.new("RGB", (64, 33), "red").save(large, "JPEG")
    entries = [*photos.add(3), photos.entry(9, large.getvalue()), photos.entry(10, b"damaged")]
    embedder = opened(model_fn="", backbone="auto", input_size=32)
    assert settled(embedder, entries) == entries[:4]
    assert embedder.resolved is not None
    assert (embedder.resolved.name, embedder.resolved.weights) == ("tf_efficientnet_lite0", "installed")
    told = embedder.progress(5)
    assert (told.resolved, told.download, told.banner) == (embedder.resolved, None, None)
    (tmp_path / "hub" / "models--timm--vit_small_patch14_dinov2.lvd142m").mkdir(parents=True)  # as if it were cached
    again = opened(model_fn="", backbone="auto", input_size=32)
    assert again.resolved == embedder.resolved
    (tmp_path / "embeddings" / "auto.json").unlink()
    settings = TrainerSettings.load(command_line={"device": "cpu", "input_size": 32})[0]
    given = Embedder(settings, tmp_path / "embeddings", photos.fetch, remembered=embedder.resolved)
    assert given.resolved == embedder.resolved
    assert recall(tmp_path / "embeddings") == (embedder.resolved, False)  # for a job in another process
    given.close()
