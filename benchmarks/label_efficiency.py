"""Accuracy per number of labels: strategies × seeds × data sets, by simulated annotators in this process.

    python -m benchmarks.label_efficiency                                    # digits, every strategy, 5 seeds
    python -m benchmarks.label_efficiency --npz clothing=FILE.npz --budget 400   # X (n, D) raw vectors, labels (n,)
    python -m benchmarks.label_efficiency --variant rare --strategies uncertainty_herding,margin,random
    python -m benchmarks.label_efficiency --strategies uncertainty_herding,benchmarks.scikit_activeml:typiclust
    python -m benchmarks.label_efficiency --strategies uncertainty_herding --upcoming 0   # new order at every batch
    python -m benchmarks.label_efficiency --subsample 300 --work 60000   # sampled like a pool of a million
    python -m benchmarks.label_efficiency --considered 330 --half        # as in a pool of millions: see trainer.columns
    python -m benchmarks.label_efficiency --http --strategies uncertainty_herding,margin,random --budget 100

They call the functions of the trainer. A stratified quarter is held out, drawn again for each seed. The projection is
fitted on the rest, the head on the labels asked so far. These also decide how much each block of features counts, if
the file names `blocks` as the files of `benchmarks.vectors` do. Nothing uses the answer to an image that was not asked,
or a held-out image before it is scored. As in the trainer, upcoming images of a list keep their places in the next one
if they can. It prints two Markdown tables: accuracy, and how rare classes fare. The first has the difference in
area under the curve to the first strategy, paired by seed, its 95 % bootstrap interval, and the share of the next ten
images that a batch exchanges. `--out FOLDER` also gets curves.csv and curves.svg. The images of the rarest class join
the pool after 100 labels with `--variant late`.

With `--http` the same annotators answer through both real services over HTTP (`benchmarks.http_curves`), and each
strategy also runs in this process, to check that both give the same curve. They cannot be exactly equal: the trainer
stores vectors as 16-bit numbers and its pool in another order, so ties and random draws differ, for `random` all of
them. Both agree if the 95 % interval of the paired difference in area lies within one point of zero, and differ if it
lies outside; otherwise there are too few seeds. The exit code is 1 if they differ.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import recall_score
from threadpoolctl import threadpool_limits

from benchmarks.data_sets import LATE, VARIANTS, Ids, Rows, join, late_last, pool_of, read, read_blocks, split
from benchmarks.http_curves import curve_over_http
from benchmarks.machine import describe
from trainer.columns import half_rows
from trainer.embeddings.space import ImagePool
from trainer.learners.kernel_head import Head
from trainer.loop.rounds import UPCOMING
from trainer.strategies import STRATEGIES, Pool, Strategy, geometry, herding, strategy_named
from trainer.tasks import pool_scores
from trainer.tasks.classification import Classification
from trainer.tasks.pool_scores import WORK, ranked, score

SHOWN = (20, 50, 100, 200, 400)
STEP = 10
REDRAWN = 50  # labels, after which a round considers other candidates with `--considered`
LATE_FROM = 100  # labels, after which a late class joins the pool
HTTP = " over HTTP"
DIFFER = "differ"
TASK = Classification()
TOLERANCE = 1.0  # points of area by which both may differ
Curve = NDArray[np.float64]  # (budget / STEP,) accuracy on the held-out quarter


def main() -> None:
    """Read the command line, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--npz", metavar="NAME=FILE", help="your own embeddings (default: digits)")
    parser.add_argument("--variant", choices=sorted(VARIANTS), default="whole")
    parser.add_argument("--strategies", default=",".join(STRATEGIES), help="the others are compared with the first")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0, help="seeds that nothing was chosen on begin at 10")
    parser.add_argument("--budget", type=int, default=200)
    parser.add_argument("--upcoming", type=int, default=UPCOMING, help="upcoming images that keep their places")
    parser.add_argument("--work", type=int, default=WORK, help="pairs of image and label scored exactly in a round")
    parser.add_argument("--considered", type=int, help=f"candidates in one round; others after {REDRAWN} labels")
    parser.add_argument("--half", action="store_true", help="rows in half precision, as in a large pool")
    parser.add_argument(
        "--subsample", type=int, default=geometry.SUBSAMPLE, help="size of the subsample that represents the pool"
    )
    parser.add_argument("--share", type=float, nargs="+", help="fixed share of each further block (default: learned)")
    parser.add_argument("--http", action="store_true", help="also through both services, and compare")
    parser.add_argument("--out", type=Path, help="folder for curves.csv and curves.svg")
    given = parser.parse_args()
    if given.http and given.variant == LATE:
        parser.error("A late class can only be simulated in this process. Leave out --http.")
    geometry.SUBSAMPLE, herding.CANDIDATES = given.subsample, given.subsample // 2
    pool_scores.CONSIDERED = given.considered or pool_scores.CONSIDERED
    pool_scores.REDRAWN = pool_scores.REDRAWN if given.considered is None else REDRAWN
    half_rows.IN_MEMORY = 0 if given.half else half_rows.IN_MEMORY
    name, X, y = read(given.npz)
    given.blocks = read_blocks(given.npz)
    print(f"{name}, {given.variant}: {len(y)} images, {given.seeds} seeds. {describe('numpy', 'scikit-learn')}\n")
    curves = _both_ways(X, y, given) if given.http else _in_process(X, y, given)
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        _write_csv(given.out / "curves.csv", curves)
        _write_svg(given.out / "curves.svg", curves, f"{name}, {given.variant}")
    if any(
        name.endswith(HTTP) and _verdict(_areas(runs), _areas(curves[name.removesuffix(HTTP)])) == DIFFER
        for name, runs in curves.items()
    ):
        sys.exit("The two ways do not agree.")


