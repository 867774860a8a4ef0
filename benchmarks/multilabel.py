"""Several classes per image: the default order of questions against random images, and against one class at a time.

    python -m benchmarks.multilabel                          # strips of two or three digits of scikit-learn
    python -m benchmarks.multilabel --rare                   # three of the ten digits are ten times rarer
    python -m benchmarks.multilabel --npz FILE.npz           # X (n, D) raw vectors, answers (n, C) of 1 and 0

Each strip has three places, of which two or three show a digit; no digit is in both a train and a test strip. The rows
are raw pixels. Three ways to label the same images:

- default: `uncertainty_herding`, as the trainer ranks. A question is about all classes of an image;
- random: the same questions about images drawn at random;
- one class at a time: a question is whether an image has one class. The classes take turns, ten images each, and each
  asks about the images that its sigmoid is unsure of and that cover the pool, as the default does for all classes.

A question about all classes costs a key for each class that the image has, and Enter; one about a single class costs
one key. Figures are macro F1 on the test images in percent, means over seeds, with thresholds from the labels.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr
from sklearn.datasets import load_digits

from benchmarks.data_sets import pool_of
from benchmarks.machine import describe
from shared.tasks.multilabel import Classes
from trainer.embeddings.space import ImagePool
from trainer.evaluation.multilabel_metrics import aligned, f1_scores
from trainer.learners.sigmoid_head import UNKNOWN, Sigmoids
from trainer.loop.rounds import Timings, fit, rank
from trainer.strategies import Pool, strategy_named
from trainer.strategies.herding import herd
from trainer.sync.snapshot import Snapshot
from trainer.tasks.multilabel import Multilabel

TASK = Multilabel()
BATCH = 10
QUESTIONS = (20, 50, 100, 200)
KEYS = (50, 100, 200, 400)
TRAIN, TEST = 1_500, 800
RARE, RARITY = (0, 3, 7), 0.1

Rows = NDArray[np.float32]
Answers = NDArray[np.int8]
Ids = NDArray[np.int64]


class Data(NamedTuple):
    """A pool of raw vectors X (n, D) with answers (n, C), of which the rows `test` are held out."""

    X: Rows
    answers: Answers
    train: Ids
    test: Ids


class Point(NamedTuple):
    """The result after a number of questions and keys."""

    questions: int
    keys: int
    macro_f1: float


def strips(seed: int, *, rare: bool) -> Data:
    """Strips of digits, two thirds of the digits for training."""
    found, rng = load_digits(), np.random.default_rng(seed)
    order = rng.permutation(len(found.target))
    parts = np.split(order, [2 * len(order) // 3])
    pixels = np.zeros((TRAIN + TEST, 8, 24), np.float32)
    answers = np.zeros((TRAIN + TEST, 10), np.int8)
    for number in range(TRAIN + TEST):
        part = parts[0 if number < TRAIN else 1]
        weights = np.where(np.isin(found.target[part], RARE) & rare, RARITY, 1.0)
        for place in rng.permutation(3)[: rng.integers(2, 4)]:
            digit = rng.choice(part, p=weights / weights.sum())
            pixels[number, :, 8 * place : 8 * place + 8] = found.images[digit]
            answers[number, found.target[digit]] = 1
    rows = np.arange(TRAIN + TEST)
    return Data(pixels.reshape(len(pixels), -1), answers, rows[:TRAIN], rows[TRAIN:])


def read(path: Path, seed: int) -> Data:
    """Vectors and answers from a file; a quarter is held out, drawn for each seed."""
    with np.load(path, allow_pickle=False) as stored:
        X, answers = stored["X"].astype(np.float32), stored["answers"].astype(np.int8)
    order = np.random.default_rng(seed).permutation(len(X))
    return Data(X, answers, np.sort(order[len(X) // 4 :]), np.sort(order[: len(X) // 4]))


def all_classes(data: Data, strategy: str, seed: int) -> Iterator[Point]:
    """Questions about all classes, in the order of a strategy, through the trainer's own rounds."""
    pool, names = _pool(data), {k: str(k) for k in range(data.answers.shape[1])}
    values = [Classes(np.flatnonzero(row == 1).tolist(), np.flatnonzero(row == 0).tolist()) for row in data.answers]
    labels: dict[int, Classes] = {}
    model, push, keys = None, None, 0
    while len(labels) < min(max(QUESTIONS), len(data.train)):
        snapshot = Snapshot(UUID(int=1), len(labels), dict(labels), frozenset(labels), names, task=TASK.name)
        model = fit(pool, snapshot, model, seed=seed)
        push = rank(
            pool,
            snapshot,
            model,
            strategy_named(strategy, several=True),
            strategy_name=strategy,
            leased=frozenset(),
            length=BATCH,
            seed=seed,
            timings=Timings(),
            before=push,
        )
        if push is None:
            return
        labels |= {query.image_id: values[query.image_id] for query in push.queries}
        keys += sum(1 + len(values[query.image_id].yes) for query in push.queries)
        snapshot = Snapshot(UUID(int=1), len(labels), dict(labels), frozenset(labels), names, task=TASK.name)
        fitted = fit(pool, snapshot, model, seed=seed)
        yield Point(len(labels), keys, 0.0 if fitted is None else _measured(data, pool, fitted.head))


