"""Whole detectors, for `python -m benchmarks.detection --whole`: mAP and seconds after so many labeled images.

The images, the held-out third and the order of each seed are those of `benchmarks.detection`, so that the figures can
be compared with the live detector's. Trained as a job would, without services and without validation images.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.box_sets import Data
from benchmarks.detection import AT, LIMITS, chosen, placed
from benchmarks.machine import describe
from trainer.detection.detections import Detections, pick
from trainer.detection.detector import Example
from trainer.detection.pyramid import background_of
from trainer.embeddings.backbones import installed
from trainer.embeddings.backbones.timm_networks import config_of, create_known, load_weights
from trainer.embeddings.backbones.torch_networks import IMAGENET_MEAN, IMAGENET_STD, device_named
from trainer.evaluation.detection_metrics import evaluate
from trainer.jobs.train_boxes import STEPS
from trainer.whole_detector.names import TORCHVISION
from trainer.whole_detector.networks import TimmDetector, TorchvisionDetector, WholeDetector
from trainer.whole_detector.training import Plan, train
from trainer.whole_detector.views import Album


def main(asked: argparse.Namespace) -> None:
    """Print a table."""
    data = chosen(asked)
    pool, held_out = data.held_out()
    device = device_named("auto")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "no GPU"
    print(f"{len(pool)} images to label, {len(held_out)} held out, {len(data.names)} classes; {name}", flush=True)
    print("| seed | images | mAP@.5 | mAP@[.5:.95] | seconds |\n|---:|---:|---:|---:|---:|", flush=True)
    for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
        order = [pool[i] for i in np.random.default_rng(seed).permutation(len(pool))]
        for count in asked.images or [*AT, len(pool)]:
            map_50, map_50_95, seconds = run(data, order[:count], held_out, asked, seed, device)
            print(f"| {seed} | {count} | {map_50:.3f} | {map_50_95:.3f} | {seconds:.0f} |", flush=True)
    print(describe())


def run(
    data: Data,
    examples: Sequence[Example],
    held_out: Sequence[Example],
    asked: argparse.Namespace,
    seed: int,
    device: torch.device,
) -> tuple[float, float, float]:
    """mAP at IoU 0.5, from 0.5 to 0.95, and the seconds of training."""
    labels = np.concatenate([each.labels for each in examples])
    ids = sorted({int(each) for each in labels})
    columns = {class_id: column for column, class_id in enumerate(ids)}
    size = asked.size or 320
    network = started(asked.architecture or installed.NAME, size, len(ids), seed)
    background = background_of((network.mean.flatten() / 255).tolist())
    album = Album(data.read, LIMITS, size, background, columns)
    batch = asked.batch
    steps = asked.steps or STEPS
    plan = Plan(
        epochs=max(steps // -(-len(examples) // batch), 1),
        batch_size=batch,
        learning_rate=asked.rate,
        flip=True,
        seed=seed,
        pretrained=not isinstance(network, TorchvisionDetector),
        mosaic=asked.mosaic,
    )
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        counts = [int((labels == each).sum()) for each in ids]
        checkpoint = Path(folder) / "checkpoint"
        train(network, album, examples, plan, counts=counts, judge=None, checkpoint=checkpoint, device=device)
    seconds = time.perf_counter() - began
    found = [look(network, Album(data.read, LIMITS, size, background, columns), each, ids) for each in held_out]
    measured = evaluate(
        [placed(each.labels, each.boxes) for each in held_out],
        [placed(each.classes, each.boxes, each.scores) for each in found],
        data.names,
        learned=frozenset(ids),
        suggested_from=0.5,
    )
    return measured.details["map_50"].value, measured.details["map_50_95"].value, seconds


def started(name: str, size: int, classes: int, seed: int) -> WholeDetector:
    """The network before training, with the weights that come with the installation, or random ones."""
    torch.manual_seed(seed)
    if name in TORCHVISION:
        return TorchvisionDetector(name, size, classes, IMAGENET_MEAN, IMAGENET_STD)
    body = create_known(name, size)
    if installed.is_installed(name):
        with tempfile.TemporaryDirectory() as folder:
            load_weights(body, installed.weights(Path(folder)), repr(name))
    config = config_of("architecture", name)
    return TimmDetector(body, size, classes, config.mean, config.std)


def look(network: WholeDetector, album: Album, example: Example, ids: Sequence[int]) -> Detections:
    """Find the objects in an image."""
    canvas, placement = album.plain(example.sha256)
    with torch.inference_mode():
        scores, corners = network(torch.from_numpy(canvas[None]).to(network.threshold.device))
    return pick(scores[0].float().cpu(), corners[0].float().cpu(), np.array(ids), placement)
