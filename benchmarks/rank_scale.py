"""The cost of a round as the pool grows: fit, score and rank on synthetic images, as ratios to one matrix product.

    python -m benchmarks.rank_scale                       # 10,000 and 100,000 images of 1,280 values
    python -m benchmarks.rank_scale --sizes 1000000 --raw 512
    python -m benchmarks.rank_scale --sizes 100000 --labels 1000

It calls the functions of the trainer's loop, `trainer.loop.rounds.fit` and `rank`, on a pool built like the loop's. The
matrix product is pool (N, D) @ (D, 256), with D values of the raw embedding: the cost of projecting the pool once. It
is measured in the same run on the same cores, so that the ratios hold on a busy machine. Each step is the median of
three, with ten more labels each time; the first rank fills the caches of a new embedding version. Memory is the growth
of the process.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import psutil

from benchmarks.machine import describe
from shared.wire.queries import QueryPush
from trainer.columns.id_matrix import IdMatrix
from trainer.embeddings.space import Geometry, ImagePool
from trainer.embeddings.transform import fit_projection
from trainer.loop.rounds import Model, Timings, fit, rank
from trainer.strategies import strategy_named
from trainer.sync.snapshot import Snapshot

CLASSES = 10
BLOCK = 10_000


def main() -> None:
    """Read the command line, measure each size, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--raw", type=int, default=1_280, help="length of a raw embedding")
    parser.add_argument("--labels", type=int, default=200)
    parser.add_argument("--length", type=int, default=200, help="images in one list")
    parser.add_argument("--strategy", default="uncertainty_herding")
    given = parser.parse_args()
    print(f"{given.strategy}, {given.labels} labels, lists of {given.length}. {describe('numpy', 'scipy')}\n")
    print("| images | product | fit | score | rank | fit + score + rank | × product | first rank | memory |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for size in given.sizes:
        print(measure(size, given.raw, given.labels, given.length, given.strategy), flush=True)


def measure(size: int, raw: int, labeled: int, length: int, strategy_name: str) -> str:
    """One row of the table, for `size` images."""
    rng, before = np.random.default_rng(0), psutil.Process().memory_info().rss
    centres = rng.standard_normal((CLASSES, raw)).astype(np.float32)
    truth = rng.integers(CLASSES, size=size)
    first = _images(rng, centres, truth[:BLOCK])
    folder = Path(tempfile.gettempdir())  # large pools are in a file without a name
    pool = ImagePool(raw, lambda _hashes: first)
    projection = fit_projection(first.mean(axis=0), first)
    width = projection.axes.shape[1]
    pool.geometry = Geometry(projection, IdMatrix(width, folder), IdMatrix(width))
    product = 0.0
    for start in range(0, size, BLOCK):  # raw vectors are never in memory all at once
        block = _images(rng, centres, truth[start : start + BLOCK])
        began = time.perf_counter()
        block @ pool.projection.axes
        product += time.perf_counter() - began
        pool.train.append(np.arange(start, start + len(block)), pool.transform(block))
    steps: dict[str, list[float]] = {"fit": [], "score": [], "rank": []}
    strategy, order = strategy_named(strategy_name), rng.permutation(size)
    model: Model | None = None
    asked: QueryPush | None = None
    log_id = uuid4()  # of one project, so that the current list counts
    for turn in range(4):
        given = {int(row): int(truth[row]) for row in order[: labeled + 10 * turn]}
        snapshot = Snapshot(log_id, len(given), given, frozenset(given), {})
        timings = Timings()
        with timings.step("fit"):
            model = fit(pool, snapshot, model, seed=0)
        options: dict[str, Any] = {"strategy_name": strategy_name, "leased": frozenset(), "length": length, "seed": 0}
        asked = rank(pool, snapshot, model, strategy, **options, timings=timings, before=asked)
        for name, values in steps.items():
            values.append(timings.steps[name] / 1e3)
    cold = steps["rank"][0]
    fitted, score, ranked = (statistics.median(values[1:]) for values in steps.values())
    total, grown = fitted + score + ranked, (psutil.Process().memory_info().rss - before) / 2**20
    return (
        f"| {size:,} | {product:.2f} s | {fitted:.2f} s | {score:.2f} s | {ranked:.2f} s | {total:.2f} s "
        f"| {total / product:.2f} | {cold:.2f} s | {grown:,.0f} MiB |"
    )


def _images(rng: np.random.Generator, centres: Any, truth: Any) -> Any:
    """Raw vectors (n, D) around the centres of their classes, as noisy as real ones."""
    noise: Any = rng.standard_normal((len(truth), centres.shape[1]), dtype=np.float32)
    return centres[truth] + 2.0 * noise


if __name__ == "__main__":
    main()