def _in_process(X: Rows, y: Ids, given: argparse.Namespace) -> dict[str, list[Curve]]:
    """Strategy → one curve per seed; prints a row per strategy, then the rarest class."""
    runs: dict[str, list[Run]] = {}
    first = given.strategies.split(",")[0]
    shown = [n for n in SHOWN if n <= given.budget]
    print("| strategy | " + " | ".join(map(str, shown)) + f" | area | to {first} | exchanged | s/query |")
    print("|---|" + "---:|" * (len(shown) + 4))
    for strategy in given.strategies.split(","):
        began = time.perf_counter()
        with threadpool_limits(1):  # simulations run in parallel: more threads than cores only wait
            runs[strategy] = [_simulate(X, y, strategy, s, given) for s in _seeds(given)]
        seconds = (time.perf_counter() - began) / sum(len(run.accuracy) for run in runs[strategy])
        table = np.stack([run.accuracy for run in runs[strategy]])  # (seeds, points)
        cells = [f"{100 * table[:, n // STEP - 1].mean():.1f}" for n in shown]
        reference = np.stack([run.accuracy for run in runs[first]]).mean(axis=1)
        difference = difference_of(table.mean(axis=1), reference) if strategy != first else "–"
        exchanged = [share for run in runs[strategy] for share in run.exchanged]
        print(
            f"| {_short(strategy)} | {' | '.join(cells)} | {100 * table.mean():.2f} | {difference} "
            f"| {f'{100 * np.mean(exchanged):.0f} %' if exchanged else '–'} | {seconds:.2f} |",
            flush=True,
        )
    _print_rarest(runs, shown)
    return {strategy: [run.accuracy for run in several] for strategy, several in runs.items()}


def _print_rarest(runs: dict[str, list[Run]], shown: list[int]) -> None:
    """Labels until classes have a first example, and recall.

    The mean over classes; until every class has one, and until the rarest has one (medians, worst seeds); recall on the
    rarest class and on all; the difference in the area under the latter to the first strategy.
    """
    print("\n| strategy | first example | all found | worst | rarest found | worst | ", end="")
    print(" | ".join([f"recall at {n}" for n in shown] + [f"mean recall at {n}" for n in shown]), end="")
    print(" | mean recall, area |\n|---|" + "---:|" * (6 + 2 * len(shown)))
    reference = _areas([run.recall for run in next(iter(runs.values()))])
    for strategy, several in runs.items():
        cells = [f"{np.mean([run.firsts.mean() for run in several]):.0f}"]
        for found in ([run.firsts.max() for run in several], [run.found for run in several]):
            cells += [f"{np.median(found):.0f}", f"{max(found):.0f}"]
        for name in ("rarest", "recall"):
            curves = np.stack([getattr(run, name) for run in several])
            cells += [f"{100 * curves[:, n // STEP - 1].mean():.0f}" for n in shown]
        cells.append(difference_of(_areas([run.recall for run in several]), reference))
        print(f"| {_short(strategy)} | {' | '.join(cells)} |")


