"""The freshness of the queue while a challenger that won embeds all images: `python -m benchmarks.embedding_again`.

Both real services run. A simulated annotator answers ten handwritten digits every second or two and waits for a queue
that has seen them. The backbone is a small untrained convolutional network, so the challenger is better after a few
hundred labels. Batches count as *before* (no other work), *training* (of the challenger), *embedding again*, and
*after* (the new embeddings are live). Digits are repeated with noise to make `--images` images.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

from benchmarks.machine import describe, p50_p95
from commands.labels.simulate import Annotator
from tests.services import Process, wait_for

SIDE = 32
BATCHES = 15  # before any other work, and after
PAUSE_SECONDS = 1.0  # between two batches
MOST_SECONDS = 240.0  # for the challenger to take over
PHASES = ("before", "training", "embedding again", "after")


def untrained() -> nn.Module:
    """The backbone: (B, 3, H, W) → (B, 128), with fixed weights."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8_000)
    options = parser.parse_args()
    print(describe("torch", "scikit-learn", "fastapi"))
    with tempfile.TemporaryDirectory(prefix="flywheel-again-", ignore_cleanup_errors=True) as folder:
        photos, workspace = Path(folder) / "photos", Path(folder) / "workspace"
        truth = _write(photos, options.images)
        labeler = Process("labeler", {"images": photos, "workspace": workspace, "classes": "0,1,2,3,4,5,6,7,8,9"})
        trainer = Process(
            "trainer",
            {
                "images": photos,
                "workspace": workspace,
                "labeler_url": labeler.url,
                "model_fn": "benchmarks.embedding_again:untrained",
                "input_size": SIDE,
                "challenger": "off",
                "challenger_flip": "false",
            },
        )
        labeler.settings["trainer_url"] = trainer.url
        try:
            trainer.start(wait=False)
            labeler.start()
            wait_for(lambda: _status(trainer)["embedding"]["done"] >= options.images, "the embeddings", 600)
            waits, views = _label(labeler, trainer, truth)
        finally:
            for process in (labeler, trainer):
                process.end()
    print(f"\n{options.images:,} images. {views['last']}\n")
    print("| batches | number | batch → new order, p50 / p95 |\n|---|---:|---:|")
    for phase in PHASES:
        print(f"| {phase} | {len(waits[phase])} | {p50_p95(waits[phase])} |")


def _label(labeler: Process, trainer: Process, truth: dict[str, str]) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Milliseconds of each batch by phase, and the challenger's last message."""
    waits: dict[str, list[float]] = {phase: [] for phase in PHASES}
    said = {"last": "The challenger did not take over."}
    person = Annotator(labeler.url, truth)

    def batch() -> None:
        began = _phase(trainer)
        (point,) = person.run(10).measurements
        phase = _phase(trainer)
        if point.seconds_to_queue is not None and phase == began:  # a batch that spans two phases counts for neither
            waits[phase].append(1e3 * point.seconds_to_queue)
        time.sleep(PAUSE_SECONDS)

    for _ in range(BATCHES):
        batch()
    httpx.patch(f"{trainer.url}/settings", json={"challenger": "on"}, timeout=20).raise_for_status()
    deadline = time.monotonic() + MOST_SECONDS
    while _phase(trainer) != "after" and time.monotonic() < deadline:
        batch()
    if _phase(trainer) == "after":
        found = _status(trainer)["challenger"]["last"]
        said["last"] = (
            f"The challenger took over at {found['labels']:,} labels: {found['accuracy']['value']:.1%} against "
            f"{found['head']['value']:.1%} ({found['ground']}), after {found['seconds']:.0f} s."
        )
        httpx.patch(f"{trainer.url}/settings", json={"challenger": "off"}, timeout=20).raise_for_status()
        for _ in range(BATCHES):
            batch()
    person.close()
    return waits, said


def _phase(trainer: Process) -> str:
    view = _status(trainer)["challenger"]
    if view["serving"] is not None:
        return "after"
    return {"training": "training", "halted": "training", "embedding": "embedding again"}.get(view["state"], "before")


def _status(trainer: Process) -> dict[str, Any]:
    return dict(httpx.get(f"{trainer.url}/status", timeout=20).raise_for_status().json())


def _write(folder: Path, count: int) -> dict[str, str]:
    """File name → digit."""
    folder.mkdir()
    pixels, digits = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    truth = {}
    for number in range(count):
        row = number % len(pixels)
        noisy = np.clip(pixels[row].reshape(8, 8) * 15.9 + rng.normal(0, 12, (8, 8)), 0, 255).astype(np.uint8)
        name = f"{number:06d}.png"
        Image.fromarray(noisy).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / name)
        truth[name] = str(digits[row])
    return truth


if __name__ == "__main__":
    main()
