"""The input and output of a query strategy.

A strategy is a function of a `Pool` and a count. It changes nothing but `pool.memory`, and returns pool rows in the
order in which to ask. Every prefix of the order must be good, because the person may stop at any image and a new list
may arrive at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr, expit, logit

from trainer.columns.half_rows import AnyRows

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]

UNSURE = 0.5  # uncertainty of a class from which it is named as the reason: a probability between 0.25 and 0.75
THRESHOLDS = (0.02, 0.98)  # range of thresholds of classes, for the uncertainty
LEAST = 1e-6  # lower limit of a probability, so that its logit is finite
ELSEWHERE = -2  # the label of a row whose image is in another split now: it is neither asked nor covered
KEPT = 0.8  # share of the best gain with which an upcoming image keeps its place


@dataclass(frozen=True)
class Rarity:
    """Where an image can have several classes: the weight of each class (K,), of which the largest is 1, the
    `thresholds` (K,) from which each is predicted, and the weight of the classes that are not learned yet.

    A rare class counts as much in the macro F1 as any other, and has fewer answers to learn from. A class is in doubt
    near its own threshold, which may be far from one half. An image that belongs to none of the learned classes may
    show one that is not learned yet.
    """

    classes: Floats
    thresholds: Floats
    unlearned: float

    @classmethod
    def of(cls, images: NDArray[np.int64], unlearned: int, thresholds: NDArray[Any] | None = None) -> Rarity:
        """From how many labeled images have each class (K,), and how many classes are `unlearned`. Without `thresholds`
        (K,), they are one half.
        """
        weights = 1.0 / np.sqrt(1.0 + images)
        limits = np.full(len(weights), 0.5) if thresholds is None else np.clip(thresholds, *THRESHOLDS)
        return cls(weights / weights.max(initial=1e-9), limits.astype(np.float64), min(1.0, float(unlearned)))

    def weigh(self, probabilities: NDArray[Any]) -> Floats:
        """How informative an answer about images with these probabilities (n, K) would be, from 0 to 1: the mean
        entropy of the classes in bits, weighted by their rarity, and highest at their thresholds.
        """
        p = self._about_thresholds(probabilities)
        known = (entr(p) + entr(1.0 - p)) @ self.classes / (np.log(2.0) * self.classes.sum())
        without = np.prod(1.0 - np.asarray(probabilities, dtype=np.float64), axis=1)
        return np.asarray(np.maximum(known, self.unlearned * without), np.float64)

    def doubted(self, probabilities: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The column (n,) of the most informative class, and whether it is in doubt (n,)."""
        doubt = 1.0 - np.abs(2.0 * self._about_thresholds(probabilities) - 1.0)
        best = (doubt * self.classes).argmax(axis=1)
        return best.astype(np.int64), doubt[np.arange(len(doubt)), best] >= UNSURE

    def _about_thresholds(self, probabilities: NDArray[Any]) -> Floats:
        """Probabilities (n, K), moved in logits so that a threshold becomes one half."""
        p = np.clip(np.asarray(probabilities, dtype=np.float64), LEAST, 1.0 - LEAST)
        return np.asarray(expit(logit(p) - logit(self.thresholds)), np.float64)


@dataclass(frozen=True)
class Pool:
    """The candidates and everything a strategy may know about them. N images, D values, K classes.

    - `embeddings` (N, D) float32: centred, of unit length. A large pool keeps them in half precision: index
      them (`embeddings[rows]`), because NumPy's functions convert all of them.
    - `probabilities` (N, K) float32, or None until there is a head.
    - `labels` (N,) int64: class ids, -1 for unlabeled rows, -2 for rows whose image is in another split now.
    - `leased` (N,) bool: on somebody's screen now.
    - `candidates` (M,) int64: rows that may be asked.
    - `classes` (K,) int64: class ids of the columns of `probabilities`.
    - `upcoming` (U,) int64: the first few candidates of the current list, in its order. They keep their places while
      their gain is at least 0.8 of the best, so that the queue does not flicker with every label.
    - `rarity`: set where an image can have several classes. Then each class has a probability of its own, and `labels`
      is 0 for labeled rows.
    - `memory`: a cache for geometry that lives as long as the embedding version. Rows may be appended to `embeddings`
      meanwhile, but existing rows never change. Labels may be given, changed and undone at any time.
    """

    embeddings: AnyRows
    probabilities: NDArray[np.float32] | None
    labels: NDArray[np.int64]
    leased: NDArray[np.bool_]
    candidates: Rows
    seed: int = 0
    memory: dict[str, Any] = field(default_factory=dict)
    classes: NDArray[np.int64] | None = None
    upcoming: Rows = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    rarity: Rarity | None = None

    @property
    def labeled(self) -> Rows:
        """Rows that have a label."""
        return np.flatnonzero(self.labels >= 0)

    @property
    def covered(self) -> Rows:
        """Rows that are labeled or leased."""
        return np.flatnonzero((self.labels >= 0) | self.leased)

    def tie_breakers(self) -> Floats:
        """A random number in [0, 1) for each row, to break ties. A row keeps its number while the pool grows.

        They are drawn once, because a round needs them six times: that took 0.4 s for ten million images.
        """
        size, name = len(self.labels), f"tie-breakers {self.seed}"
        drawn: Floats | None = self.memory.get(name)
        if drawn is None or len(drawn) < size:
            drawn = np.random.default_rng(self.seed).random(size)
            drawn.setflags(write=False)
            self.memory[name] = drawn
        return drawn[:size]


