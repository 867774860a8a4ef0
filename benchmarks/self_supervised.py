"""The value of a network trained on the images themselves: `python -m benchmarks.self_supervised`.

It trains SimCLR on the train images alone, as `flywheel embed --simclr` does, and compares its vectors with those of
`pixels`. A logistic regression learns from random train images and is scored on the rest. The images are scikit-learn's
digits, as the demo shows them, unless `--images` and `--labels` name others.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from benchmarks.machine import describe
from benchmarks.preprocessing import LIMITS, Matrix, score
from labeler.images.demo import truth, write_digits
from shared.images.finding import read
from shared.settings.services import TrainerSettings
from shared.wire.images import ImageEntry
from trainer.embeddings.backbones import pixels
from trainer.embeddings.backbones.backbone import load_backbone
from trainer.embeddings.backbones.pixels import PixelBackbone
from trainer.learners.simclr import Plan, Step, train


def main() -> None:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=Path, help="folder of photos")
    parser.add_argument("--labels", type=Path, help="CSV with columns filename, label, split")
    parser.add_argument("--arch", default="resnet18", help="timm name")
    parser.add_argument("--size", type=int, default=32, help="pixels per side")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--keep", type=Path, help="folder of checkpoints and weights, to resume from")
    options = parser.parse_args()
    torch.set_num_threads(max((os.cpu_count() or 1) - 1, 1))  # like the command
    print(describe("torch", "timm", "scikit-learn"))
    with tempfile.TemporaryDirectory() as scratch:
        root, rows = _images(options.images, options.labels, Path(scratch))
        y = np.array([label for _, label, _ in rows])
        is_train = np.array([kept for _, _, kept in rows])
        entries = [
            ImageEntry(id=i, uri=uri, sha256=sha256((root / uri).read_bytes()).hexdigest(), split=split, removed=False)
            for i, (uri, _, kept) in enumerate(rows)
            for split in ["train" if kept else "test"]
        ]
        of_train = [entry for entry in entries if entry.split == "train"]
        print(f"{len(of_train)} train images, {len(entries) - len(of_train)} to score on")
        score("pixels", _of_pixels(root, entries, is_train), y, is_train)
        plan = Plan(options.arch, options.size, options.epochs, options.batch)
        weights = train(
            of_train,
            lambda entry: read(entry.uri, root, LIMITS),
            plan,
            options.keep or Path(scratch),
            limits=LIMITS,
            on_step=lambda step: _tell(step, step.total // plan.epochs),
        )
        vectors = _of_network(root, entries, options.arch, options.size, weights)
        score(f"{options.arch}, SimCLR, {options.epochs} epochs at {options.size} px", vectors, y, is_train)


def _images(images: Path | None, labels: Path | None, scratch: Path) -> tuple[Path, list[tuple[str, str, bool]]]:
    """The folder, and for each image its URI, its label and whether it may be trained on."""
    if images is None or labels is None:
        kept = np.random.default_rng(0).random(len(truth())) < 0.8
        return write_digits(scratch), [(*pair, bool(k)) for pair, k in zip(truth().items(), kept, strict=True)]
    with labels.open(newline="") as stream:
        return images, [(row["filename"], row["label"], row["split"] == "train") for row in csv.DictReader(stream)]


def _of_pixels(root: Path, entries: list[ImageEntry], is_train: np.typing.NDArray[np.bool]) -> Matrix:
    whole = pixels.preprocessing(pixels.SIZE)
    small = [whole.read(read(entry.uri, root, LIMITS), LIMITS) for entry in entries]
    chosen = np.random.default_rng(0).permutation(np.flatnonzero(is_train))[: pixels.FIT_IMAGES]
    return PixelBackbone.fit([small[row] for row in chosen], seed=0).embed(np.stack(small))


def _of_network(root: Path, entries: list[ImageEntry], arch: str, size: int, weights: Path) -> Matrix:
    given = {"backbone": arch, "backbone_weights": str(weights), "input_size": size}
    backbone = load_backbone(TrainerSettings.load(command_line=given)[0], weights.parent)
    if backbone is None:
        raise SystemExit("There is no such network.")
    inputs = [backbone.preprocessing.read(read(entry.uri, root, LIMITS), LIMITS) for entry in entries]
    return np.concatenate([backbone.embed(np.stack(inputs[i : i + 64])) for i in range(0, len(inputs), 64)])


def _tell(step: Step, steps: int) -> None:
    """Called at the end of each epoch."""
    if step.done % steps == 0 and step.loss is not None:
        print(f"{step.done // steps} epochs done, loss {step.loss:.3f}", flush=True)


if __name__ == "__main__":
    main()