def _both_ways(X: Rows, y: Ids, given: argparse.Namespace) -> dict[str, list[Curve]]:
    """The curves of each strategy in this process and, under its name and `HTTP`, over HTTP; prints two rows each."""
    curves: dict[str, list[Curve]] = {}
    shown = [n for n in SHOWN if n <= given.budget]
    print(
        "| strategy | "
        + " | ".join(map(str, shown))
        + " | area | to in-process | they |\n|---|"
        + "---:|" * (len(shown) + 3)
    )
    for strategy in given.strategies.split(","):
        with threadpool_limits(1):
            curves[strategy] = [_simulate(X, y, strategy, s, given).accuracy for s in _seeds(given)]
        splits = [split(X, y, seed, given.variant) for seed in _seeds(given)]
        curves[strategy + HTTP] = [
            curve_over_http(vectors, classes, test, strategy, seed, given.budget, STEP, given.blocks)
            for seed, (vectors, classes, _, test) in zip(_seeds(given), splits, strict=True)
        ]
        for way in (strategy, strategy + HTTP):
            table = np.stack(curves[way])
            cells = [f"{100 * table[:, n // STEP - 1].mean():.1f}" for n in shown]
            difference = "– | –"
            if way != strategy:
                areas = _areas(curves[way]), _areas(curves[strategy])
                difference = f"{difference_of(*areas)} | {_verdict(*areas)}"
            print(f"| {way} | {' | '.join(cells)} | {100 * table.mean():.2f} | {difference} |", flush=True)
    return curves


def _seeds(given: argparse.Namespace) -> range:
    return range(given.first_seed, given.first_seed + given.seeds)


def _simulate(X: Rows, y: Ids, strategy: str, seed: int, given: argparse.Namespace) -> Run:
    return simulate(
        X,
        y,
        strategy_named(strategy),
        seed,
        given.variant,
        given.budget,
        given.upcoming,
        given.work,
        given.blocks,
        given.share,
    )


def _verdict(there: Curve, here: Curve) -> str:
    """Compare the areas (seeds,) of both, in words."""
    _, low, high = _interval(100 * (there - here))
    if low > TOLERANCE or high < -TOLERANCE:
        return DIFFER
    return "agree" if low >= -TOLERANCE and high <= TOLERANCE else "too few seeds"


@dataclass
class Run:
    """One simulation. Curves have a value after every ten labels, measured on the held-out quarter."""

    accuracy: Curve
    recall: Curve  # mean over classes
    rarest: Curve  # recall on the rarest class
    found: int  # labels until its first example
    firsts: Curve  # labels until the first example of each class (K,); the budget if it has none
    exchanged: list[float]  # share of the next ten images that another batch of labels exchanges, where they are known
    shares: Curve  # of the second block of features; 0 where there is one


def simulate(
    X: Rows,
    y: Ids,
    strategy: Strategy,
    seed: int,
    variant: str,
    budget: int,
    upcoming: int = UPCOMING,
    work: int = WORK,
    blocks: Sequence[int] = (),
    share: Sequence[float] | None = None,
) -> Run:
    """One annotator of the variant, with a stratified quarter held out; see `simulate_on`."""
    X, y, train, test = split(X, y, seed, variant)
    train, present = late_last(y, train, variant)
    return simulate_on(X, y, train, test, strategy, seed, budget, present, upcoming, work, blocks, share)


