"""Boxes learned while they are drawn, through both real services: mAP and actions of several seeds.

    python -m benchmarks.detection_services                   # scenes of digits, made here
    python -m benchmarks.detection_services --coco FOLDER     # FOLDER/annotations.json and FOLDER/images/
    python -m benchmarks.detection_services --coco FOLDER --seeds 1 --labels 20
    python -m benchmarks.detection_services --coco FOLDER --pace 0.3

Each seed is a new project: `flywheel up PHOTOS --task detection --test TEST`, then `flywheel simulate`. TEST is the
third of the images that `benchmarks.detection` holds out, too; its boxes are there from the start, so that every image
asked is one to learn from. The simulated person answers ten images at once and waits for one round, or answers at a
steady `--pace`, because whoever draws boxes leaves the detector seconds between two images. mAP is that of the
trainer's first evaluation with at least so many labels. Actions are those of the simulated person, beside one for each
box without suggestions. `benchmarks.detection` runs the learner alone.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.box_sets import Data, coco, digits
from benchmarks.detection import AT
from benchmarks.machine import describe
from shared.wire.evaluation import Evaluation
from tests.services import free_port, wait_for
from trainer.detection.detector import Example

HOME = Path(__file__).resolve().parent.parent
FLYWHEEL = [sys.executable, str(HOME / "flywheel.py")]
START_SECONDS, END_SECONDS, LAST_SECONDS = 300.0, 60.0, 300.0
AN_IMAGE_SECONDS = 60.0
"""Longest time of an image, with the round that follows it, on a busy machine."""


@dataclass(frozen=True)
class Outcome:
    """One seed: its evaluations, oldest first, and the actions on each image with those of drawing every box."""

    evaluations: list[Evaluation]
    actions: list[tuple[int, int]]

    def at(self, labels: int) -> Evaluation | None:
        """The first evaluation with at least so many labels."""
        measured = (each for each in self.evaluations if each.map_50 is not None and each.labels >= labels)
        return next(measured, None)

    def spent(self, images: int) -> tuple[int, int]:
        """Actions on the first images, with and without suggestions."""
        done = np.array(self.actions[:images], np.int64).reshape(-1, 2).sum(axis=0)
        return int(done[0]), int(done[1])


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coco", type=Path, help="folder with annotations.json and images/")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--labels", type=int, default=100, help="images to answer")
    parser.add_argument("--pace", type=float, default=0.0, help="images a second")
    parser.add_argument("--no-suggestions", action="store_true", help="the person draws every box")
    asked = parser.parse_args()
    data = coco(asked.coco) if asked.coco else digits()
    pool, held_out = data.held_out()
    labels = min(asked.labels, len(pool))
    print(f"{describe()}\n{len(pool)} images to label, {len(held_out)} held out, {len(data.names)} classes", flush=True)
    outcomes = []
    for seed in range(asked.seeds):
        with tempfile.TemporaryDirectory(prefix="flywheel-", ignore_cleanup_errors=True) as folder:
            here = Path(folder)
            write(data, pool, here / "photos")
            write(data, held_out, here / "test")
            outcomes.append(run(here, seed, labels, pace=asked.pace, suggestions=not asked.no_suggestions))
        spent, drawn = outcomes[-1].spent(labels)
        print(f"seed {seed}: {spent:,} actions, {drawn:,} without suggestions: {spent / max(drawn, 1):.2f}", flush=True)
    show(outcomes, sorted({each for each in AT if each < labels} | {labels}))


def show(outcomes: Sequence[Outcome], at: Sequence[int]) -> None:
    """The table: a row for each number of images."""
    print("| images | mAP@.5 (each seed) | mAP@[.5:.95] | actions so far, of those without suggestions |")
    print("|---:|---:|---:|---:|")
    for images in at:
        found = [each.at(images) for each in outcomes]
        half = [each.map_50.value for each in found if each is not None and each.map_50 is not None]
        strict = [each.map_50_95.value for each in found if each is not None and each.map_50_95 is not None]
        shares = [spent / max(drawn, 1) for spent, drawn in (each.spent(images) for each in outcomes)]
        several = " ".join(f"{each:.3f}" for each in half)
        print(f"| {images} | {_mean(half)} ({several}) | {_mean(strict)} | {np.mean(shares):.2f} |")


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f}" if values else "–"


def write(data: Data, examples: Sequence[Example], folder: Path) -> None:
    """The images with their boxes as a dataset of COCO's."""
    folder.mkdir()
    said: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": []}
    said["categories"] = [{"id": class_id, "name": name} for class_id, name in data.names.items()]
    for number, example in enumerate(examples, start=1):
        content = data.read(example.sha256)
        name = f"{number:05}.png" if content.startswith(b"\x89PNG") else f"{number:05}.jpg"
        (folder / name).write_bytes(content)
        said["images"].append({"id": number, "file_name": name})
        for box, label in zip(example.boxes.tolist(), example.labels.tolist(), strict=True):
            count = len(said["annotations"]) + 1
            said["annotations"].append({"id": count, "image_id": number, "category_id": label, "bbox": box})
    (folder / "annotations.json").write_text(json.dumps(said), encoding="utf-8")


def run(here: Path, seed: int, labels: int, *, pace: float, suggestions: bool) -> Outcome:
    """One project from its start to `labels` answers."""
    truth = shutil.move(here / "photos" / "annotations.json", here / "truth.json")
    with started(here, seed) as url:
        table = here / "actions.csv"
        words = ["--labels", str(truth), "--add-classes", "--budget", str(labels), "--seed", str(seed)]
        words += ["--pace", str(pace), "--actions", str(table), "--labeler-url", url] + (
            [] if suggestions else ["--no-suggestions"]
        )
        with (here / "simulate.log").open("w") as log:
            subprocess.run(
                [*FLYWHEEL, "simulate", *words],
                check=True,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=START_SECONDS + AN_IMAGE_SECONDS * labels,
            )

        def evaluations() -> list[Evaluation]:
            progress = httpx.get(f"{url}/api/progress", timeout=60).raise_for_status().json()
            return [Evaluation.model_validate(each) for each in progress["evaluations"]]

        until = time.monotonic() + LAST_SECONDS  # the last one may need another round
        while max((each.labels for each in evaluations()), default=0) < labels and time.monotonic() < until:
            time.sleep(1)
        found = evaluations()
    with table.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    actions = [
        (int(row["actions"]), sum(int(row[name]) for name in ("drawn", "corrected", "accepted"))) for row in rows
    ]
    return Outcome(sorted(found, key=lambda each: each.labels), actions)


@contextmanager
def started(here: Path, seed: int) -> Iterator[str]:
    """`flywheel up`; yields the labeler's address."""
    port, trainer_port = free_port(), free_port()
    words = ["up", "photos", "--task", "detection", "--workspace", "project", "--test", "test"]
    words += ["--port", str(port), "--trainer-port", str(trainer_port), "--set", f"trainer.seed={seed}"]
    with (here / "up.log").open("w") as log:
        process = subprocess.Popen(
            [*FLYWHEEL, *words], cwd=here, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            wait_for(lambda: _is_up(process, here / "up.log"), "the services", START_SECONDS)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(END_SECONDS)


def _is_up(process: subprocess.Popen[bytes], log: Path) -> bool:
    said = log.read_text(encoding="utf-8")
    if process.poll() is not None:
        raise SystemExit(said)
    return "Open http" in said


if __name__ == "__main__":
    main()
