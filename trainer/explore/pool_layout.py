"""Lays out the pool for the pages: neighbours of an image, groups, and a 2-D map.

Functions over unit rows (N, D), and `LayoutCache`, which computes slow results once per state of the pool. Callers pass
only train images, so no test image can appear here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.columns.half_rows import AnyRows, parts
from trainer.embeddings.nearest import nearest

FIT_SAMPLE = 20_000
"""Maximum number of rows for fitting groups and map axes. The other rows are only assigned, so a large pool costs
little more.
"""


ALIKE = 1e-5
"""Coordinates of unit rows that differ by less than this count as equal."""
PATIENCE_SECONDS = 5.0
"""Seconds that a request waits for a result."""

Matrix = NDArray[np.float32]


class Unfinished(Exception):  # noqa: N818 - a state, not a failure
    """The result is still being computed, as the message says."""


class Grouping(NamedTuple):
    """The group of each row (N,), and its cosine similarity to the group's centre (N,)."""

    group: NDArray[np.int64]
    closeness: Matrix


class LayoutCache:
    """Groups and maps of the latest state of the pool. Each is computed once, on a background thread."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._lock = threading.Lock()
        self._state: Hashable = None
        self._work: dict[Hashable, Future[Any]] = {}

    def groups(self, state: Hashable, rows: AnyRows, count: int) -> Grouping:
        """See `groups`. `state` identifies the rows; results for another state are dropped. Raises Unfinished."""
        found: Grouping = self._once(state, ("groups", count), lambda: groups(rows, count, seed=self._seed))
        return found

    def positions(self, state: Hashable, rows: AnyRows) -> Matrix:
        """See `positions`. Raises Unfinished."""
        found: Matrix = self._once(state, "positions", lambda: positions(rows, seed=self._seed))
        return found

    def _once(self, state: Hashable, what: Hashable, make: Callable[[], Any]) -> Any:
        with self._lock:
            if state != self._state:
                self._state, self._work = state, {}
            future = self._work.get(what)
            if future is None or (future.done() and future.exception()):
                future = self._work[what] = Future()
                # A daemon thread, so that shutdown does not wait for it.
                threading.Thread(target=_work_out, args=(future, make), name="pool-layout", daemon=True).start()
        try:
            return future.result(PATIENCE_SECONDS)
        except TimeoutError:
            raise Unfinished("The layout is being computed and will appear in a moment.") from None


def neighbours(
    rows: AnyRows, row: int, count: int, among: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], Matrix]:
    """The `count` rows most similar to `row`, most similar first and without itself, with their cosine similarities.

    `among` (M,) are the rows to consider, by default all.
    """
    if among is None:
        found, similarity = nearest(rows[row : row + 1], rows, count, without=np.array([row]))
        return found[0], similarity[0]
    others = among[among != row]
    found, similarity = nearest(rows[row : row + 1], rows[others], count)
    return others[found[0]], similarity[0]


def groups(rows: AnyRows, count: int, *, seed: int) -> Grouping:
    """k-means with at most `count` groups."""
    count = max(1, min(count, len(rows)))
    if len(rows) == 0:
        return Grouping(np.empty(0, np.int64), np.empty(0, np.float32))
    from sklearn.cluster import MiniBatchKMeans  # not at the start of the trainer, of which it is an eighth

    means = MiniBatchKMeans(count, random_state=seed, n_init=3, batch_size=2_048).fit(_sample(rows, seed))
    centres = means.cluster_centers_.astype(np.float32)
    group, closeness = np.empty(len(rows), np.int64), np.empty(len(rows), np.float32)
    for start, some in parts(rows):
        where = slice(start, start + len(some))
        group[where] = means.predict(some)
        closeness[where] = np.einsum("nd,nd->n", some, centres[group[where]])
    return Grouping(group, closeness)


def positions(rows: AnyRows, *, seed: int) -> Matrix:
    """Positions (N, 2) along the first two principal axes, scaled to −1 … 1; all 0 if all rows are equal."""
    flat = np.zeros((len(rows), 2), np.float32)
    sample = _sample(rows, seed)
    ways = min(2, len(rows) - 1, rows.shape[1])
    if ways < 1 or float(np.abs(sample - sample[:1]).max()) < ALIKE:
        return flat
    from sklearn.decomposition import PCA  # as above

    if min(sample.shape) > 2:
        axes = PCA(2, svd_solver="randomized", random_state=seed).fit(sample)
    else:
        axes = PCA(ways, svd_solver="full").fit(sample)
    for start, some in parts(rows):
        flat[start : start + len(some), :ways] = axes.transform(some)
    return np.asarray(flat / max(float(np.abs(flat).max()), 1e-12), np.float32)


def _work_out(future: Future[Any], make: Callable[[], Any]) -> None:
    try:
        future.set_result(make())
    except Exception as error:  # the waiting caller raises it
        future.set_exception(error)


def _sample(rows: AnyRows, seed: int) -> Matrix:
    if len(rows) <= FIT_SAMPLE:
        return rows[:]
    return rows[np.random.default_rng(seed).choice(len(rows), FIT_SAMPLE, replace=False)]
