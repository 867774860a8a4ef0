"""How often the 95 % interval of the accuracy contains the true accuracy, and how many test labels it saves.

    python -m benchmarks.interval_coverage                                       # digits
    python -m benchmarks.interval_coverage --npz digits clothing=FILE.npz        # X (n, D) raw vectors, labels (n,)
    python -m benchmarks.interval_coverage --pool 4000                           # more test images without a label
    python -m benchmarks.interval_coverage --macro-f1                            # the interval of macro F1 instead

A half of each set is held out, drawn again for each seed. On the other half, a head is fitted on its first `--labels`:
with even seeds drawn at random, with odd seeds chosen by the default strategy. The accuracy on the held-out half is the
truth. A run draws `--pool` test images from that half, with replacement, so that this truth is exact. The first of them
have a label, as in a queue in random order. Then the trainer's own functions give the accuracy with its interval: the
plain one (Wilson's) and the sharper one, from the same labels.

A cell is the share of runs in which the plain and the sharper interval contain the truth, and how many times as many
labels the plain interval would need for the sharper one's mean width. With `--macro-f1`, it is the share for the
bootstrap interval alone, for the interval that the trainer gives, and the share of runs in which the lower bound of
each was above the truth. The last line counts cells: with 500 runs, the share of a perfect interval lies between 93.1
and 96.9 in 95 of 100 cells.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

from benchmarks.data_sets import read
from benchmarks.machine import describe
from shared.wire.evaluation import Interval
from trainer.embeddings.transform import fit_projection
from trainer.evaluation.metrics import bootstrapped, evaluate, wilson
from trainer.evaluation.prediction_powered import accuracy
from trainer.learners.kernel_head import Head, fit_head
from trainer.strategies import Pool, strategy_named
from trainer.tasks.pool_scores import ranked, score

DIGITS = "digits"
NONE = np.empty(0)
STRATEGY = "uncertainty_herding"  # the default
BATCH = 50  # labels between two lists of the strategy
Ids = NDArray[np.int64]
Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Judged:
    """A head with `labels` labels, and its probabilities (n, K) on held-out images of the classes `truth` (n,)."""

    labels: int
    classes: Ids
    probabilities: Rows
    truth: Ids


def main() -> None:
    """Read the command line, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--npz", metavar="NAME=FILE", nargs="+", default=[DIGITS], help="your embeddings, or digits")
    parser.add_argument("--labels", type=int, nargs="+", default=[20, 50, 100, 200, 400], help="train labels")
    parser.add_argument("--test-labels", type=int, nargs="+", default=[10, 20, 50, 100, 200, 400])
    parser.add_argument("--pool", type=int, default=1_000, help="test images with and without a label")
    parser.add_argument("--seeds", type=int, default=10, help="heads for each number of labels")
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--macro-f1", action="store_true")
    given = parser.parse_args()
    print(f"{given.runs} runs, {given.seeds} heads, {given.pool} test images. {describe('numpy', 'scikit-learn')}\n")
    print("| images | train labels | accuracy | " + " | ".join(map(str, given.test_labels)) + " |")
    print("|---|---:|---:|" + "---:|" * len(given.test_labels))
    shares: list[float] = []
    for npz in given.npz:
        name, X, y = read(None if npz == DIGITS else npz)
        heads: dict[int, list[Judged]] = defaultdict(list)
        with threadpool_limits(1):
            for seed in range(given.seeds):
                for judged in fitted(X, y, sorted(given.labels), seed):
                    heads[judged.labels].append(judged)
        for labels, several in heads.items():
            cells, true = [], np.mean([_right(each).mean() for each in several])
            for n in given.test_labels:
                cell, share = (_macro_f1 if given.macro_f1 else _accuracy)(several, n, given.pool, given.runs)
                cells.append(cell)
                shares.append(share)
            print(f"| {name} | {labels} | {100 * true:.1f} | {' | '.join(cells)} |", flush=True)
    inside = np.mean([0.94 <= round(share, 3) <= 0.97 for share in shares])
    print(
        f"\nOver all cells the interval contains the truth in {100 * np.mean(shares):.1f} % of the runs; in a cell, in "
        f"{100 * min(shares):.1f} to {100 * max(shares):.1f} %, in {100 * inside:.0f} % of the cells in 94 to 97 %."
    )


