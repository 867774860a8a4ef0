"""Class probabilities for the whole pool, at a bounded cost per round.

Scoring costs images × landmarks. Up to `WORK` such pairs, the head scores every image: always in a pool of 22,000
images, until 150 labels in one of 100,000 (250 without a teacher). Beyond that, a linear map fitted to the head's
output on the subsample estimates all images at a hundredth of the cost (the head's kernel is nearly linear). The head
then scores the images likely to be asked: the most uncertain by the estimate, the upcoming ones, the subsample, and
those of a random list. An estimate only decides where to look: listed images are always scored by the head.
docs/measurements/experiments.md gives the cost in accuracy. In a pool of up to some 20,000 images, most of the kernel
is known from the round before (`trainer.learners.kept_kernels`).

A round considers at most `CONSIDERED` candidates, drawn at random. A list has hundreds of images, and the best of these
candidates serve it as well as the best of millions. After every `REDRAWN` labels, others are drawn, so that each image
has its turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from trainer.columns.half_rows import AnyRows
from trainer.columns.spread_rows import over
from trainer.learners.kept_kernels import KeptKernels
from trainer.strategies.geometry import in_question, remembered, subsample
from trainer.strategies.random_sampling import random
from trainer.strategies.ranking import Pool, Ranking, Rows, Strategy, shortlist
from trainer.strategies.uncertainty import unsure_scores

WORK = 25_000_000  # pairs of image and landmark per round: 0.2 s on one core
PASSES = 3  # lists made until all listed images are scored by the head; usually one
LEAST = 1e-6  # lower limit of a probability, so that its logarithm is finite
RIDGE = 1e-4  # of the linear map, relative to the length of a row
CONSIDERED = 100_000  # candidates in one round: a larger pool costs what one of this size does
GOLDEN = 0.381966  # share of all images by which each draw moves on
REDRAWN = 500  # labels after which other candidates are drawn

Matrix = NDArray[np.float32]


def ranked(
    pool: Pool, strategy: Strategy, length: int, ask: Callable[[Matrix], Matrix] | None, scored: NDArray[np.bool_]
) -> Ranking:
    """The list of `strategy` for a pool in which the model itself scored the rows `scored` (N,).

    `ask` gives the model's probabilities (n, K) of rows (n, D); None without a model.

    If the list contains estimated images, they are scored and the list is made again. After `PASSES` lists, only scored
    images may be listed. Updates `scored` and the probabilities.
    """
    if ask is None or pool.probabilities is None:
        return strategy(pool, length)
    for _ in range(PASSES):
        ranking = strategy(pool, length)
        estimated = ranking.rows[~scored[ranking.rows]]
        if not len(estimated):
            return ranking
        pool.probabilities[estimated] = ask(pool.embeddings[estimated])
        scored[estimated] = True
    return strategy(replace(pool, candidates=pool.candidates[scored[pool.candidates]]), length)


class Scoring(Protocol):
    """A head on landmarks."""

    @property
    def classes(self) -> NDArray[np.int64]:
        """(K,)."""

    @property
    def landmarks(self) -> Matrix:
        """Unit rows (m, D)."""

    @property
    def weights(self) -> Matrix:
        """(m, K)."""

    @property
    def bias(self) -> Matrix:
        """(K,)."""

    def from_logits(self, logits: Matrix, /) -> Matrix:
        """Probabilities (n, K) from logits (n, K)."""

    def predict_proba(self, Z: Matrix, /) -> Matrix:
        """Probabilities (n, K) of unit rows (n, D)."""


def score(pool: Pool, head: Scoring, length: int, *, work: int = WORK) -> tuple[Pool, NDArray[np.bool_]]:
    """`pool` with the considered candidates and the probabilities (N, K) of all rows in question, and a mask (N,) of
    the rows that `head` itself scored; others are estimates."""
    pool, size, most = considered(pool), len(pool.labels), work // len(head.landmarks)
    seen = np.arange(size) if size <= CONSIDERED else in_question(pool)
    if len(seen) == size <= most and KeptKernels.suit(size, len(head.landmarks)):
        kernels = remembered(pool, "kernels", lambda: KeptKernels(pool.embeddings))
        return replace(pool, probabilities=kernels.probabilities(head), classes=head.classes), np.ones(size, bool)
    if len(seen) <= most:
        probabilities = _spread(pool, seen, over(pool.embeddings, head.predict_proba, seen))
        scored = np.zeros(size, dtype=bool)
        scored[seen] = True
        return replace(pool, probabilities=probabilities, classes=head.classes), scored
    sample = subsample(pool)
    known = head.predict_proba(pool.embeddings[sample])
    estimated = _estimated(pool.embeddings, seen, sample, known, several=pool.rarity is not None)
    unsure = np.zeros(size)
    unsure[seen] = unsure_scores(pool, estimated)
    probabilities = _spread(pool, seen, estimated)
    near = shortlist(pool, unsure, max(most - len(sample), 2 * len(pool.upcoming)))
    scored = np.zeros(size, dtype=bool)
    scored[near] = scored[random(pool, length).rows] = True
    scored[sample] = False  # known already
    probabilities[scored] = over(pool.embeddings, head.predict_proba, np.flatnonzero(scored))
    probabilities[sample] = known
    scored[sample] = True
    return replace(pool, probabilities=probabilities, classes=head.classes), scored


def considered(pool: Pool) -> Pool:
    """`pool` with `CONSIDERED` of its candidates, the upcoming ones among them."""
    if len(pool.candidates) <= CONSIDERED:
        return pool
    turn = len(pool.labeled) // REDRAWN * GOLDEN % 1.0
    numbers = pool.tie_breakers()  # a row keeps its number while the pool grows
    likely = np.zeros(len(numbers), bool)
    for low, high in _turns(turn, min(2.0 * CONSIDERED / len(pool.candidates), 1.0)):
        likely |= (numbers >= low) & (numbers < high)
    likely[pool.upcoming] = True
    rows = pool.candidates[likely[pool.candidates]]  # twice as many as are needed, so that few are sorted
    if len(rows) < CONSIDERED:  # by chance: hardly ever
        rows = pool.candidates
    chance = (numbers[rows] + turn) % 1.0
    chance[np.isin(rows, pool.upcoming)] = -1.0
    return replace(pool, candidates=np.sort(rows[np.argpartition(chance, CONSIDERED - 1)[:CONSIDERED]]))


def _turns(turn: float, share: float) -> Iterator[tuple[float, float]]:
    """Intervals with all numbers in [0, 1) that are below `share` after `turn` was added to them, modulo 1."""
    start, rounding = 1.0 - turn, 1e-9
    for low in (start, start - 1.0):
        yield low - rounding, low + share + rounding


def _spread(pool: Pool, rows: Rows, values: Matrix) -> Matrix:
    """Probabilities (N, K): `values` (n, K) at `rows` (n,), 0 elsewhere.

    The next round of a large pool writes over them. A new array of ten million images would take a second, in which the
    system clears its pages. It is new when most of `rows` are, so that it does not grow page by page.
    """
    shape, known = (len(pool.labels), values.shape[1]), pool.memory.get("probabilities")
    if known is not None and known[0].shape == shape and np.isin(rows, known[1]).mean() > 0.5:
        spread: Matrix = known[0]
        spread[known[1]] = 0.0
    else:
        spread = np.zeros(shape, np.float32)
    spread[rows] = values
    if len(spread) > CONSIDERED:
        pool.memory["probabilities"] = (spread, rows)
    return spread


def _estimated(Z: AnyRows, seen: Rows, sample: Rows, known: Matrix, *, several: bool) -> Matrix:
    """Estimated probabilities (n, K) of the unit rows `seen` (n,) of `Z` (N, D): least squares on the logits of `known`
    (m, K) at `sample` (m,). With `several` classes per image, each has a logit of its own.
    """
    logits = np.log(np.maximum(known, LEAST))
    logits -= np.log(np.maximum(1 - known, LEAST)) if several else logits.mean(axis=1, keepdims=True)
    rows, offset = Z[sample], logits.mean(axis=0)
    gram = rows.T @ rows + RIDGE * len(rows) * np.eye(rows.shape[1], dtype=np.float32)
    weights = np.linalg.solve(gram, rows.T @ (logits - offset))  # (D, K)
    return over(Z, partial(_by_line, weights=weights, offset=offset, several=several), seen)


def _by_line(rows: Matrix, *, weights: Matrix, offset: Matrix, several: bool) -> Matrix:
    found = rows @ weights + offset
    return np.asarray(expit(found) if several else softmax(found, axis=1), np.float32)