def one_class(data: Data, seed: int) -> Iterator[Point]:
    """Questions about one class each. The classes take turns."""
    pool, classes = _pool(data), data.answers.shape[1]
    rows = pool.train.rows[:]
    truth = data.answers[pool.train.ids]
    said = np.full(truth.shape, UNKNOWN, np.int8)
    memories: list[dict[str, object]] = [{} for _ in range(classes)]
    head: Sigmoids | None = None
    asked, turn = 0, 0
    while asked < max(KEYS):
        column = turn % classes
        unknown = np.flatnonzero(said[:, column] == UNKNOWN)
        given = np.where(said[:, column] == UNKNOWN, -1, 0).astype(np.int64)
        view = Pool(rows, None, given, np.zeros(len(rows), bool), unknown, seed, memories[column])
        weights = np.ones(len(rows))
        if head is not None and column in head.classes:
            p = head.predict_proba(rows)[:, int(np.searchsorted(head.classes, column))].astype(np.float64)
            weights = (entr(p) + entr(1 - p)) / np.log(2)
        chosen = herd(view, BATCH, weights).rows
        said[chosen, column] = truth[chosen, column]
        asked, turn = asked + len(chosen), turn + 1
        labeled = np.flatnonzero((said != UNKNOWN).any(axis=1))
        if TASK.enough(said[labeled]):
            head = TASK.fit(rows[labeled], said[labeled], pool=rows, kept=pool.kept, without=labeled, seed=seed)
        yield Point(asked, asked, 0.0 if head is None else _measured(data, pool, head))


def _pool(data: Data) -> ImagePool:
    return pool_of(data.X, data.train, data.test, (data.X.shape[1],))


def _measured(data: Data, pool: ImagePool, head: Sigmoids) -> float:
    names = {k: str(k) for k in range(data.answers.shape[1])}
    held = pool.held
    found = aligned(data.answers[held.ids], head.predict_proba(held.rows[:]), head.thresholds, head.classes, names)
    return f1_scores(found)[0]


def _at(curve: list[Point], field: str, budget: int) -> float:
    """Macro F1 in percent after this budget of `questions` or `keys`, interpolated."""
    return 100 * float(np.interp(budget, [getattr(each, field) for each in curve], [each.macro_f1 for each in curve]))


def _needed(curve: list[Point], field: str, goal: float) -> float:
    """The budget at which the curve reaches the goal for the first time; infinite if never."""
    return next((float(getattr(each, field)) for each in curve if 100 * each.macro_f1 >= goal), np.inf)


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rare", action="store_true")
    parser.add_argument("--npz", type=Path)
    given = parser.parse_args()
    print(f"{describe()}. {given.seeds} seeds.\n")
    curves: dict[str, list[list[Point]]] = {"default": [], "random": [], "one class at a time": []}
    for seed in range(given.seeds):
        data = read(given.npz, seed) if given.npz else strips(seed, rare=given.rare)
        curves["default"].append(list(all_classes(data, "uncertainty_herding", seed)))
        curves["random"].append(list(all_classes(data, "random", seed)))
        curves["one class at a time"].append(list(one_class(data, seed)))
    for field, budgets in (("questions", QUESTIONS), ("keys", KEYS)):
        goals = [_at(each, field, budgets[-1]) for each in curves["random"]]
        print(f"| {field} | " + " | ".join(map(str, budgets)) + f" | {field} to random's macro F1 at {budgets[-1]} |")
        print("|---|" + "---:|" * (len(budgets) + 1))
        for name, runs in curves.items():
            means = [np.mean([_at(each, field, budget) for each in runs]) for budget in budgets]
            needed = float(np.median([_needed(each, field, goal) for each, goal in zip(runs, goals, strict=True)]))
            last = f"{needed:.0f}" if np.isfinite(needed) else f"more than {runs[0][-1]._asdict()[field]}"
            print(f"| {name} | " + " | ".join(f"{each:.1f}" for each in means) + f" | {last} |", flush=True)
        print()


if __name__ == "__main__":
    main()