@dataclass(frozen=True)
class Ranking:
    """Rows to ask about, in order.

    `rows` (n,) int64, `scores` (n,) float64, and a short reason for each row. `{class:12}` in a reason stands for the
    name of class 12.
    """

    rows: Rows
    scores: Floats
    reasons: list[str]


Strategy = Callable[[Pool, int], Ranking]

NOTHING = Ranking(np.empty(0, dtype=np.int64), np.empty(0), [])


def completed(pool: Pool, picked: Ranking, count: int, reason: str) -> Ranking:
    """Fill `picked` up to `count` with random candidates, for strategies that only see a part of a large pool."""
    missing = min(count, len(pool.candidates)) - len(picked.rows)
    if missing <= 0:
        return picked
    rest = np.setdiff1d(pool.candidates, picked.rows)
    rest = rest[np.argsort(pool.tie_breakers()[rest], kind="stable")][:missing]
    return Ranking(
        np.concatenate([picked.rows, rest]),
        np.concatenate([picked.scores, np.full(len(rest), picked.scores.min(initial=0.0))]),
        [*picked.reasons, *[reason] * len(rest)],
    )


def shortlist(pool: Pool, utilities: Floats, limit: int) -> Rows:
    """Up to `limit` candidates, ascending.

    Half have the highest utility (n,), with the upcoming ones among them; the other half are drawn at random.
    """
    rows = np.sort(pool.candidates)
    if len(rows) <= limit:
        return rows
    tie_breakers = pool.tie_breakers()[rows]
    worth = utilities[rows] + 1e-9 * tie_breakers  # random tie-breakers
    worth[upcoming_in(pool, rows)] = np.inf
    chosen = np.zeros(len(rows), dtype=bool)
    chosen[np.argpartition(-worth, limit // 2)[: limit // 2]] = True
    tie_breakers[chosen] = np.inf
    chosen[np.argpartition(tie_breakers, limit - limit // 2)[: limit - limit // 2]] = True
    return rows[chosen]


def highest(pool: Pool, utilities: Floats, count: int, rows: Rows | None = None) -> tuple[Rows, Floats]:
    """The `count` candidates of highest utility; ties are broken at random and upcoming rows keep their places.

    `utilities` belong to `rows` (default: all candidates).
    """
    rows = pool.candidates if rows is None else rows
    waiting, head = upcoming_in(pool, rows), dict[int, None]()  # a dict serves as an ordered set
    order = _foremost(pool, rows, -np.asarray(utilities, dtype=np.float64), 2 * count + len(waiting))
    for best in order[: count + len(waiting)].tolist() if waiting else []:
        while waiting and best not in head and len(head) < count:
            head[take(utilities, best, waiting)] = None
    placed = np.array(list(head), dtype=np.int64)
    rest = order[: count + len(placed)]
    order = np.concatenate([placed, rest[~np.isin(rest, placed)]])[:count]
    return rows[order], np.asarray(utilities, dtype=np.float64)[order]


def _foremost(pool: Pool, rows: Rows, costs: Floats, count: int) -> Rows:
    """Indices of the `count` lowest costs of `rows`, ascending, ties in random order. Sorts no others."""
    near = np.arange(len(rows))
    if count < len(rows):
        near = np.flatnonzero(costs <= np.partition(costs, count)[count])
    return near[np.lexsort((pool.tie_breakers()[rows[near]], costs[near]))][:count]


def upcoming_in(pool: Pool, rows: Rows) -> list[int]:
    """Indices in `rows` of the upcoming rows, in the order of the current list; rows that are absent are skipped."""
    return [int(place) for row in pool.upcoming for place in np.flatnonzero(rows == row)]


def take(gains: Floats, best: int, waiting: list[int]) -> int:
    """Take the next image: the first of `waiting` that gains at least 0.8 of `best`, else `best`.

    The image is removed from `waiting`. `best` and `waiting` are indices of `gains`, which must be up to date: the gain
    of a label, given all images labeled or picked so far. So an image whose twin was just answered leaves the list,
    however high it stood, and a newcomer with much more gain comes first.
    """
    taken = next((each for each in waiting if gains[each] >= KEPT * gains[best]), best)
    if taken in waiting:
        waiting.remove(taken)
    return taken