def simulate_on(
    X: Rows,
    y: Ids,
    train: Ids,
    test: Ids,
    strategy: Strategy,
    seed: int,
    budget: int,
    present: int,
    upcoming: int = UPCOMING,
    work: int = WORK,
    blocks: Sequence[int] = (),
    share: Sequence[float] | None = None,
) -> Run:
    """One annotator who answers ten images of each list; the next `upcoming` images keep their places if they can.

    Only the first `present` train rows are in the pool at first. The labels decide how much each of the `blocks`
    counts, as in the trainer, unless the further ones have a fixed `share` each.
    """
    space = pool_of(X, train[:present], test, blocks)
    if share is not None and space.projection.shares:
        space.reweigh((1 - sum(share), *share))
    truth = y[train]
    classes = np.unique(y)
    rarest = int(np.argmin(np.bincount(y)[classes]))
    labels = np.full(len(train), -1)
    head: Head | None = None
    recalls: list[NDArray[np.float64]] = []  # per class
    accuracy: list[float] = []
    exchanged: list[float] = []
    shares: list[float] = []
    firsts = np.full(len(classes), float(budget))
    rest, warm = np.empty(0, dtype=np.int64), False
    for asked in range(STEP, min(budget, len(train)) + 1, STEP):
        if present < len(train) and asked > LATE_FROM:
            join(space, train[present:])
            present, labeled = len(train), np.flatnonzero(labels >= 0)
            if head is not None:  # the pool may have a new geometry
                head = _fit(space, labeled, labels, None, seed)
        leased, candidates = np.zeros(present, dtype=bool), np.flatnonzero(labels[:present] < 0)
        said = rest[:upcoming] if warm == (head is not None) else rest[:0]  # a list made without a model is ignored
        pool = Pool(
            space.train.rows, None, labels[:present].copy(), leased, candidates, seed, space.memory, upcoming=said
        )
        scored, length = np.zeros(present, dtype=bool), STEP + UPCOMING
        if head is not None:
            pool, scored = score(pool, head, length, work=work)
        rows = ranked(pool, strategy, length, head.predict_proba if head is not None else None, scored).rows
        if len(rest):
            exchanged.append(float(1 - np.isin(rows[:STEP], rest[:STEP]).mean()))
        warm, rest = head is not None, rows[STEP:]
        answers = truth[rows[:STEP]]
        for place, answer in enumerate(answers.tolist()):
            column = np.searchsorted(classes, answer)
            firsts[column] = min(firsts[column], asked - STEP + place + 1)
        labels[rows[:STEP]] = answers
        labeled = np.flatnonzero(labels >= 0)
        guesses = np.full(len(test), labels[labeled[0]])
        if len(np.unique(labels[labeled])) > 1:
            before = space.version
            if share is None:
                space.learn_shares(labeled, TASK.as_numbers(labels[labeled]))
            previous = head if space.version == before else None
            head = _fit(space, labeled, labels, previous, seed)
            guesses = head.classes[head.predict_proba(space.held.rows[:]).argmax(axis=1)]
        shares.append(space.projection.shares[1] if space.projection.shares else 0.0)
        accuracy.append(float((guesses == y[test]).mean()))
        recalls.append(recall_score(y[test], guesses, labels=classes, average=None, zero_division=0.0))
    each = np.stack(recalls)  # (points, K)
    found = int(firsts[rarest])
    return Run(np.array(accuracy), each.mean(axis=1), each[:, rarest], found, firsts, exchanged, np.array(shares))


def _fit(space: ImagePool, labeled: Ids, labels: Ids, previous: Head | None, seed: int) -> Head:
    rows = space.train.rows[:]
    kept = space.kept if space.complete else None
    head: Head = TASK.fit(
        rows[labeled], labels[labeled], pool=rows, kept=kept, without=labeled, previous=previous, seed=seed
    )
    return head


def _short(strategy: str) -> str:
    """The name of a strategy without the path of our module."""
    return strategy.removeprefix("benchmarks.")


def difference_of(areas: Curve, reference: Curve) -> str:
    """Mean paired difference in points and its 95 % bootstrap interval over seeds."""
    mean, low, high = _interval(100 * (areas - reference))
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"


def _areas(runs: list[Curve]) -> Curve:
    """The mean accuracy of each seed's curve (seeds,)."""
    return np.asarray(np.stack(runs).mean(axis=1))


def _interval(gaps: Curve) -> tuple[float, float, float]:
    """Mean and 95 % bootstrap interval of `gaps` (seeds,)."""
    draws = np.random.default_rng(0).choice(gaps, size=(10_000, len(gaps))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(gaps.mean()), float(low), float(high)


def _write_csv(path: Path, curves: dict[str, list[Curve]]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["strategy", "seed", "labels", "accuracy"])
        for strategy, runs in curves.items():
            for seed, run in enumerate(runs):
                writer.writerows([strategy, seed, STEP * (i + 1), f"{accuracy:.4f}"] for i, accuracy in enumerate(run))


def _write_svg(path: Path, curves: dict[str, list[Curve]], title: str) -> None:
    """Draw mean accuracy against labels, with a band of one standard error, and the best area first in the legend."""
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots()
    order = sorted(curves, key=lambda strategy: -_areas(curves[strategy]).mean())
    colours = [colormaps["tab20"](place) for place in range(20)]
    for number, strategy in enumerate(order):
        runs = 100 * np.stack(curves[strategy])  # (seeds, points)
        labels, mean = STEP * np.arange(1, runs.shape[1] + 1), runs.mean(axis=0)
        error = runs.std(axis=0, ddof=1) / np.sqrt(len(runs)) if len(runs) > 1 else np.zeros_like(mean)
        first = strategy == next(iter(curves))
        colour = "black" if first else colours[number % len(colours)]
        axes.plot(labels, mean, label=_short(strategy), color=colour, linewidth=2.5 if first else 1.2)
        axes.fill_between(labels, mean - error, mean + error, color=colour, alpha=0.12, linewidth=0)
    axes.set_xscale("log")
    axes.set_xticks([n for n in SHOWN if n <= len(mean) * STEP], minor=False)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.xaxis.set_minor_formatter("")
    axes.set(title=title, xlabel="labels", ylabel="accuracy on the held-out quarter (%)")
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