def fitted(X: Rows, y: Ids, sizes: list[int], seed: int) -> Iterator[Judged]:
    """A head for each number of train labels, judged on the held-out half."""
    train, held = train_test_split(np.arange(len(y)), test_size=0.5, random_state=seed)
    projection = fit_projection(X[train].mean(axis=0), X[train])
    Z, H = projection.transform(X[train]), projection.transform(X[held])
    strategy = strategy_named("random" if seed % 2 == 0 else STRATEGY)
    labels, head = np.full(len(train), -1), None
    for size in sizes:
        while (missing := size - int(np.count_nonzero(labels >= 0))) > 0:
            length = min(missing, BATCH)
            pool = Pool(Z, None, labels.copy(), np.zeros(len(Z), bool), np.flatnonzero(labels < 0), seed, {})
            scored = np.zeros(len(Z), dtype=bool)
            if head is not None:
                pool, scored = score(pool, head, length)
            rows = ranked(pool, strategy, length, head.predict_proba if head is not None else None, scored).rows
            labels[rows[:length]] = y[train][rows[:length]]
            head = _fit(Z, labels, seed)
        if head is not None:
            yield Judged(size, head.classes, head.predict_proba(H), y[held])


def _fit(Z: Rows, labels: Ids, seed: int) -> Head:
    known = np.flatnonzero(labels >= 0)
    return fit_head(Z[known], labels[known], seed=seed)


def _accuracy(heads: list[Judged], n: int, pool: int, runs: int) -> tuple[str, float]:
    """The cell for n test labels, and the share of the sharper interval."""
    plain, sharper, truth = [], [], []
    for head, drawn in _draws(heads, n, pool, runs):
        right, confidence = _right(head), head.probabilities.max(axis=1)
        truth.append(float(right.mean()))
        plain.append(wilson(int(right[drawn[:n]].sum()), n))
        sharper.append(accuracy(right[drawn[:n]], confidence[drawn[:n]], NONE, confidence[drawn[n:]]))
    saved = (_width(plain) / _width(sharper)) ** 2
    share = _share(sharper, truth)
    return f"{100 * _share(plain, truth):.1f} / {100 * share:.1f}, × {saved:.2f}", share


def _macro_f1(heads: list[Judged], n: int, pool: int, runs: int) -> tuple[str, float]:
    """The cell for n test labels, and the share of the trainer's interval."""
    alone, given, truth, known = [], [], [], dict[int, float]()
    for head, drawn in _draws(heads, n, pool, runs):
        names = {int(each): str(each) for each in np.unique(head.truth)}
        if id(head) not in known:
            known[id(head)] = evaluate(head.truth, head.probabilities, head.classes, names).macro_f1 or 0.0
        truth.append(known[id(head)])
        found = evaluate(head.truth[drawn[:n]], head.probabilities[drawn[:n]], head.classes, names)
        low, high = found.macro_f1_interval
        given.append(Interval(value=found.macro_f1 or 0.0, low=low, high=high, n=n))
        low, high = np.quantile(bootstrapped(np.array(found.confusion)), [0.025, 0.975])
        alone.append(Interval(value=found.macro_f1 or 0.0, low=float(low), high=float(high), n=n))
    shares = [f"{100 * _share(each, truth):.1f}" for each in (alone, given)]
    above = [f"{100 * np.mean([a.low > t for a, t in zip(each, truth, strict=True)]):.1f}" for each in (alone, given)]
    return f"{' / '.join(shares)}, above {' / '.join(above)}", _share(given, truth)


def _draws(heads: list[Judged], n: int, pool: int, runs: int) -> Iterator[tuple[Judged, Ids]]:
    """For each run a head and the held-out images of its pool, at random with replacement."""
    rng = np.random.default_rng([n, heads[0].labels, len(heads[0].truth)])
    for run in range(runs):
        head = heads[run % len(heads)]
        yield head, rng.integers(len(head.truth), size=max(pool, n))


def _right(head: Judged) -> NDArray[np.bool_]:
    return np.asarray(head.classes[head.probabilities.argmax(axis=1)] == head.truth)


def _share(intervals: list[Interval], truth: list[float]) -> float:
    """How often the intervals contain the truth."""
    return float(np.mean([each.low <= true <= each.high for each, true in zip(intervals, truth, strict=True)]))


def _width(intervals: list[Interval]) -> float:
    return float(np.mean([each.high - each.low for each in intervals]))


if __name__ == "__main__":
    main()
