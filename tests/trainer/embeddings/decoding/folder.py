"""A folder of images that processes decode, and how they fetch one.

Each process imports this module, because its first message names `fetch`. That must not bring torch and the trainer,
which a process of the trainer does not import either: they cost ten times as much as all else that it does here.
"""

import os
import signal
import time
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.images.finding import read
from shared.images.opening import ImageLimits
from shared.wire.images import ImageEntry
from trainer.embeddings.backbones.preparation import Preprocessing
from trainer.embeddings.decoding.preparing import prepare

LIMITS = ImageLimits(max_bytes=1_000_000, max_pixels=100_000)
WAY = Preprocessing(16)


def fetch(root: Path, entry: ImageEntry) -> bytes:
    if entry.uri.startswith("deadly"):
        os.kill(os.getpid(), signal.SIGKILL)
    if entry.uri.startswith("slow"):
        time.sleep(60)
    return read(entry.uri, root, LIMITS)


@dataclass
class Folder:
    """A folder of noise as JPEG."""

    root: Path

    def add(self, number: int, data: bytes | None = None, name: str = "") -> ImageEntry:
        name = name or f"{number}.jpg"
        data = data if data is not None else self.jpeg(number)
        (self.root / name).write_bytes(data)
        return ImageEntry(id=number, uri=name, sha256=sha256(data).hexdigest(), split="train", removed=False)

    def jpeg(self, seed: int, size: int = 60) -> bytes:
        stream = BytesIO()
        noise = np.random.default_rng(seed).integers(0, 256, (size, size + 10, 3), dtype=np.uint8)
        Image.fromarray(noise).save(stream, "JPEG")
        return stream.getvalue()

    def prepared(self, entry: ImageEntry) -> NDArray[Any]:
        return prepare(partial(fetch, self.root), entry, LIMITS, WAY)
