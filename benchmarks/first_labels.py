"""What the first labels are worth while images still get their vectors.

    python -m benchmarks.first_labels --npz NAME=FILE

It simulates in this process, without services and clocks, so that orders of embedding are compared without noise. The
first list is made when four images have their vectors. Then a number of images (`--rates`) gets them with each label.
A new list is made when the number of train images has doubled, and after every ten labels; the next two labels still
follow the list before. FILE is written by `benchmarks.vectors`. As in `benchmarks.keeping_up`, the trainer's own head
is fitted in the finished pool on the labels in the order in which they were given, and measured on a stratified quarter
that was held out. *In step* is an annotator who has all vectors and a new list after every ten labels. Differences to
it are paired by seed, with their standard error.

| way | order of embedding |
|---|---|
| train first | that of the trainer (`trainer.columns.embedding_order`) |
| train first, test set | the same, and the held-out quarter has labels from the start, as with `--test` |
| by hash | all splits in the order of their hashes, and before them images with a label |
| by hash, test set | the same, and the held-out quarter has labels from the start |
| by class | class after class, as in a folder of folders |
| thumbnails | train images, those first whose thumbnails cover the pool: needs `--photos LABELS:IMAGES` |
| covering | train images, those first that cover the finished pool: no product can know this order |
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits

from benchmarks.data_sets import Ids, Rows, held_out, pool_of, read, read_blocks
from benchmarks.keeping_up import along
from benchmarks.label_efficiency import TASK, simulate
from benchmarks.machine import describe
from trainer.columns.embedding_order import EmbeddingOrder
from trainer.columns.images import TEST, TRAIN, Images
from trainer.embeddings.space import ImagePool
from trainer.loop.rounds import UPCOMING
from trainer.strategies import Pool, strategy_named
from trainer.strategies.herding import greedy_cover, maxherding, uncertainty_herding
from trainer.tasks.pool_scores import ranked, score

SHOWN = (10, 20, 50)
FIRST = 4  # images of the first batch
LENGTH = 100  # images of a list
BATCH = 10  # labels
LATE = 2  # labels that are given while a list is made
PART = 8  # images embedded at once
COVERED = 200  # images of a chosen order; the others follow at random
THUMBNAIL = 16  # pixels
WAYS = ("train first", "train first, test set", "by hash", "by hash, test set", "by class", "thumbnails", "covering")


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--npz", metavar="NAME=FILE", required=True)
    parser.add_argument("--photos", metavar="LABELS:IMAGES", help="the table and folder from which FILE was made")
    parser.add_argument("--rates", type=float, nargs="+", default=[3, 10], help="images embedded with each label")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS[:5])
    parser.add_argument("--seeds", type=int, default=8)
    given = parser.parse_args()
    name, X, y = read(given.npz)
    blocks = read_blocks(given.npz)
    looks = _thumbnails(given.photos) if given.photos else None
    print(f"{name}: {len(y):,} photos, {given.seeds} seeds. {describe('numpy', 'scikit-learn')}\n")
    print("| images a label | order | " + " | ".join(map(str, SHOWN)) + " | difference |\n|---:|---|" + "---:|" * 4)
    places = [n // 10 - 1 for n in SHOWN]
    with threadpool_limits(1):
        strategy = strategy_named("uncertainty_herding")
        steps = np.stack(
            [simulate(X, y, strategy, seed, "whole", SHOWN[-1], blocks=blocks).accuracy for seed in range(given.seeds)]
        )
        print(f"| all | in step | {' | '.join(f'{100 * value:.1f}' for value in steps.mean(axis=0)[places])} | – |")
        for rate in given.rates:
            for way in given.ways:
                found = np.stack([_haste(X, y, blocks, way, rate, seed, looks) for seed in range(given.seeds)])
                cells = " | ".join(f"{100 * value:.1f}" for value in found.mean(axis=0)[places])
                gaps = 100 * (found - steps)[:, places]
                errors = gaps.std(axis=0, ddof=1) / len(gaps) ** 0.5
                cost = " / ".join(f"{m:+.1f} ± {e:.1f}" for m, e in zip(gaps.mean(axis=0), errors, strict=True))
                print(f"| {rate:g} | {way} | {cells} | {cost} |", flush=True)


def _haste(
    X: Rows, y: Ids, blocks: Sequence[int], way: str, rate: float, seed: int, looks: Rows | None
) -> NDArray[np.float64]:
    """The accuracy after each ten labels of an annotator who does not wait."""
    train, test = held_out(y, seed)
    known = test if way.endswith("test set") else test[:0]
    queue = _queue(X, y, blocks, way, train, test, seed, looks)
    order = _Annotator(X, y, blocks, queue, known, train, rate, seed).run(SHOWN[-1])
    return along(X, y, train, test, order, blocks, seed)


@dataclass
class _Chosen:
    """Images in a given order; before them those with a label."""

    images: list[int]
    done: set[int] = field(default_factory=set)

    def take(self, count: int, labeled: Sequence[int], embedded: int) -> list[int]:
        wanted = [image for image in dict.fromkeys([*labeled, *self.images]) if image not in self.done][:count]
        self.done.update(wanted)
        return wanted


class _Ours:
    """The trainer's order."""

    def __init__(self, train: Ids, test: Ids, seed: int) -> None:
        ids = np.concatenate([train, test])
        hashes = np.random.default_rng(seed).integers(0, 256, (len(ids), 32), dtype=np.uint8)
        splits = np.repeat(np.array([TRAIN, TEST], np.uint8), [len(train), len(test)])
        self._order = EmbeddingOrder()
        self._order.add(Images(ids, hashes, splits))

    def take(self, count: int, labeled: Sequence[int], embedded: int) -> list[int]:
        chosen = self._order.first(count, np.array(labeled, np.int64), embedded=embedded, measured=False)[:count]
        self._order.discard(chosen)
        return [int(image) for image in chosen]


