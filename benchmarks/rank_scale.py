"""What a round costs as the pool grows: fit, score and rank on synthetic images, as ratios to one bare matrix product.

    python -m benchmarks.rank_scale                       # 10,000 and 100,000 images of 1,280 values
    python -m benchmarks.rank_scale --sizes 1000000 --raw 512

The product is pool (N, D) @ (D, 256), D values of the raw embedding: what projecting the pool once costs, measured in
the same run on the same cores, so that the ratios hold on a busy machine. Each step is the median of three, with ten
labels more each time; the first rank is the one that fills the caches of a new embedding version. Memory is what the
process grew by.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil

from benchmarks.machine import describe
from trainer.learners.head import fit_head
from trainer.projection import fit_projection
from trainer.strategies import Pool, strategy_named

CLASSES = 10
BLOCK = 10_000


def main() -> None:
    """Read the command line, measure each size, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--raw", type=int, default=1_280, help="values of a raw embedding")
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
    projection = fit_projection(first.mean(axis=0), first)
    Z = np.empty((size, projection.axes.shape[1]), dtype=np.float32)
    product = 0.0
    for start in range(0, size, BLOCK):  # raw vectors never lie in memory all at once
        block = _images(rng, centres, truth[start : start + BLOCK])
        began = time.perf_counter()
        block @ projection.axes
        product += time.perf_counter() - began
        Z[start : start + BLOCK] = projection.transform(block)
    strategy, memory = strategy_named(strategy_name), dict[str, Any]()
    labels, order = np.full(size, -1), rng.permutation(size)
    labels[order[: labeled - 10]] = truth[order[: labeled - 10]]
    steps: dict[str, list[float]] = {"fit": [], "score": [], "rank": []}
    head = None
    for turn in range(4):
        more = order[labeled - 10 + 10 * turn : labeled + 10 * turn]
        labels[more] = truth[more]
        rows = np.flatnonzero(labels >= 0)
        head = timed(steps["fit"], fit_head, Z[rows], labels[rows], previous=head)
        probabilities = timed(steps["score"], head.predict_proba, Z)
        leased = np.zeros(size, dtype=bool)
        pool = Pool(Z, probabilities, labels.copy(), leased, np.flatnonzero(labels < 0), 0, memory, head.classes)
        timed(steps["rank"], strategy, pool, length)
    cold = steps["rank"][0]
    fit, score, rank = (statistics.median(values[1:]) for values in steps.values())
    total, grown = fit + score + rank, (psutil.Process().memory_info().rss - before) / 2**20
    return (
        f"| {size:,} | {product:.2f} s | {fit:.2f} s | {score:.2f} s | {rank:.2f} s | {total:.2f} s "
        f"| {total / product:.1f} | {cold:.2f} s | {grown:,.0f} MiB |"
    )


def timed(seconds: list[float], step: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What `step` returns; its duration joins `seconds`."""
    began = time.perf_counter()
    result = step(*arguments, **options)
    seconds.append(time.perf_counter() - began)
    return result


def _images(rng: np.random.Generator, centres: Any, truth: Any) -> Any:
    """Raw vectors (n, D) around the centres of their classes, as noisy as real ones."""
    noise: Any = rng.standard_normal((len(truth), centres.shape[1]), dtype=np.float32)
    return centres[truth] + 2.0 * noise


if __name__ == "__main__":
    main()
