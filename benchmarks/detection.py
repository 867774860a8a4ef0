"""The live detector: its quality against the number of labeled images, the cost of a round, and the actions that its
suggestions save.

    python -m benchmarks.detection                           # scenes of scikit-learn's digits, made here
    python -m benchmarks.detection --coco FOLDER             # FOLDER/annotations.json and FOLDER/images/
    python -m benchmarks.detection --coco FOLDER --seeds 1 --labels 20 --maps CACHE
    python -m benchmarks.detection --coco FOLDER --whole     # whole detectors instead, as `flywheel train` trains them

A third of the images is held out, always the same; the others are labeled in an order drawn by each seed. As in the
trainer, there are no suggestions before five images are labeled. A round of STEPS steps follows on five more images,
and on ten more from 20 images on. Each image is scored before it is learned; what a person would have done with the
suggestions is counted as in `trainer.detection.suggestion_threshold`: drawing, correcting and deleting a box is one
action each. The learner runs alone, on one thread, without services. mAP is on the held-out third. The time of an
image is that of its views, which is only measured when they are not in CACHE yet. All times are CPU seconds.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from benchmarks.machine import describe
from shared.images.opening import ImageLimits
from shared.tasks.box_actions import Actions
from trainer.detection.detections import Detections
from trainer.detection.detector import Detector, Example
from trainer.detection.feature_maps import FeatureMaps
from trainer.detection.learning import STEPS, fit
from trainer.detection.pyramid import installed_pyramid
from trainer.detection.suggestion_threshold import Judged, actions, least_costly
from trainer.evaluation.box_matching import Placed
from trainer.evaluation.detection_metrics import evaluate

SPLIT = 12_345
"""Seed of the held-out third."""
AT = (5, 10, 20, 50, 100)
FIRST = 5
"""Images before the first suggestions, and of a round at the beginning."""
LATER = 10
"""Images of a round from 20 on."""
LIMITS = ImageLimits(10**8, 10**8)
SCENES = 240


@dataclass(frozen=True)
class Data:
    """Images by content hash, and the objects in each."""

    files: dict[str, bytes | Path]
    examples: list[Example]
    names: dict[int, str]

    def read(self, sha256: str) -> bytes:
        """The content of an image."""
        found = self.files[sha256]
        return found if isinstance(found, bytes) else found.read_bytes()

    def held_out(self) -> tuple[list[Example], list[Example]]:
        """The images to label, and the third to measure on."""
        order = np.random.default_rng(SPLIT).permutation(len(self.examples))
        third = len(order) // 3
        return [self.examples[i] for i in order[third:]], [self.examples[i] for i in order[:third]]


class Point(NamedTuple):
    """The result after this many labeled images."""

    images: int
    map_50: float
    map_50_95: float


class Run(NamedTuple):
    """One seed."""

    points: list[Point]
    rounds: list[float]  # seconds
    views: list[float]  # seconds an image
    with_suggestions: Actions
    boxes: int


def coco(folder: Path) -> Data:
    """A folder of images with annotations.json in COCO's format."""
    said = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    drawn: dict[int, list[tuple[list[float], int]]] = {each["id"]: [] for each in said["images"]}
    for each in said["annotations"]:
        if each["bbox"][2] >= 1 and each["bbox"][3] >= 1:
            drawn[each["image_id"]].append((each["bbox"], each["category_id"]))
    files: dict[str, bytes | Path] = {}
    examples = []
    for image in said["images"]:
        path = folder / "images" / image["file_name"]
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        files[sha256] = path
        examples.append(_example(sha256, drawn[image["id"]]))
    return Data(files, examples, {each["id"]: each["name"] for each in said["categories"]})


def scenes(count: int = SCENES, seed: int = 0) -> Data:
    """Scenes of 480 × 360 pixels: two to eight digits of 24 to 120 pixels on a ground of blots, some hiding a corner of
    another; every tenth scene is empty."""
    found, draws = load_digits(), np.random.default_rng(seed)
    files: dict[str, bytes | Path] = {}
    examples = []
    for number in range(count):
        blots = draws.integers(60, 160, (9, 12, 3)).astype(np.uint8)
        scene = Image.fromarray(blots).resize((480, 360), Image.Resampling.BICUBIC)
        boxes: list[tuple[list[float], int]] = []
        for _ in range(int(draws.integers(2, 9)) if number % 10 else 0):
            digit = int(draws.integers(len(found.target)))
            side = round(float(np.exp(draws.uniform(np.log(24), np.log(120)))))
            x, y = int(draws.integers(0, 480 - side)), int(draws.integers(0, 360 - side))
            if any(x < bx + 0.7 * bw and bx < x + 0.7 * side and y < by + 0.7 * bh and by < y + 0.7 * side
                   for (bx, by, bw, bh), _ in boxes):  # fmt: skip
                continue
            ink = Image.fromarray((found.images[digit] * 15.9).astype(np.uint8)).resize((side, side))
            colour = tuple(int(each) for each in draws.choice([0, 255], 3) * 0.9 + draws.integers(0, 25, 3))
            scene.paste(colour, (x, y), ink)
            left, top, right, bottom = ink.point(lambda value: 255 * (value > 60)).getbbox() or (0, 0, side, side)
            boxes.append(([x + left, y + top, right - left, bottom - top], int(found.target[digit])))
        stream = io.BytesIO()
        scene.save(stream, "JPEG", quality=90)
        sha256 = hashlib.sha256(stream.getvalue()).hexdigest()
        files[sha256] = stream.getvalue()
        examples.append(_example(sha256, boxes))
    return Data(files, examples, {digit: str(digit) for digit in range(10)})


