"""The gain of a Ray cluster: rounds, predictions of all images, and embedding, without and with it in the same run.

    python -m benchmarks.engines                              # 200,000 × 256, a cluster of two workers on this machine
    python -m benchmarks.engines --address ray://HOST:10001   # your cluster; RAY_AUTH_MODE=token with a token
    python -m benchmarks.engines --rows 2000000 --images 5000

A round is `trainer.loop.rounds.rank` with `uncertainty_herding`, and predictions are what the pages ask for: the
likeliest class of every image. The engines take turns, and each figure is the median of three. Both must give the same
list. Images are random JPEG files of 256 pixels in a folder that all workers can read. A cluster on this machine shares
its cores with the trainer, so that it shows the cost of asking workers, and no gain.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from PIL import Image

from benchmarks.machine import describe
from shared.settings.services import TrainerSettings
from shared.wire.images import ImageEntry
from tests.trainer.engine.ray_machines import PRIVATE, Machines, until
from trainer.columns.id_matrix import IdMatrix
from trainer.columns.spread_rows import over
from trainer.embeddings.embedder import Embedder
from trainer.embeddings.space import Geometry, ImagePool
from trainer.embeddings.transform import plain
from trainer.engine.engine import Engine, LocalEngine
from trainer.explore.predicting import likeliest
from trainer.loop.rounds import Model, Timings, fit, rank
from trainer.strategies import strategy_named
from trainer.sync.snapshot import Snapshot
from trainer.threads import leave_a_core

CLASSES, LABELS, TURNS, BLOCK = 10, 1_000, 3, 50_000


def main() -> None:
    """Read the command line, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--images", type=int, default=0, help="images to embed with tf_efficientnet_lite0; 0: none")
    parser.add_argument("--address", default="", help="of a cluster; empty: one of two workers on this machine")
    given = parser.parse_args()
    leave_a_core()
    machines = None
    if not given.address:
        os.environ |= PRIVATE
        machines = Machines()
        machines.head()
        machines.join()
    try:
        with tempfile.TemporaryDirectory() as folder:
            compare(given, given.address if machines is None else machines.address, Path(folder))
    finally:
        if machines is not None:
            machines.close()


def compare(given: argparse.Namespace, address: str, folder: Path) -> None:
    """Measure both engines in turns."""
    from trainer.engine.ray_engine import RayEngine

    photos = folder / "photos"
    line = {"engine": "ray", "ray_address": address, "images": str(photos), "backbone": "tf_efficientnet_lite0"}
    settings = TrainerSettings.load(command_line=line)[0]
    ray, local = RayEngine(settings), LocalEngine()
    ray.start()
    until(lambda: ray.problem is None, 120.0)
    try:
        print(
            f"{given.rows:,} × {given.dim}, {LABELS:,} labels, {len(ray.machines)} machines. "
            f"{describe('numpy', 'ray')}\n"
        )
        print("| | local | ray |\n|---|---:|---:|", flush=True)
        began = time.perf_counter()
        here, there = Round(given, local), Round(given, ray)
        here.ask(), there.ask()  # the caches of a new embedding version, and the first look at what workers lack
        until(lambda: ray.waiting == 0, 600.0)
        print(f"| rows are with the workers, both pools made | | {time.perf_counter() - began:.1f} s |")
        if here.ask() != there.ask():
            raise SystemExit("The engines gave different lists.")
        row("a round: score and rank", in_turns(here.ask, there.ask))
        row("predictions of all images", in_turns(here.predict, there.predict))
        if given.images:
            row(f"embedding {given.images:,} images", embedding(given.images, settings, photos, folder, local, ray))
    finally:
        ray.close()


def row(name: str, seconds: tuple[float, float]) -> None:
    """Print one row of the table."""
    print(f"| {name} | {seconds[0]:.2f} s | {seconds[1]:.2f} s |", flush=True)


def in_turns(here: Callable[[], Any], there: Callable[[], Any]) -> tuple[float, float]:
    """The median seconds of each function; they take turns."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(TURNS):
        for run, kept in ((here, taken[0]), (there, taken[1])):
            began = time.perf_counter()
            run()
            kept.append(time.perf_counter() - began)
    return statistics.median(taken[0]), statistics.median(taken[1])


class Round:
    """A pool of vectors around the centres of their classes, and a model of some labels."""

    def __init__(self, given: argparse.Namespace, engine: Engine) -> None:
        rng = np.random.default_rng(0)
        centres = rng.standard_normal((CLASSES, given.dim)).astype(np.float32)
        truth = rng.integers(CLASSES, size=given.rows)
        self._pool = ImagePool(given.dim, lambda _: centres)
        workers, folder = engine if engine.spreads else None, Path(tempfile.gettempdir())
        matrices = IdMatrix(given.dim, folder, workers), IdMatrix(given.dim)
        self._pool.geometry = Geometry(plain(np.zeros(given.dim, np.float32)), *matrices)
        for start in range(0, given.rows, BLOCK):
            some = truth[start : start + BLOCK]
            rows = centres[some] + 2.0 * rng.standard_normal((len(some), given.dim), dtype=np.float32)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            self._pool.train.append(np.arange(start, start + len(some)), rows)
        labels = {int(image): int(truth[image]) for image in rng.permutation(given.rows)[:LABELS]}
        self._snapshot = Snapshot(uuid4(), len(labels), labels, frozenset(labels), {k: str(k) for k in range(CLASSES)})
        model = fit(self._pool, self._snapshot, None, seed=0)
        assert model is not None
        self._model: Model = model

    def ask(self) -> list[tuple[int, float]]:
        """The list of a round: images and scores."""
        push = rank(
            self._pool,
            self._snapshot,
            self._model,
            strategy_named("uncertainty_herding"),
            strategy_name="uncertainty_herding",
            leased=frozenset(),
            length=100,
            seed=0,
            timings=Timings(),
        )
        return [(each.image_id, each.score) for each in push.queries] if push is not None else []

    def predict(self) -> None:
        """The likeliest class of every image."""
        over(self._pool.train.rows, partial(likeliest, task=self._model.task, head=self._model.head))


def embedding(
    count: int, settings: TrainerSettings, photos: Path, folder: Path, local: Engine, ray: Engine
) -> tuple[float, float]:
    """Seconds until all images have a vector, once for each engine, from the first vector on."""
    photos.mkdir()
    rng, entries = np.random.default_rng(0), []
    for number in range(1, count + 1):
        path = photos / f"{number}.jpg"
        Image.fromarray(rng.integers(0, 255, (256, 256, 3), np.uint8)).save(path)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        entries.append(ImageEntry(id=number, uri=path.name, sha256=sha256, split="train", removed=False))
    taken = []
    for name, engine in (("local", local), ("ray", ray)):
        by_id = {entry.id: (photos / entry.uri) for entry in entries}
        embedder = Embedder(settings, folder / name, lambda entry: by_id[entry.id].read_bytes(), engine=engine)  # noqa: B023
        left, began = list(entries), 0.0
        while left:
            done = {entry.id for entry in embedder.step(left[: embedder.appetite], more_coming=False)}
            left = [entry for entry in left if entry.id not in done]
            if done and not began:
                began, first = time.perf_counter(), len(done)
        taken.append((time.perf_counter() - began) * count / (count - first))
        embedder.close()
    return taken[0], taken[1]


if __name__ == "__main__":
    main()
