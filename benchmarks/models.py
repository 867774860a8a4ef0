"""Accuracy of each kind of model at 100, 400 and all labels, and the cost of training and predicting.

    python -m benchmarks.models                           # digits: the head on pixels, and a network from scratch
    python -m benchmarks.models --photos labels.csv --images photos --backbone mobilenetv2_035 --input-size 96 \\
        --backbone-weights FILE --backbone-mean 0.5,0.5,0.5 --backbone-std 0.5,0.5,0.5 \\
        --larger mobilenetv2_100 --larger-weights FILE --larger-size 128 --models head tuned --labels 100 400 all

Models: `head` on frozen embeddings, `tuned` (the backbone fine-tuned from its weights), `scratch` (resnet10t at 64
pixels without weights), `larger` (another network from its weights). Without weights the two that need them are left
out. A stratified quarter is the test set. Labels are drawn at random from the rest; the 400 include the 100. The
trainer's own job trains each network, in this process: hold-out for choosing epochs, learning-rate finder,
augmentation, one look at the test set. `--seen` limits the image views of a training, so that a run ends in minutes.

*Plain loop* is the images per second of a bare torch loop over the same network, batches and augmentations in memory,
before and after the training. The ratio is the training's own speed over it, between the steps of an epoch that trains
all layers, with everything that happens there. `--predict` adds the images per second that torch and ONNX predict, in
turn.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from benchmarks.machine import describe
from labeler.transfer.sources import open_source
from shared.settings.services import TrainerSettings
from shared.wire.evaluation import Interval
from shared.wire.imports import ImportRow
from shared.wire.jobs import Job
from trainer.embeddings.backbones.backbone import load_backbone
from trainer.embeddings.backbones.pixels import SIZE, PixelBackbone
from trainer.embeddings.backbones.preparation import Preprocessing
from trainer.embeddings.backbones.timm_networks import create_known
from trainer.embeddings.transform import fit_projection
from trainer.evaluation.metrics import evaluate
from trainer.jobs import train as training
from trainer.learners.kernel_head import fit_head
from trainer.sync.image_source import Photos
from trainer.sync.labeler_client import LabelerClient
from trainer.versions.exporting import to_onnx
from trainer.versions.predictor import BATCH, load_classifier
from trainer.versions.registry import Registry
from trainer.work.job_context import LabeledImage, Work
from trainer.work.starting_weights import SCRATCH, SCRATCH_SIZE

MODELS = ("head", "tuned", "scratch", "larger")
EPOCHS = 20
PLAIN_SECONDS = 6.0  # of the bare loop, each time
PREDICT_SECONDS = 5.0
LOG = UUID(int=1)


@dataclass
class Timed(Work):
    """Records when each training step was done: (seconds, step, message)."""

    steps: list[tuple[float, int, str]] = field(default_factory=list)

    def tell(self, done: int, total: int, message: str, *, seconds_left: float | None = None, **metrics: float) -> None:
        """See `Work.tell`; also records the time of a training step."""
        if message.startswith("Training, epoch"):
            self.steps.append((time.perf_counter(), done, message))
        super().tell(done, total, message, seconds_left=seconds_left, **metrics)

    def images_per_second(self, batch: int) -> float:
        """Median over all epochs but the first, in which only the classifier of a pretrained network learns."""
        rates = []
        for message in list(dict.fromkeys(each[2] for each in self.steps))[1:]:
            mine = [each for each in self.steps if each[2] == message]
            if len(mine) > 1:
                rates.append(batch * (mine[-1][1] - mine[0][1]) / (mine[-1][0] - mine[0][0]))
        return float(np.median(rates)) if rates else float("nan")


def main() -> None:
    """Read the command line, train, print one row per model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="labels in any form that `flywheel import` reads (default: digits)")
    parser.add_argument("--images", type=Path, help="base folder of file names (default: the folder of the labels)")
    parser.add_argument("--labels", nargs="+", default=["100", "400", "all"])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seen", type=int, default=16_000, help="maximum image views of a training")
    parser.add_argument("--predict", action="store_true", help="also compare torch and ONNX")
    network = ("backbone", "backbone_weights", "backbone_mean", "backbone_std", "input_size")
    for name in (*network, "larger", "larger_weights"):
        parser.add_argument(f"--{name.replace('_', '-')}")
    parser.add_argument("--larger-size", type=int)
    given = parser.parse_args()
    torch.set_num_threads(max((os.cpu_count() or 1) - 1, 1))  # like a job, which leaves a core for labeling
    print(describe("torch", "fastai", "timm"))
    with tempfile.TemporaryDirectory(prefix="flywheel-models-") as folder:
        work = Path(folder)
        images, names = _photos(given.photos, given.images) if given.photos else _digits(work / "digits")
        root = (given.images or open_source(given.photos).folder) if given.photos else work / "digits"
        common = {"workspace": str(work), "images": str(root)}
        settings = {name: str(value) for name in network if (value := getattr(given, name))}
        larger = {**settings, "backbone": given.larger, "backbone_weights": given.larger_weights}
        larger["input_size"] = str(given.larger_size or settings.get("input_size", 0))
        for part in (settings, larger):
            part |= common
        print("\n| labels | model | epochs | test accuracy (95 %) | seconds | images/s | plain loop | ratio |")
        print("|---:|---|---:|---:|---:|---:|---:|---:|", flush=True)
        trained: list[str] = []
        bench = Bench(work, images, names, flip=given.photos is not None, seen=given.seen)
        for count in given.labels:
            some = bench.draw(None if count == "all" else int(count))
            for model in given.models:
                if model == "head":
                    bench.head(some, settings)
                elif model == "scratch":
                    trained.append(bench.train(model, some, settings, SCRATCH, "none", SCRATCH_SIZE))
                elif (chosen := settings if model == "tuned" else larger).get("backbone_weights"):
                    trained.append(bench.train(model, some, chosen, str(chosen["backbone"]), "file", None))
        if given.predict:
            bench.predict(trained)


