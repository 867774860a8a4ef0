"""The effect of preprocessing on accuracy: `python -m benchmarks.preprocessing`.

It answers the questions behind two defaults. For a network: crop the middle square, resize the whole image to a square,
pad it, or average with the mirror image? For `pixels`: whiten the components? Each variant embeds all images. A
logistic regression on rows centred on the train images, of length 20, learns from random train images and is scored on
the rest. Without `--images` it only answers the question about `pixels`, on scikit-learn's digits.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from benchmarks.machine import describe
from shared.images.finding import read
from shared.images.opening import ImageLimits, open_rgb
from shared.settings.services import TrainerSettings
from trainer.embeddings.backbones import pixels
from trainer.embeddings.backbones.backbone import Backbone, load_backbone
from trainer.embeddings.backbones.pixels import PixelBackbone

LIMITS = ImageLimits(max_bytes=100 * 2**20, max_pixels=100_000_000)
LABELS = (100, 400, 1_000)
DRAWS = 8

Matrix = npt.NDArray[np.float32]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=Path, help="folder of photos")
    parser.add_argument("--labels", type=Path, help="CSV with columns filename, label, split")
    parser.add_argument("--backbone", help="timm name")
    parser.add_argument("--weights", help="local weights of that backbone")
    parser.add_argument("--mean", help="three numbers: 0.5,0.5,0.5")
    parser.add_argument("--std", help="three numbers")
    parser.add_argument("--size", type=int, help="pixels per side of the network's input")
    options = parser.parse_args()
    print(describe("torch", "timm", "scikit-learn"))
    digits = load_digits()
    images = [Image.fromarray((values * 255 / 16).astype(np.uint8)).convert("RGB") for values in digits.images]
    train = np.random.default_rng(0).random(len(images)) < 0.8
    _of_pixels("digits", images, digits.target, train)
    if options.images is None:
        return
    with options.labels.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    images = [open_rgb(read(row["filename"], options.images, LIMITS), LIMITS) for row in rows]
    y = np.array([row["label"] for row in rows])
    train = np.array([row["split"] == "train" for row in rows])
    _of_pixels("photos", images, y, train)
    given = {"backbone": options.backbone, "backbone_weights": options.weights, "input_size": options.size}
    normal = {"backbone_mean": options.mean, "backbone_std": options.std}
    settings = TrainerSettings.load(command_line={**given, **normal})[0]
    backbone = load_backbone(settings, Path())
    if backbone is not None:
        _of_network(backbone, images, y, train)


def _of_pixels(name: str, images: list[Image.Image], y: npt.NDArray[np.generic], train: npt.NDArray[np.bool]) -> None:
    prepared = np.stack([pixels.preprocessing(pixels.SIZE).cut(image) for image in images])
    chosen = np.random.default_rng(0).permutation(np.flatnonzero(train))[: pixels.FIT_IMAGES]
    X = PixelBackbone.fit(list(prepared[chosen]), seed=0).embed(prepared)
    spread = X[train].std(axis=0)
    for variant, rows in {"as they are": X, "half whitened": X / np.sqrt(spread), "whitened": X / spread}.items():
        score(f"{name}, pixels, components {variant}", rows.astype(np.float32), y, train)


def _of_network(
    backbone: Backbone, images: list[Image.Image], y: npt.NDArray[np.generic], train: npt.NDArray[np.bool]
) -> None:
    size = (backbone.input_size, backbone.input_size)
    bicubic = Image.Resampling.BICUBIC

    def embedded(change: Callable[[Image.Image], Image.Image]) -> Matrix:
        batches = [images[start : start + 32] for start in range(0, len(images), 32)]
        cut = backbone.preprocessing.cut
        return np.concatenate([backbone.embed(np.stack([cut(change(i)) for i in b])) for b in batches])

    crop = embedded(lambda image: image)
    score("photos, network, middle square", crop, y, train)
    score("photos, network, squeezed", embedded(lambda image: image.resize(size, bicubic)), y, train)
    grey = (128, 128, 128)
    score("photos, network, padded", embedded(lambda image: ImageOps.pad(image, size, bicubic, grey)), y, train)
    score("photos, network, middle square and its mirror image", crop + embedded(ImageOps.mirror), y, train)


def score(name: str, X: Matrix, y: npt.NDArray[np.generic], train: npt.NDArray[np.bool]) -> None:
    """Print the share of right answers with vectors X (N, D) at some numbers of random labels of the `train` rows."""
    Z = X - X[train].mean(axis=0)
    Z *= 20 / np.linalg.norm(Z, axis=1, keepdims=True)
    told = []
    for count in LABELS:
        right = []
        for seed in range(DRAWS):
            chosen = np.random.default_rng(seed).permutation(np.flatnonzero(train))[:count]
            with threadpool_limits(1):  # two threads are slower than one at this size
                head = LogisticRegression(max_iter=200).fit(Z[chosen], y[chosen])
            right.append(100 * head.score(Z[~train], y[~train]))
        told.append(f"{np.mean(right):.1f} ± {np.std(right) / np.sqrt(DRAWS):.1f} at {count}")
    print(f"{name}: {', '.join(told)} labels (% right, mean and standard error of {DRAWS} draws)", flush=True)


if __name__ == "__main__":
    main()
