import os
import sys
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from shared.images.finding import read
from shared.images.opening import ImageLimits
from shared.settings.services import SettingsError, TrainerSettings
from shared.wire.fields import Split
from shared.wire.images import ImageEntry
from tests import forks
from trainer.embeddings.backbones.backbone import load_backbone
from trainer.learners import simclr
from trainer.learners.simclr import Plan, Step, nt_xent, train

LIMITS = ImageLimits(max_bytes=1_000_000, max_pixels=1_000_000)
TINY = "test_efficientnet"  # 0.1 M parameters
PLAN = Plan(TINY, input_size=16, epochs=2, batch_size=8)


class Photos:
    """A folder of small photos of three colours and its catalogue; remembers what is read."""

    def __init__(self, root: Path, count: int) -> None:
        self.root = root
        self.read: list[str] = []
        root.mkdir(exist_ok=True)
        self.entries = [self.entry(number) for number in range(count)]

    def entry(self, number: int, split: Split = "train") -> ImageEntry:
        rng = np.random.default_rng(number)
        pixels = np.clip(255 * np.eye(3)[number % 3] + rng.normal(0, 40, (20, 16, 3)), 0, 255).astype(np.uint8)
        stream = BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        (self.root / f"{number}.png").write_bytes(stream.getvalue())
        content = sha256(stream.getvalue()).hexdigest()
        return ImageEntry(id=number, uri=f"{number}.png", sha256=content, split=split, removed=False)

    def fetch(self, entry: ImageEntry) -> bytes:
        self.read.append(entry.uri)
        return read(entry.uri, self.root, LIMITS)

    def train(self, folder: Path, plan: Plan = PLAN, on_step: Callable[[Step], None] = lambda _: None) -> Path:
        return train(self.entries, self.fetch, plan, folder, limits=LIMITS, device="cpu", on_step=on_step)


@pytest.fixture
def photos(tmp_path: Path) -> Photos:
    return Photos(tmp_path / "photos", 24)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums over several threads differ in their last digits, which training magnifies; and they wait on busy cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_loss_is_the_paper_s_formula():
    torch.manual_seed(0)
    z = torch.randn(6, 4)
    expected = []
    for i in range(6):
        similar = [torch.cosine_similarity(z[i], z[k], dim=0) / 0.5 for k in range(6)]
        others = torch.stack([similar[k].exp() for k in range(6) if k != i]).sum()
        expected.append(-(similar[(i + 3) % 6].exp() / others).log())
    assert nt_xent(z).item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-5)


def test_the_loss_falls_and_the_weights_are_a_backbone(tmp_path, photos):
    steps: list[Step] = []
    plan = Plan(TINY, input_size=16, epochs=12, batch_size=12)
    weights = photos.train(tmp_path / "backbones", plan, steps.append)
    losses = [step.loss for step in steps if step.loss is not None and step.done % 2 == 0]  # one per epoch
    assert losses[-1] < losses[0] - 0.05
    assert (steps[0].done, steps[-1].done, steps[-1].total, steps[-1].epoch) == (0, 24, 24, 12)
    given = {"backbone": TINY, "backbone_weights": str(weights), "input_size": 16, "device": "cpu"}
    backbone = load_backbone(TrainerSettings.load(command_line=given)[0], tmp_path)
    assert backbone is not None
    assert backbone.embed(np.zeros((2, 3, 16, 16), np.uint8)).shape == (2, backbone.dim)
    assert list(weights.parent.iterdir()) == [weights]  # no checkpoint is left


def test_finished_epochs_are_not_repeated_and_another_plan_or_image_starts_another_run(tmp_path, photos):
    weights = photos.train(tmp_path)
    photos.read.clear()
    assert photos.train(tmp_path) == weights
    assert photos.read == []
    assert photos.train(tmp_path, Plan(TINY, 16, 1, 8)) != weights
    photos.entries.pop()
    assert photos.train(tmp_path) != weights


def main(arguments: list[str]) -> None:
    """A run that waits in the middle, to be killed."""

    def show(step: Step) -> None:
        if step.epoch == 2 and step.done % 3 == 1:
            print("in the middle of the second epoch", flush=True)
            time.sleep(600)

    torch.set_num_threads(1)
    Photos(Path(arguments[0]), 24).train(Path(arguments[1]), on_step=show)


def test_a_killed_run_goes_on_at_the_next_epoch_and_ends_as_if_it_had_not_been(tmp_path, photos):
    folder = tmp_path / "backbones"
    process = forks.start("tests.trainer.learners.test_simclr", [str(photos.root), str(folder)], os.environ)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline().startswith("in the middle")
        process.kill()
    process.wait(30)
    steps: list[Step] = []
    resumed = load_file(photos.train(folder, on_step=steps.append))
    assert [(step.epoch, step.done) for step in steps] == [(2, 3), (2, 4), (2, 5), (2, 6)]
    whole = load_file(photos.train(tmp_path / "other"))
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor)


def test_nothing_but_train_images_is_ever_opened(tmp_path, photos):
    for split in ("test", "validation"):
        photos.entries[5] = photos.entry(5, split)
        with pytest.raises(ValueError, match=f"5.png is not a train image \\({split}\\)"):
            photos.train(tmp_path)
    assert photos.read == []


def test_images_that_cannot_be_read_are_left_out(tmp_path, photos):
    (photos.root / "3.png").unlink()
    (photos.root / "4.png").write_bytes((photos.root / "5.png").read_bytes())  # it may now be a test image
    (photos.root / "6.png").write_text("no image")
    assert photos.train(tmp_path).is_file()
    for entry in photos.entries:
        (photos.root / entry.uri).unlink(missing_ok=True)
    with pytest.raises(SettingsError, match=r"Fewer than two images.*no longer exists"):
        photos.train(tmp_path / "again")


def test_images_beyond_the_cache_are_read_again(tmp_path, photos, monkeypatch):
    monkeypatch.setattr(simclr, "CACHE_BYTES", 10 * 3 * 16 * 16)
    photos.train(tmp_path)
    assert len(photos.read) == 24 + 14


def test_impossible_input_gives_one_sentence(tmp_path, photos):
    for plan, sentence in {
        Plan("resnt18", 16, 1, 8): "'resnt18'.*mean 'resnet18'",
        Plan("test_vit", 5, 1, 8): "'test_vit' cannot take 5 pixels",
    }.items():
        with pytest.raises(SettingsError, match=sentence):
            photos.train(tmp_path, plan)
    checkpoint = tmp_path / photos.train(tmp_path).with_suffix(".checkpoint").name
    next(tmp_path.glob("*.safetensors")).unlink()
    checkpoint.write_bytes(b"torn")
    with pytest.raises(SettingsError, match="delete it to start over"):
        photos.train(tmp_path)


if __name__ == "__main__":
    main(sys.argv[1:])
