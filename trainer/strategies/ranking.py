"""What a strategy is given and what it returns.

A strategy is a function of a `Pool` and a number: it reads arrays, touches nothing, and returns pool rows in the
order in which to ask. The order is good at every prefix, because the person may stop at any image and a new list may
come at any.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]

KEPT = 0.8  # of the best gain is enough for an image to keep its place at the head of the list in force


@dataclass(frozen=True)
class Pool:
    """The images that may be asked and everything a strategy may know of them. N images, D values, K classes.

    `embeddings` (N, D) float32, centred and of unit length; `probabilities` (N, K) float32, or None before there is a
    head; `labels` (N,) int64 class ids, -1 where unlabeled; `leased` (N,) bool, on somebody's screen now;
    `candidates` (M,) int64 rows that may be asked; `classes` (K,) int64 class ids of the columns of `probabilities`;
    `upcoming` (U,) int64 the few candidates at the head of the list in force, in its order. They keep their places
    while their gain is at least 0.8 of the best, so that the queue does not flicker with every label.

    `memory` is scratch for geometry that outlives a round. It lives as long as the embedding version: rows are
    appended to `embeddings` under the same memory, but never changed. Labels may be given, changed and taken back at
    any time.
    """

    embeddings: NDArray[np.float32]
    probabilities: NDArray[np.float32] | None
    labels: NDArray[np.int64]
    leased: NDArray[np.bool_]
    candidates: Rows
    seed: int = 0
    memory: dict[str, Any] = field(default_factory=dict)
    classes: NDArray[np.int64] | None = None
    upcoming: Rows = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    @property
    def labeled(self) -> Rows:
        """Rows that have a label."""
        return np.flatnonzero(self.labels >= 0)

    @property
    def covered(self) -> Rows:
        """Rows that are labeled, or about to be."""
        return np.flatnonzero((self.labels >= 0) | self.leased)

    def tie_breakers(self) -> Floats:
        """One number in [0, 1) a row, drawn under `seed`: breaks ties. A row keeps its number while the pool grows."""
        return np.random.default_rng(self.seed).random(len(self.labels))


@dataclass(frozen=True)
class Ranking:
    """`rows` (n,) int64 in the order in which to ask, `scores` (n,) float64, and for each row a few words for the
    person.

    A word `{class:12}` in a reason stands for the name of class 12.
    """

    rows: Rows
    scores: Floats
    reasons: list[str]


Strategy = Callable[[Pool, int], Ranking]

NOTHING = Ranking(np.empty(0, dtype=np.int64), np.empty(0), [])


def completed(pool: Pool, picked: Ranking, count: int, reason: str) -> Ranking:
    """`picked`, then other candidates by lot until there are `count`: for what only looks at a part of a large pool."""
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
    """At most `limit` candidates, ascending: the half of highest utility (n,), what is upcoming among it, and a
    random half of the rest.
    """
    rows = np.sort(pool.candidates)
    if len(rows) <= limit:
        return rows
    tie_breakers = pool.tie_breakers()[rows]
    worth = utilities[rows] + 1e-9 * tie_breakers  # ties go by lot
    worth[upcoming_in(pool, rows)] = np.inf
    chosen = np.zeros(len(rows), dtype=bool)
    chosen[np.argpartition(-worth, limit // 2)[: limit // 2]] = True
    tie_breakers[chosen] = np.inf
    chosen[np.argpartition(tie_breakers, limit - limit // 2)[: limit - limit // 2]] = True
    return rows[chosen]


def highest(pool: Pool, utilities: Floats, count: int, rows: Rows | None = None) -> tuple[Rows, Floats]:
    """The `count` candidates of highest utility, ties drawn by lot, what is upcoming in its place; `utilities` belong
    to `rows` (default: candidates).
    """
    rows = pool.candidates if rows is None else rows
    order = np.lexsort((pool.tie_breakers()[rows], -utilities))
    waiting, head = upcoming_in(pool, rows), dict[int, None]()  # a dict as a set that keeps its order
    for best in order[: count + len(waiting)].tolist() if waiting else []:
        while waiting and best not in head and len(head) < count:
            head[take(utilities, best, waiting)] = None
    placed = np.array(list(head), dtype=np.int64)
    rest = order[: count + len(placed)]
    order = np.concatenate([placed, rest[~np.isin(rest, placed)]])[:count]
    return rows[order], np.asarray(utilities, dtype=np.float64)[order]


def upcoming_in(pool: Pool, rows: Rows) -> list[int]:
    """Where among `rows` the upcoming ones stand, in the order of the list in force; those that are not, are left
    out.
    """
    return [int(place) for row in pool.upcoming for place in np.flatnonzero(rows == row)]


def take(gains: Floats, best: int, waiting: list[int]) -> int:
    """The next to ask: the first of `waiting` that gains at least 0.8 of what `best` gains, else `best`; it waits no
    more.

    All are indices of `gains`, which must be fresh: what a label adds to what is labeled or already picked. So an image
    whose twin was just answered leaves the list, however high it stood, and a newcomer of much more gain comes first.
    """
    taken = next((each for each in waiting if gains[each] >= KEPT * gains[best]), best)
    if taken in waiting:
        waiting.remove(taken)
    return taken
