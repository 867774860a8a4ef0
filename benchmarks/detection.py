"""The live detector: its quality against the number of labeled images, the cost of a round, and the actions that its
suggestions save.

    python -m benchmarks.detection                           # scenes of scikit-learn's digits, made here
    python -m benchmarks.detection --small                   # digits of 12 to 36 pixels
    python -m benchmarks.detection --small --size 320        # on this canvas, and not on the one that a project chooses
    python -m benchmarks.detection --hands SIGNS --on PHOTOS      # cut-out hands on photos of other things
    python -m benchmarks.detection --animals MONKEYS --on PHOTOS  # one or two large objects
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
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.box_sets import SMALL, Data, animals, coco, digits, hands
from benchmarks.machine import describe
from shared.images.opening import ImageLimits, dimensions
from shared.tasks.box_actions import Actions
from shared.tasks.detection import Box, Boxes
from trainer.detection.detections import Detections
from trainer.detection.detector import Detector, Example
from trainer.detection.feature_maps import FeatureMaps
from trainer.detection.learning import STEPS, fit
from trainer.detection.pyramid import installed_pyramid
from trainer.detection.suggestion_threshold import Judged, actions, least_costly
from trainer.evaluation.box_matching import Placed
from trainer.evaluation.detection_metrics import evaluate
from trainer.live_detector.canvas import canvas_for

AT = (5, 10, 20, 50, 100)
FIRST = 5
"""Images before the first suggestions, and of a round at the beginning."""
LATER = 10
"""Images of a round from 20 on."""
LIMITS = ImageLimits(10**8, 10**8)


class Point(NamedTuple):
    """The result after this many labeled images."""

    images: int
    map_50: float
    map_50_95: float
    actions: int
    """So far."""


class Run(NamedTuple):
    """One seed."""

    points: list[Point]
    rounds: list[float]  # seconds
    views: list[float]  # seconds an image
    with_suggestions: Actions
    boxes: int


def run(
    data: Data,
    maps: FeatureMaps,
    seed: int,
    labels: int,
    order: Sequence[Example] | None = None,
    *,
    steps: int = STEPS,
) -> Run:
    """Label up to `labels` images in the order of `seed`, or in the given `order`."""
    pool, held_out = data.held_out()
    if order is None:
        order = [pool[i] for i in np.random.default_rng(seed).permutation(len(pool))]
    order = order[:labels]
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
        detector = fit(order[:labeled], maps, previous=detector, steps=steps, seed=seed)
        rounds.append(time.process_time() - began)
        if labeled in AT or labeled == len(order):
            points.append(Point(labeled, *measure(detector, maps, held_out, data.names), done.total))
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


def placed(classes: NDArray[np.int64], boxes: NDArray[np.float32], scores: NDArray[np.float32] | None = None) -> Placed:
    """Boxes in the form that the metrics need. Boxes without scores get the score 1."""
    certain = np.ones(len(classes)) if scores is None else scores.astype(np.float64)
    return Placed(classes, boxes.astype(np.float64), certain)


def add_sets(parser: argparse.ArgumentParser) -> None:
    """Add the options that `chosen` reads."""
    parser.add_argument("--small", action="store_true", help="small digits")
    parser.add_argument("--coco", type=Path, help="folder with annotations.json and images/")
    parser.add_argument("--hands", type=Path, help="folder of hand signs, with labels.csv and images/")
    parser.add_argument("--animals", type=Path, help="folder of photos of animals, with labels.csv and images/")
    parser.add_argument("--on", type=Path, help="folder of the photos behind them, with labels.csv and images/")


def chosen(asked: argparse.Namespace) -> Data:
    """The images that the command line asks for."""
    if (asked.hands or asked.animals) and not asked.on:
        raise SystemExit("--hands and --animals need --on, a folder of other photos")
    if asked.hands:
        return hands(asked.hands, asked.on)
    if asked.animals:
        return animals(asked.animals, asked.on)
    if asked.small:
        return digits(sides=SMALL)
    return coco(asked.coco) if asked.coco else digits()


def canvas(data: Data, examples: Sequence[Example]) -> int:
    """The side of the canvas, in pixels, that a project with these labeled images uses."""

    def sizes(numbers: Sequence[int]) -> dict[int, tuple[int, int]]:
        return {each: dimensions(data.read(examples[each].sha256), LIMITS) for each in numbers}

    drawn = (zip(each.labels.tolist(), each.boxes.tolist(), strict=True) for each in examples)
    return canvas_for(
        {number: Boxes(Box(label, *box) for label, box in each) for number, each in enumerate(drawn)}, sizes
    )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_sets(parser)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--maps", type=Path, help="where feature maps are kept, by default a folder that is deleted")
    parser.add_argument("--whole", action="store_true", help="train whole detectors, on the GPU if there is one")
    parser.add_argument("--architecture", help="of a whole detector, by default the installed network")
    parser.add_argument("--size", type=int, help="of the canvas, in pixels")
    parser.add_argument("--steps", type=int, help=f"of a round, by default {STEPS}, or of its training")
    parser.add_argument("--batch", type=int, default=8, help="images per step of its training")
    parser.add_argument("--rate", type=float, default=2e-3, help="learning rate of its head")
    parser.add_argument("--mosaic", type=float, default=0.3, help="share of mosaics among its views")
    parser.add_argument("--images", type=int, nargs="*", help="labeled images, by default 5, 10, 20, 50, 100 and all")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
    data = chosen(asked)
    if asked.whole:
        from benchmarks import whole_detector

        whole_detector.main(asked)
        return
    pool, held_out = data.held_out()
    size = asked.size or canvas(data, pool[:FIRST])
    print(
        f"{len(pool)} images to label, {len(held_out)} held out, {len(data.names)} classes; {asked.steps or STEPS} "
        f"steps a round, on a canvas of {size} pixels"
    )
    with tempfile.TemporaryDirectory() as folder:
        place = asked.maps or Path(folder)
        maps = FeatureMaps(place, installed_pyramid(place, size=size), LIMITS, data.read)
        runs = [run(data, maps, seed, min(asked.labels, len(pool)), steps=asked.steps or STEPS) for seed in seeds]
    print("| images | mAP@.5 | mAP@[.5:.95] |\n|---:|---:|---:|")
    for same in zip(*(each.points for each in runs), strict=True):
        means = np.mean([point[1:3] for point in same], axis=0)
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
