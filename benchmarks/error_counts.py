"""Is the estimated number of wrong labels on the page Review right?

    python -m benchmarks.error_counts                                # the digits of scikit-learn
    python -m benchmarks.error_counts --npz clothing=FILE.npz        # X (n, D) raw vectors, labels (n,)
    python -m benchmarks.error_counts --chosen                       # labels that the model asked for

A share of the labels gets a wrong class: drawn `uniform`ly from the other classes, or the `similar` one, whose mean is
nearest. The labels are drawn at random, or with `--chosen` the least certain ten at a time. The table has the estimate
from the labels alone (`trainer.review.label_noise` over `trainer.evaluation.cross_validation`), before and after
somebody judged the most doubtful ones: fifty, or as many as `--judged` says, 25 at a time. *Holds* is how often, over
seeds, the 95 % interval contains the number of errors.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.data_sets import read
from benchmarks.label_errors import most_similar
from benchmarks.machine import describe
from trainer.embeddings.transform import fit_projection
from trainer.evaluation.cross_validation import out_of_fold
from trainer.learners.kernel_head import fit_head
from trainer.review.label_issues import Doubts, find_doubts

Rows = NDArray[np.float32]
Ids = NDArray[np.int64]
CELLS = (("uniform", 0.0), *((kind, share) for kind in ("uniform", "similar") for share in (0.02, 0.08, 0.2)))
JUDGED = 50  # doubtful labels that somebody judges …
AT_ONCE = 25  # … so many before the list is computed again
STEP = 10  # labels asked at a time


@dataclass(frozen=True)
class Run:
    """The number of errors, its estimate, and both after the verdicts."""

    truth: int
    said: tuple[int, int, int]  # estimate, lower bound, upper bound
    in_doubt: int
    errors_in_doubt: int
    left: int
    said_then: tuple[int, int, int]


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--npz", metavar="NAME=FILE", help="your own embeddings (default: digits)")
    parser.add_argument("--labels", default="100,300,1000")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=100, help="parameters were tuned on seeds from 0 on")
    parser.add_argument("--chosen", action="store_true")
    parser.add_argument("--judged", type=int, default=JUDGED, help="number of verdicts")
    given = parser.parse_args()
    name, X, y = read(given.npz)
    rows, truth = fit_projection(X.mean(axis=0), X).transform(X), np.asarray(y, np.int64)
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    print(f"{name}: seeds {seeds[0]} to {seeds[-1]}. {describe('cleanlab', 'scikit-learn', 'numpy')}\n")
    print(
        "| labels | wrong | said (95 %) | holds | in doubt | errors among them "
        f"| left after {given.judged:,} verdicts | said (95 %) | holds |\n|---:|---|---|---:|---:|---:|---:|---|---:|"
    )
    held: list[bool] = []
    for labels in map(int, given.labels.split(",")):
        for kind, share in CELLS:
            with threadpool_limits(1):
                runs = [
                    measure(rows, truth, labels, kind, share, seed, chosen=given.chosen, judged=given.judged)
                    for seed in seeds
                ]
            held += _print_row(labels, kind, share, runs)
    print(f"\n{np.mean(held):.0%} of {len(held):,} intervals hold the truth.")


def measure(
    rows: Rows, truth: Ids, labels: int, kind: str, share: float, seed: int, *, chosen: bool, judged: int = JUDGED
) -> Run:
    """Draw labels, make some of them wrong, and count."""
    rng = np.random.default_rng(seed)
    answers = truth.copy()
    wrong = rng.permutation(len(truth))[: round(share * len(truth))]
    classes = int(truth.max()) + 1
    if kind == "uniform":
        answers[wrong] = (truth[wrong] + rng.integers(1, classes, len(wrong))) % classes
    else:
        answers[wrong] = most_similar(rows, truth)[truth[wrong]]
    asked = _asked(rows, answers, labels, rng) if chosen else rng.choice(len(truth), labels, replace=False)
    mine, given, right = rows[asked], answers[asked], truth[asked]
    nobody = np.zeros(labels, bool)
    known = out_of_fold(np.arange(labels), mine, given, nobody, seed=seed)
    if known is None:
        raise SystemExit("There are too few images to judge.")
    first = find_doubts(known, given, nobody)
    now, confirmed, before, after = given.copy(), nobody.copy(), np.full(labels, -1), first
    for done in range(0, judged, AT_ONCE):
        open_ = after.rows[~confirmed[after.rows]]
        looked = open_[: min(AT_ONCE, judged - done)]
        now[looked], confirmed[looked], before[looked] = right[looked], True, given[looked]
        after = find_doubts(known, now, confirmed, before)
    errors = given != right
    return Run(
        int(errors.sum()), _said(first), len(first.rows), int(errors[first.rows].sum()), int((now != right).sum()),
        _said(after),
    )  # fmt: skip


def _asked(rows: Rows, answers: Ids, labels: int, rng: np.random.Generator) -> Ids:
    """Ten random rows, then repeatedly the ten that a head trained on the labels so far is least certain about."""
    asked = rng.choice(len(rows), 2 * STEP, replace=False)
    while len(asked) < labels:
        head = fit_head(rows[asked], answers[asked])
        two = np.partition(head.predict_proba(rows), -2, axis=1)[:, -2:]
        margin = two[:, 1] - two[:, 0]
        margin[asked] = np.inf
        asked = np.concatenate([asked, np.argsort(margin)[:STEP]])
    return asked[:labels]


def _said(doubts: Doubts) -> tuple[int, int, int]:
    return doubts.errors.count, doubts.errors.low, doubts.errors.high


def _print_row(labels: int, kind: str, share: float, runs: list[Run]) -> list[bool]:
    first = [run.said[1] <= run.truth <= run.said[2] for run in runs]
    then = [run.said_then[1] <= run.left <= run.said_then[2] for run in runs]
    said, said_then = np.mean([run.said for run in runs], axis=0), np.mean([run.said_then for run in runs], axis=0)
    truth, left = np.mean([run.truth for run in runs]), np.mean([run.left for run in runs])
    found = np.mean([run.errors_in_doubt for run in runs])
    print(
        f"| {labels:,} | {kind} {share:.0%}: {truth:.0f} | {said[0]:.0f} ({said[1]:.0f} – {said[2]:.0f}) "
        f"| {sum(first)} of {len(runs)} | {np.mean([run.in_doubt for run in runs]):.0f} | {found:.0f} | {left:.0f} "
        f"| {said_then[0]:.0f} ({said_then[1]:.0f} – {said_then[2]:.0f}) | {sum(then)} of {len(runs)} |",
        flush=True,
    )
    return first + then


if __name__ == "__main__":
    main()