class Bench:
    """One data set, its test set, and the work on it."""

    def __init__(
        self, folder: Path, images: Sequence[LabeledImage], names: dict[int, str], *, flip: bool, seen: int
    ) -> None:
        self._folder, self._names, self._flip, self._seen = folder, names, flip, seen
        given = [image.class_id for image in images]
        train, test = train_test_split(np.arange(len(images)), test_size=0.25, stratify=given, random_state=0)
        self._train = [images[i] for i in train]  # in random order, so that every prefix is a random sample
        self._test = [LabeledImage(**{**vars(images[i]), "split": "test"}) for i in test]
        self._vectors: NDArray[np.float32] | None = None

    def draw(self, count: int | None) -> list[LabeledImage]:
        """That many labeled train images, or all."""
        return self._train[:count]

    def head(self, some: Sequence[LabeledImage], settings: dict[str, Any]) -> None:
        """The head on frozen embeddings; seconds are those of the fit, after the pool is embedded."""
        if self._vectors is None:
            self._vectors = self._embedded(settings)
        pool, held = self._vectors[: len(self._train)], self._vectors[len(self._train) :]
        projection = fit_projection(pool.mean(axis=0), pool)
        truth = np.array([image.class_id for image in self._test], np.int64)
        began = time.perf_counter()
        labels = np.array([image.class_id for image in some], np.int64)
        head = fit_head(projection.transform(pool[: len(some)]), labels)
        seconds = time.perf_counter() - began
        probabilities = head.predict_proba(projection.transform(held))
        accuracy = evaluate(truth, probabilities, head.classes, self._names).accuracy
        print(f"| {len(some):,} | head | – | {_shown(accuracy)} | {seconds:.1f} | – | – | – |", flush=True)

    def train(
        self,
        model: str,
        some: Sequence[LabeledImage],
        given: dict[str, Any],
        network: str,
        weights: str,
        size: int | None,
    ) -> str:
        """Train with the trainer's own job; returns the version."""
        settings = TrainerSettings.load(command_line={key: value for key, value in given.items() if value})[0]
        name, epochs = f"{model}-{len(some)}", max(3, min(EPOCHS, self._seen // len(some)))
        request = {
            "architecture": network,
            "weights": weights,
            "input_size": size,
            "epochs": epochs,
            "flip": self._flip,
        }
        work = self._work(name, request, [*some, *self._test], settings)
        before = _plain(work, network, size or settings.input_size, self._flip)
        began = time.perf_counter()
        result = training.run(work)
        seconds = time.perf_counter() - began
        plain = (before + _plain(work, network, size or settings.input_size, self._flip)) / 2
        said = work.registry.get(name).description
        assert said.metrics is not None
        rate = work.images_per_second(int(said.config["batch_size"]))
        print(
            f"| {len(some):,} | {model}, {network} at {said.input.size if said.input else 0} px | {result['epochs']} "
            f"| {_shown(said.metrics.accuracy)} | {seconds:,.0f} | {rate:.1f} | {plain:.1f} | {rate / plain:.2f} |",
            flush=True,
        )
        return name

    def predict(self, versions: Sequence[str]) -> None:
        """Images per second of the last version of each network, in batches, torch and ONNX in turn, on all cores."""
        import onnxruntime

        cores = os.cpu_count() or 1
        torch.set_num_threads(cores)
        print("\n| network | torch | ONNX | ratio |\n|---|---:|---:|---:|")
        latest = {name.partition("-")[0]: name for name in versions}
        for name in latest.values():
            version = Registry(self._folder / "trainer" / "models").get(name)
            classifier = load_classifier(version, self._folder / "trainer" / "backbones")
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = cores
            session = onnxruntime.InferenceSession(to_onnx(classifier), options, providers=["CPUExecutionProvider"])
            size = classifier.needs.size
            inputs = np.random.default_rng(0).integers(0, 256, (BATCH, 3, size, size)).astype(np.uint8)
            counts, seconds = [0, 0], [0.0, 0.0]
            while min(seconds) < PREDICT_SECONDS:
                for way in range(2):
                    began = time.perf_counter()
                    if way:
                        session.run(None, {"images": inputs.astype(np.float32)})
                    else:
                        classifier.predict_proba(list(inputs))
                    counts[way], seconds[way] = counts[way] + BATCH, seconds[way] + time.perf_counter() - began
            rates = [count / taken for count, taken in zip(counts, seconds, strict=True)]
            shown = f"{version.description.architecture} at {size} px"
            print(f"| {shown} | {rates[0]:,.0f}/s | {rates[1]:,.0f}/s | {rates[1] / rates[0]:.2f} |", flush=True)

    def _embedded(self, given: dict[str, Any]) -> NDArray[np.float32]:
        """Train images, then test images (n, D)."""
        settings = TrainerSettings.load(command_line={key: value for key, value in given.items() if value})[0]
        work = self._work("embedding", {}, [*self._train, *self._test], settings)
        backbone = load_backbone(settings, self._folder) if settings.backbone_weights else None
        if backbone is None:
            inputs = [work.read(each, Preprocessing(SIZE, "squeezed")) for each in work.images]
            backbone = PixelBackbone.fit(inputs[: len(self._train)], seed=0)
        vectors = []
        for start in track(range(0, len(work.images), 64), "Embedding", transient=True):
            inputs = [work.read(each, backbone.preprocessing) for each in work.images[start : start + 64]]
            vectors.append(backbone.embed(np.stack(inputs)))
        return np.concatenate(vectors)

    def _work(self, name: str, request: dict[str, Any], images: list[LabeledImage], settings: TrainerSettings) -> Timed:
        folder = self._folder / "jobs" / name
        folder.mkdir(parents=True)
        job = Job(
            id=name,
            kind="train",
            state="running",
            created_at=datetime.now(UTC),
            request={
                "name": name,
                "train": request,
                "classes": {"names": {str(k): each for k, each in self._names.items()}},
                "log_id": str(LOG),
                "acked_seq": 0,
            },
        )
        client = LabelerClient(settings.labeler_url, timeout_seconds=1, headers={})
        trainer = self._folder / "trainer"
        return Timed(
            folder, job, settings, images, Photos(settings, client), Registry(trainer / "models"), trainer / "backbones"
        )


def _plain(work: Work, name: str, size: int, flip: bool) -> float:
    """Images per second of a bare torch loop: random affine map, light, normalising, forward, backward, AdamW."""
    batch = int(training.DEFAULTS["batch_size"])
    images = [each for each in work.images if each.split == "train"][:batch]
    pixels = torch.from_numpy(np.stack([work.read(each, Preprocessing(size)) for each in images]))
    targets = torch.arange(len(images)) % 2
    network = create_known(name, size, num_classes=10).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)
    mean = std = torch.full((1, 3, 1, 1), 0.5)

    def step() -> None:
        x = _augmented(pixels.float() / 255, flip)
        loss = torch.nn.functional.cross_entropy(network((x - mean) / std), targets)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()

    for _ in range(3):
        step()
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < PLAIN_SECONDS:
        step()
        steps += 1
    return steps * len(images) / (time.perf_counter() - began)


def _augmented(x: torch.Tensor, flip: bool) -> torch.Tensor:
    """Randomly rotate, zoom, warp, mirror and light images (B, 3, S, S) with values from 0 to 1."""
    count, _, height, width = x.shape
    angle, zoom = 0.35 * (torch.rand(count) - 0.5), 1 - 0.1 * torch.rand(count)
    side = torch.where(torch.rand(count) < 0.5, -1.0, 1.0) if flip else torch.ones(count)
    maps = torch.zeros(count, 3, 3)
    maps[:, 0, 0], maps[:, 0, 1] = side * zoom * angle.cos(), -zoom * angle.sin()
    maps[:, 1, 0], maps[:, 1, 1] = side * zoom * angle.sin(), zoom * angle.cos()
    maps[:, 2, :2], maps[:, 2, 2] = 0.1 * (torch.rand(count, 2) - 0.5), 1.0  # perspective
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    points = torch.stack([columns, rows, torch.ones_like(rows)], -1).view(-1, 3) @ maps.transpose(1, 2)  # (B, S·S, 3)
    grid = (points[..., :2] / points[..., 2:]).view(count, height, width, 2)
    x = torch.nn.functional.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    light, contrast = 0.4 * (torch.rand(count, 1, 1, 1) - 0.5), 0.8 + 0.4 * torch.rand(count, 1, 1, 1)
    return torch.sigmoid(torch.logit(x, eps=1e-4) * contrast + light)


def _digits(folder: Path) -> tuple[list[LabeledImage], dict[int, str]]:
    """The 1,797 handwritten digits of scikit-learn, as files of 8 × 8 pixels."""
    folder.mkdir()
    pixels, digits = load_digits(return_X_y=True)
    images = []
    for number, (row, digit) in enumerate(zip(pixels, digits, strict=True)):
        path = folder / f"{number:04d}.png"
        Image.fromarray((row.reshape(8, 8) * 15.9).astype(np.uint8)).save(path)
        images.append(LabeledImage(number + 1, path.name, _hash(path), "train", int(digit) + 1))
    return images, {digit + 1: str(digit) for digit in range(10)}


def _photos(labels: Path, folder: Path | None) -> tuple[list[LabeledImage], dict[int, str]]:
    source = open_source(labels)
    rows = [row for row in source.rows() if isinstance(row, ImportRow)]
    names = sorted({row.label for row in rows if row.label is not None})
    root = folder or source.folder
    images = [
        LabeledImage(number, row.uri, _hash(root / row.uri), "train", 1 + names.index(row.label))
        for number, row in enumerate(rows, 1)
        if row.label is not None
    ]
    return images, dict(enumerate(names, 1))


def _hash(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _shown(accuracy: Interval) -> str:
    return f"{accuracy.value:.1%} ({accuracy.low:.1%} – {accuracy.high:.1%})"


if __name__ == "__main__":
    main()