def _queue(
    X: Rows, y: Ids, blocks: Sequence[int], way: str, train: Ids, test: Ids, seed: int, looks: Rows | None
) -> _Chosen | _Ours:
    if way.startswith("train first"):
        return _Ours(train, test, seed)
    rng = np.random.default_rng(seed)
    everything = rng.permutation(np.concatenate([train, test]))
    if way == "by class":
        everything = everything[np.argsort(y[everything], kind="stable")]
    elif way in ("covering", "thumbnails"):
        if way == "covering":
            pool = pool_of(X, train, test, blocks)
            size = len(pool.train.ids)
            free = np.zeros(size, bool)
            view = Pool(pool.train.rows, None, np.full(size, -1), free, np.arange(size), seed, pool.memory)
            first = pool.train.ids[maxherding(view, COVERED).rows]
        elif looks is not None:
            first = train[_spread(looks[train], rng)]
        else:
            raise SystemExit("The order of thumbnails needs --photos LABELS:IMAGES.")
        mixed = rng.permutation(np.setdiff1d(train, first))
        everything = np.concatenate([first, mixed, test])
    return _Chosen(everything.tolist())


class _Annotator:
    """Answers the first image of the newest list, while images get their vectors."""

    def __init__(
        self,
        X: Rows,
        y: Ids,
        blocks: Sequence[int],
        queue: _Chosen | _Ours,
        known: Ids,
        train: Ids,
        rate: float,
        seed: int,
    ) -> None:
        self._y, self._queue, self._known, self._rate, self._seed = y, queue, known, rate, seed
        folder = Path(tempfile.gettempdir())
        self._pool = ImagePool(X.shape[1], lambda keys: X[[int(key, 16) for key in keys]], blocks, folder)
        self._train = set(train.tolist())
        self._left = len(y)
        self._given: dict[int, None] = {}  # in their order
        self._lists: list[list[int]] = [np.random.default_rng(seed).permutation(train).tolist()]  # the last counts
        self._warm, self._version = False, -1

    def run(self, budget: int) -> Ids:
        """The images in the order in which they were answered."""
        while not len(self._pool.train.ids):
            self._embed(FIRST)
        self._lists.append(self._list())
        coming: list[tuple[int, list[int]]] = []  # (number of labels, list)
        owed = 0.0
        while len(self._given) < budget:
            while coming and coming[0][0] <= len(self._given):
                self._lists.append(coming.pop(0)[1])
            self._given[next(each for one in reversed(self._lists) for each in one if each not in self._given)] = None
            owed += self._rate
            while owed >= 1:
                some = min(int(owed), PART)
                owed -= some
                self._embed(some)
                if self._pool.version != self._version:
                    coming.append((len(self._given) + 1, self._list()))
            if len(self._given) % BATCH == 0:
                coming.append((len(self._given) + LATE, self._list()))
        return np.array(list(self._given), np.int64)

    def _embed(self, count: int) -> None:
        chosen = self._queue.take(count, [*self._given, *self._known.tolist()], len(self._pool.train.ids))
        self._left -= len(chosen)
        ids = np.array(chosen, np.int64)
        hashes = np.array([list(each.to_bytes(32, "big")) for each in chosen], np.uint8).reshape(-1, 32)
        splits = np.array([TRAIN if each in self._train else TEST for each in chosen], np.uint8)
        self._pool.add(Images(ids, hashes, splits), complete=not self._left)

    def _list(self) -> list[int]:
        pool, ids = self._pool, self._pool.train.ids
        labels = np.where(np.isin(ids, list(self._given)), self._y[ids], -1)
        labeled, head = np.flatnonzero(labels >= 0), None
        if len(np.unique(labels[labeled])) > 1:
            pool.learn_shares(labeled, TASK.as_numbers(labels[labeled]))
            rows, kept = pool.train.rows[:], pool.kept if pool.complete else None
            head = TASK.fit(
                rows[labeled], labels[labeled], pool=rows, kept=kept, without=labeled, previous=None, seed=self._seed
            )
        free, scored = np.flatnonzero(labels < 0), np.zeros(len(ids), bool)
        row_of = {int(image): row for row, image in enumerate(ids)}
        before = self._lists[-1] if len(self._lists) > 1 and self._warm == (head is not None) else []
        upcoming = [row_of[each] for each in before if each not in self._given][:UPCOMING]
        self._warm, self._version = head is not None, pool.version
        view = Pool(
            pool.train.rows,
            None,
            labels,
            scored.copy(),
            free,
            self._seed,
            pool.memory,
            upcoming=np.array(upcoming, np.int64),
        )
        if head is not None:
            view, scored = score(view, head, LENGTH)
        ask = head.predict_proba if head is not None else None
        return [int(ids[row]) for row in ranked(view, uncertainty_herding, LENGTH, ask, scored).rows]


