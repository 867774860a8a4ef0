"""Does asking about hard test images more often give a narrower, and still valid, interval than a random sample?

    python -m benchmarks.active_testing                                     # digits
    python -m benchmarks.active_testing --npz digits clothing=FILE.npz      # X (n, D) raw vectors, labels (n,)
    python -m benchmarks.active_testing --overconfident 3                   # odds of each confidence to this power
    python -m benchmarks.active_testing --one-model                         # the judged model suggests all images

A half of each set is held out; its accuracy is the truth. On the other half, heads are fitted on a growing number of
labels, with even seeds drawn at random, with odd seeds chosen by the default strategy. A run draws `--pool` test images
with replacement. They are asked as in the product: test images come as `held_out_schedule` says, in the order of the
labeler's clock, whose rates follow from the confidence of the head of that moment. The head of the last moment is
judged. The random sample has equally many test labels of the same pool, and the same head, and its interval is the
prediction-powered one.

A row has the share of runs in which the random and the active interval contain the truth, in which their lower bound is
above it, the mean error of the active estimate in points, and how many times as many random labels would give an
interval of the same mean width, and an estimate of the same mean squared error.
"""

from __future__ import annotations

import argparse
import math

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.data_sets import read
from benchmarks.interval_coverage import DIGITS, NONE, Judged, fitted
from benchmarks.machine import describe
from labeler.asking.held_out_schedule import due_test_images
from labeler.asking.test_clock import TestClock
from shared.settings.services import LabelerSettings
from shared.wire.evaluation import Interval
from trainer.evaluation import active_sample, prediction_powered

SIZES = [20, 40, 60, 100, 140, 180, 220, 300, 420]
"""Train labels at which the head suggests new rates."""
MOST = 5_000  # labels
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Tested:
    """A head's result on each held-out image: right or wrong, and confidence."""

    def __init__(self, head: Judged, power: float) -> None:
        self.labels = head.labels
        self.right: Bools = np.asarray(head.classes[head.probabilities.argmax(axis=1)] == head.truth)
        confidence = np.clip(head.probabilities.max(axis=1).astype(np.float64), 1e-9, 1 - 1e-9)
        odds = (confidence / (1 - confidence)) ** power
        self.confidence: Floats = odds / (1 + odds)


def main() -> None:
    """Read the command line, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--npz", metavar="NAME=FILE", nargs="+", default=[DIGITS], help="your embeddings, or digits")
    parser.add_argument("--test-labels", type=int, nargs="+", default=[25, 50, 100, 200])
    parser.add_argument("--pool", type=int, default=1_000, help="test images with and without a label")
    parser.add_argument("--seeds", type=int, default=8, help="heads for each number of labels")
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--overconfident", type=float, default=1.0, metavar="POWER")
    parser.add_argument("--one-model", action="store_true")
    given = parser.parse_args()
    print(f"{given.runs} runs, {given.seeds} seeds, {given.pool} test images. {describe('numpy', 'scikit-learn')}\n")
    print("| images | test labels | train labels | accuracy | random, above | active, above | error | width | MSE |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for npz in given.npz:
        name, X, y = read(None if npz == DIGITS else npz)
        sizes = [size for size in SIZES if size <= len(y) // 2]
        with threadpool_limits(1):
            seeds = [[Tested(each, given.overconfident) for each in fitted(X, y, sizes, s)] for s in range(given.seeds)]
        for n in given.test_labels:
            print(f"| {name} | {n} | {_row(seeds, n, given.pool, given.runs, given.one_model)} |", flush=True)


def _row(seeds: list[list[Tested]], n: int, pool: int, runs: int, one_model: bool) -> str:
    rng = np.random.default_rng([n, len(seeds[0][0].right)])
    random: list[Interval] = []
    active: list[Interval] = []
    truth: list[float] = []
    judged = seeds[0][0]
    for run in range(runs):
        heads = seeds[run % len(seeds)]
        steps = _steps(heads, n)
        judged = steps[-1][0]
        if one_model:
            steps = [(judged, n)]
        drawn = rng.integers(len(judged.right), size=max(pool, n))
        right, confidence = judged.right[drawn], judged.confidence[drawn]
        truth.append(float(judged.right.mean()))
        random.append(prediction_powered.accuracy(right[:n], confidence[:n], NONE, confidence[n:]))
        asked, chance = ask([(active_sample.rates(head.confidence[drawn]), count) for head, count in steps], rng)
        others = np.delete(confidence, asked)
        active.append(active_sample.accuracy(right[asked], confidence[asked], chance, still_open=others))
    share = [_percent([a.low <= t <= a.high for a, t in zip(found, truth, strict=True)]) for found in (random, active)]
    above = [_percent([a.low > t for a, t in zip(found, truth, strict=True)]) for found in (random, active)]
    errors = [np.array([each.value for each in found]) - truth for found in (random, active)]
    widths = [np.mean([each.high - each.low for each in found]) for found in (random, active)]
    squares = [np.mean(each**2) for each in errors]
    return (
        f"{judged.labels} | {100 * np.mean(truth):.1f} | {share[0]}, {above[0]} | {share[1]}, {above[1]} | "
        f"{100 * errors[1].mean():+.2f} | × {(widths[0] / widths[1]) ** 2:.2f} | × {squares[0] / squares[1]:.2f}"
    )


def _percent(times: list[bool]) -> str:
    return f"{100 * float(np.mean(times)):.1f}"


def _steps(heads: list[Tested], n: int) -> list[tuple[Tested, int]]:
    """The heads in use while n test images are asked, each with the number of these images."""
    settings = LabelerSettings.load(command_line={})[0]
    steps: list[tuple[Tested, int]] = []
    due, asked = 0, 0
    while due < n and asked < MOST:
        asked += 1
        if due_test_images(asked, settings) <= due:
            continue
        due += 1
        head = [each for each in heads if each.labels <= max(asked - due, heads[0].labels)][-1]
        if steps and steps[-1][0] is head:
            steps[-1] = head, steps[-1][1] + 1
        else:
            steps.append((head, 1))
    return steps


def ask(steps: list[tuple[Floats, int]], rng: np.random.Generator) -> tuple[NDArray[np.int64], Floats]:
    """Rows in the order in which they are asked, and their probabilities at the end (n,).

    Each of the rates (N,) holds for the given number of rows.
    """
    size = len(steps[0][0])
    places, clock = rng.random(size).tolist(), TestClock(1.0)
    waiting, asked, last, now = set(range(size)), [], 0.0, 0.0
    for rates, count in steps:
        clock.set_rates(dict(enumerate(rates.tolist())), range(size), last)
        due = sorted((clock.due(row, places[row]), row) for row in waiting)
        taken = [row for _, row in due[:count]]
        asked += taken
        waiting.difference_update(taken)
        last = due[count - 1][0]
        now = due[count][0] if len(due) > count else math.inf
    return np.array(asked), np.array([clock.chance(row, now) for row in asked])


if __name__ == "__main__":
    main()
