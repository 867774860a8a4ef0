"""Whether a strategy asks for better images than random in a detection project, by images and by actions.

    python -m benchmarks.detection_asking --seeds 3 --labels 20      # scenes of digits
    python -m benchmarks.detection_asking --coco FOLDER --maps CACHE --strategies random,typiclust

In a detection project, a strategy sees only the embeddings, which the trainer's network computes here too, and which
images are labeled. It orders the images that are not held out, ten at a time. `benchmarks.detection`, which has the
same sets, labels them in this order. An image with many boxes teaches more, and costs more actions. So mAP is also
compared at equal actions: at those of the cheapest strategy of the same seed, interpolated between the measured points.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.box_sets import Data
from benchmarks.data_sets import pool_of
from benchmarks.detection import LIMITS, Run, add_sets, chosen, run
from benchmarks.machine import describe
from shared.settings.services import TrainerSettings
from trainer.detection.feature_maps import FeatureMaps
from trainer.detection.pyramid import installed_pyramid
from trainer.embeddings.backbones.backbone import load_backbone
from trainer.strategies import Pool, strategy_named

STRATEGIES = "random,uncertainty_herding,typiclust,probcover,coreset"
"""By default. The first is the one to compare with."""
ASKED = 10
"""Images per list."""
BATCH = 64

Vectors = NDArray[np.float32]


def embedded(data: Data, folder: Path) -> tuple[Vectors, tuple[int, ...]]:
    """The embeddings (n, D) of the images that are not held out, as the trainer computes them, and their blocks."""
    backbone = load_backbone(TrainerSettings.load(command_line={})[0], folder)
    if backbone is None:
        raise SystemExit("No backbone can be had here: see docs/guides/backbones.md.")
    contents = (data.read(each.sha256) for each in data.held_out()[0])
    inputs = [backbone.preprocessing.read(each, LIMITS) for each in contents]
    rows = [backbone.embed(np.stack(inputs[start : start + BATCH])) for start in range(0, len(inputs), BATCH)]
    return np.concatenate(rows).astype(np.float32), backbone.blocks


def order(vectors: Vectors, blocks: Sequence[int], strategy: str, seed: int, count: int) -> list[int]:
    """The first `count` rows that the strategy asks for."""
    space = pool_of(vectors, np.arange(len(vectors)), np.empty(0, np.int64), blocks)
    labels = np.full(len(vectors), -1, np.int64)
    nobody = np.zeros(len(vectors), np.bool_)
    asked: list[int] = []
    while len(asked) < count:
        pool = Pool(
            space.train.rows, None, labels.copy(), nobody, np.flatnonzero(labels < 0), seed, memory=space.memory
        )
        rows = strategy_named(strategy, boxes=True)(pool, ASKED).rows[:ASKED]
        asked += rows.tolist()
        labels[rows] = 0
    return asked[:count]


def after(done: Run, actions: int) -> float:
    """mAP at IoU 0.5 after this many actions."""
    costs = [0, *(point.actions for point in done.points)]
    return float(np.interp(actions, costs, [0.0, *(point.map_50 for point in done.points)]))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_sets(parser)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--labels", type=int, default=20)
    parser.add_argument("--maps", type=Path, help="where feature maps are kept, by default a folder that is deleted")
    parser.add_argument("--strategies", default=STRATEGIES)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    data, strategies = chosen(asked), asked.strategies.split(",")
    pool, _ = data.held_out()
    runs: dict[str, list[Run]] = {each: [] for each in strategies}
    with tempfile.TemporaryDirectory() as folder:
        place = asked.maps or Path(folder)
        maps = FeatureMaps(place, installed_pyramid(place), LIMITS, data.read)
        vectors, blocks = embedded(data, place)
        for seed in range(asked.seeds):
            for strategy in strategies:
                print(strategy)
                first = order(vectors, blocks, strategy, seed, asked.labels)
                runs[strategy].append(run(data, maps, seed, asked.labels, [pool[row] for row in first]))
    reference = runs[strategies[0]]
    counts = [point.images for point in reference[0].points]
    fewest = [min(each[seed].points[-1].actions for each in runs.values()) for seed in range(asked.seeds)]
    print(f"mAP@.5 after {counts} images, and to {strategies[0]} (each seed) after the last; boxes; actions;")
    print(f"mAP@.5 after {fewest} actions, and to {strategies[0]} (each seed)")
    for strategy, mine in runs.items():
        means = np.mean([[point.map_50 for point in each.points] for each in mine], axis=0)
        gaps = [one.points[-1].map_50 - two.points[-1].map_50 for one, two in zip(mine, reference, strict=True)]
        equal, base = (
            np.array([after(one, cost) for one, cost in zip(each, fewest, strict=True)]) for each in (mine, reference)
        )
        cells = [f"{each:.3f}" for each in means]
        cells.append(f"{np.mean(gaps):+.3f} ({' '.join(f'{each:+.3f}' for each in gaps)})")
        cells.append(f"{np.mean([each.boxes for each in mine]):.0f}")
        cells.append(f"{np.mean([each.points[-1].actions for each in mine]):.0f}")
        cells.append(f"{equal.mean():.3f}")
        cells.append(f"{(equal - base).mean():+.3f} ({' '.join(f'{each:+.3f}' for each in equal - base)})")
        print(f"| {strategy} | {' | '.join(cells)} |")
    print(describe())


if __name__ == "__main__":
    main()