def _spread(looks: Rows, rng: np.random.Generator) -> Ids:
    """The places of thumbnails (n, D) that cover all of them, in the order of their gain."""
    squared = np.maximum((looks**2).sum(1)[:, None] + (looks**2).sum(1)[None] - 2 * looks @ looks.T, 0)
    width = np.sqrt(np.partition(squared, 10, axis=1)[:, 10]).mean()
    near = np.exp(-squared / width**2).astype(np.float32)
    return greedy_cover(
        near, np.ones(len(looks), np.float32), np.zeros(len(looks), np.float32), COVERED, rng.random(len(looks))
    )[0]


def _thumbnails(photos: str) -> Rows:
    """Colours in 4 × 4 fields and light in 8 × 8 fields (n, 112) of each photo, in the order of the table."""
    table, _, folder = photos.partition(":")
    with Path(table).open(newline="") as stream:
        names = [row["filename"] for row in csv.DictReader(stream)]
    found = []
    for name in names:
        with Image.open(Path(folder) / name) as image:
            image.draft("RGB", (4 * THUMBNAIL, 4 * THUMBNAIL))
            small = image.convert("RGB").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
        found.append(np.asarray(small, np.float32) / 255)
    all_of_them = np.stack(found)
    n = len(names)
    colours = all_of_them.reshape(n, 4, 4, 4, 4, 3).mean(axis=(2, 4)).reshape(n, -1)
    light = all_of_them.mean(axis=3).reshape(n, 8, 2, 8, 2).mean(axis=(2, 4)).reshape(n, -1)
    light -= light.mean(axis=1, keepdims=True)
    light /= np.maximum(light.std(axis=1, keepdims=True), 1e-3)
    looks = np.concatenate([colours / colours.std(), 0.5 * light], axis=1)
    centred: Rows = looks - looks.mean(axis=0)
    return centred


if __name__ == "__main__":
    main()
