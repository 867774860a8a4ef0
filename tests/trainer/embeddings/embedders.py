"""Embedders over a folder of one-coloured photos."""

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pytest
import torch
from PIL import Image

from shared.images.finding import read
from shared.images.opening import ImageLimits
from shared.settings.services import TrainerSettings
from shared.wire.fields import Split
from shared.wire.images import ImageEntry
from trainer.embeddings.embedder import Embedder

LIMITS = ImageLimits(max_bytes=1_000_000, max_pixels=1_000_000)
OWN = {"model_fn": f"{__name__}:mean_colour", "input_size": 8, "backbone_mean": "0,0,0", "backbone_std": "1,1,1"}


def mean_colour() -> torch.nn.Module:
    """A backbone whose vector is the image's mean colour, from 0 to 1."""
    return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())


class Broken(torch.nn.Module):
    """A backbone that fails on white images."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return 1 / (1 - pixels.mean(dim=(2, 3)))


class Photos:
    """A folder of one-coloured photos and its catalogue."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fetched: list[int] = []
        root.mkdir()

    def add(self, count: int, *, split: Split = "train", first: int = 1) -> list[ImageEntry]:
        return [self.entry(number, self.png(number), split) for number in range(first, first + count)]

    def png(self, number: int) -> bytes:
        stream = BytesIO()
        colour = (number % 256, number // 256 % 256, 0)
        Image.new("RGB", (20, 10), colour).save(stream, "PNG")
        return stream.getvalue()

    def entry(self, number: int, data: bytes, split: Split = "train") -> ImageEntry:
        (self.root / f"{number}.png").write_bytes(data)
        return ImageEntry(id=number, uri=f"{number}.png", sha256=sha256(data).hexdigest(), split=split, removed=False)

    def fetch(self, entry: ImageEntry) -> bytes:
        self.fetched.append(entry.id)
        return read(entry.uri, self.root, LIMITS)


@pytest.fixture
def photos(tmp_path: Path) -> Photos:
    return Photos(tmp_path / "photos")


Opened = Callable[..., Embedder]


@pytest.fixture
def opened(tmp_path: Path, photos: Photos) -> Iterator[Opened]:
    embedders: list[Embedder] = []

    def open_with(fetch: Callable[[ImageEntry], bytes] = photos.fetch, **values: object) -> Embedder:
        settings = TrainerSettings.load(command_line={"device": "cpu", "batch_size": 4, **OWN, **values})[0]
        embedders.append(Embedder(settings, tmp_path / "embeddings", fetch))
        return embedders[-1]

    yield open_with
    for embedder in embedders:
        embedder.close()


def run(embedder: Embedder, entries: Sequence[ImageEntry], *, steps: int = 100) -> list[ImageEntry]:
    """Step until nothing is left, as the trainer's loop does."""
    pending, done = list(entries), []
    for _ in range(steps):
        now = embedder.step(pending, more_coming=False)
        done += now
        settled = {entry.id for entry in now} | set(embedder.problems)
        pending = [entry for entry in pending if entry.id not in settled]
        if not pending:
            return done
    raise AssertionError(f"{len(pending)} images are still pending after {steps} steps")