def run(data: Data, maps: FeatureMaps, seed: int, labels: int) -> Run:
    """Label up to `labels` images in the order of `seed`."""
    pool, held_out = data.held_out()
    order = [pool[i] for i in np.random.default_rng(seed).permutation(len(pool))][:labels]
    detector: Detector | None = None
    judged: list[Judged] = []
    done, points, rounds, views = Actions(), [], [], []
    labeled = 0
    while labeled < len(order):
        batch = order[labeled : labeled + (FIRST if labeled < 20 else LATER)]
        for example in batch:
            if not maps.has_views(example.sha256):
                began = time.process_time()
                maps.view(example.sha256, 0)
                views.append(time.process_time() - began)
            found = detector.detect(maps.plain(example.sha256)) if detector is not None else Detections.none()
            each = Judged(found, example.boxes, example.labels)
            done += actions(each, least_costly(judged))
            if detector is not None:
                judged.append(each)
        labeled += len(batch)
        began = time.process_time()
        detector = fit(order[:labeled], maps, previous=detector, seed=seed)
        rounds.append(time.process_time() - began)
        if labeled in AT or labeled == len(order):
            points.append(Point(labeled, *measure(detector, maps, held_out, data.names)))
            boxes = sum(len(each.boxes) for each in order[:labeled])
            print(
                f"  seed {seed}, {labeled} images: mAP@.5 {points[-1].map_50:.3f}, mAP@[.5:.95] "
                f"{points[-1].map_50_95:.3f}; {done.total} actions for {boxes} boxes; "
                f"{np.median(rounds):.1f} CPU s a round",
                flush=True,
            )
    return Run(points, rounds, views, done, sum(len(each.boxes) for each in order))


def measure(
    detector: Detector, maps: FeatureMaps, examples: Sequence[Example], names: dict[int, str]
) -> tuple[float, float]:
    """mAP at IoU 0.5, and from 0.5 to 0.95."""
    found = [detector.detect(maps.plain(each.sha256)) for each in examples]
    measured = evaluate(
        [placed(each.labels, each.boxes) for each in examples],
        [placed(each.classes, each.boxes, each.scores) for each in found],
        names,
        learned=frozenset(detector.classes.tolist()),
        suggested_from=detector.threshold,
    )
    return measured.details["map_50"].value, measured.details["map_50_95"].value


def _example(sha256: str, boxes: Sequence[tuple[list[float], int]]) -> Example:
    places = np.array([box for box, _ in boxes], np.float32).reshape(-1, 4)
    return Example(sha256, places, np.array([label for _, label in boxes], np.int64))


def placed(classes: NDArray[np.int64], boxes: NDArray[np.float32], scores: NDArray[np.float32] | None = None) -> Placed:
    """Boxes in the form that the metrics need. Boxes without scores get the score 1."""
    certain = np.ones(len(classes)) if scores is None else scores.astype(np.float64)
    return Placed(classes, boxes.astype(np.float64), certain)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coco", type=Path, help="folder with annotations.json and images/")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--maps", type=Path, help="where feature maps are kept, by default a folder that is deleted")
    parser.add_argument("--whole", action="store_true", help="train whole detectors, on the GPU if there is one")
    parser.add_argument("--architecture", help="of a whole detector, by default the installed network")
    parser.add_argument("--size", type=int, help="of its canvas, in pixels")
    parser.add_argument("--steps", type=int, help="of its training")
    parser.add_argument("--batch", type=int, default=8, help="images per step of its training")
    parser.add_argument("--rate", type=float, default=2e-3, help="learning rate of its head")
    parser.add_argument("--mosaic", type=float, default=0.3, help="share of mosaics among its views")
    parser.add_argument("--images", type=int, nargs="*", help="labeled images, by default 5, 10, 20, 50, 100 and all")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
    data = coco(asked.coco) if asked.coco else scenes()
    if asked.whole:
        from benchmarks import whole_detector

        whole_detector.main(asked)
        return
    pool, held_out = data.held_out()
    print(f"{len(pool)} images to label, {len(held_out)} held out, {len(data.names)} classes; {STEPS} steps a round")
    with tempfile.TemporaryDirectory() as folder:
        place = asked.maps or Path(folder)
        maps = FeatureMaps(place, installed_pyramid(place), LIMITS, data.read)
        runs = [run(data, maps, seed, min(asked.labels, len(pool))) for seed in seeds]
    print("| images | mAP@.5 | mAP@[.5:.95] |\n|---:|---:|---:|")
    for same in zip(*(each.points for each in runs), strict=True):
        means = np.mean([point[1:] for point in same], axis=0)
        spread = " ".join(f"{point.map_50:.3f}" for point in same)
        print(f"| {same[0].images} | {means[0]:.3f} ({spread}) | {means[1]:.3f} |")
    rounds = np.concatenate([each.rounds for each in runs])
    print(f"a round: {np.median(rounds):.1f} CPU seconds, at most {rounds.max():.1f}", end="; ")
    views = np.concatenate([each.views for each in runs])
    print(f"the views of an image: {np.median(views):.2f} CPU seconds" if len(views) else "views were there")
    for seed, each in zip(seeds, runs, strict=True):
        total = each.with_suggestions
        print(
            f"seed {seed}: {each.boxes} boxes; with suggestions {total.total} actions ({total.drawn} drawn, "
            f"{total.corrected} corrected, {total.deleted} deleted; {total.accepted} accepted), "
            f"{total.total / max(each.boxes, 1):.2f} of those without"
        )
    print(describe())


if __name__ == "__main__":
    main()
