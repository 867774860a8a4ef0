"""Spreads the rows of the pool over workers, in whole chunks, and records which worker has which rows.

The trainer keeps all rows itself, in memory or in a file, so it can send a lost worker its rows again. Workers compute
only once they have all needed rows. Each row has its own result, so the results do not depend on the number of workers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from threading import Lock
from typing import Any, Protocol

import numpy as np

from trainer.columns.half_rows import Matrix
from trainer.columns.spread_rows import CHUNK, Function, Ids, SpreadRows, chunks
from trainer.engine.workers import Wanted

log = logging.getLogger(__name__)

LEAST = 131_072
"""Below this number of rows, computing here is faster. A round considers fewer, see `trainer.tasks.pool_scores`."""
LITTLE = 2 * CHUNK
"""Up to this many missing rows are sent before computing; more are sent in the background."""
ANSWER_SECONDS = 60.0
"""Seconds until an answer counts as lost."""
AT_ONCE = 8
"""Chunks sent at the same time."""


class Lost(Exception):  # noqa: N818 - a state of a worker
    """A worker is gone or does not answer in time. Ray starts it again."""

    def __init__(self, worker: int) -> None:
        super().__init__(f"Worker {worker} is gone.")
        self.worker = worker


class Crew(Protocol):
    """Workers by number, each a `RowHolder`."""

    count: int

    def put(self, value: Any) -> Any:
        """Send a value once that several calls use."""

    def call(self, worker: int, method: str, *given: Any) -> Any:
        """Start a call; returns its ticket."""

    def results(self, tickets: Sequence[tuple[int, Any]], seconds: float) -> list[Any]:
        """The answers to calls of workers. Raises Lost."""


class Shards:
    """The rows that a crew of workers holds. Thread-safe."""

    def __init__(self, crew: Crew, *, least: int = LEAST) -> None:
        self._crew = crew
        self._least = least
        self._name = ""
        self._sent: list[dict[int, int]] = [{} for _ in range(crew.count)]  # rows of each chunk, by worker
        self._feeding = Lock()
        self.answered = 0  # how often the workers have computed
        self.wanted: SpreadRows | None = None  # what was asked for, and is not all there

    @property
    def waiting(self) -> int:
        """Number of needed rows that no worker has yet."""
        return 0 if self.wanted is None else self._lacking(self.wanted)

    def over(self, rows: SpreadRows, function: Function, which: Ids) -> Matrix | None:
        """Like `spread_rows.over`, on the workers; None if they lack rows or one is lost."""
        if len(which) < self._least:
            return None
        lacking = self._lacking(rows)
        if lacking > LITTLE or (lacking and not self.feed(rows)):
            self.wanted = rows
            return None
        asked: list[list[Wanted]] = [[] for _ in range(self._crew.count)]
        of: list[list[slice]] = [[] for _ in range(self._crew.count)]  # of the results of a worker
        start = 0
        for chunk, some in chunks(which):
            worker = chunk % self._crew.count
            asked[worker].append((chunk, (some - chunk * CHUNK).astype(np.uint16)))
            of[worker].append(slice(start, start + len(some)))
            start += len(some)
        busy = [worker for worker in range(self._crew.count) if asked[worker]]
        try:
            sent = self._crew.put(function)
            tickets = [(each, self._crew.call(each, "over", rows.name, sent, asked[each])) for each in busy]
            answers = self._crew.results(tickets, ANSWER_SECONDS)
        except Lost as lost:
            self._forget(lost.worker)
            self.wanted = rows
            return None
        for worker, answer in zip(busy, answers, strict=True):
            if answer is None:  # it was started again
                self._forget(worker)
                self.wanted = rows
                return None
        self.answered += 1
        found = np.empty((len(which), *answers[0].shape[1:]), answers[0].dtype)
        for worker, answer in zip(busy, answers, strict=True):
            at = 0
            for each in of[worker]:
                found[each] = answer[at : at + each.stop - each.start]
                at += each.stop - each.start
        return found

    def feed(self, rows: SpreadRows, seconds: float = ANSWER_SECONDS) -> bool:
        """Send the workers the `rows` that they lack, for about this many seconds; returns whether they have all."""
        if not self._feeding.acquire(blocking=False):
            return False
        try:
            if self._name != rows.name:
                self._sent = [{} for _ in range(self._crew.count)]
                self._name = rows.name
            return self._feed(rows, time.monotonic() + seconds)
        except Lost as lost:
            self._forget(lost.worker)
            return False
        finally:
            self._feeding.release()

    def _feed(self, rows: SpreadRows, until: float) -> bool:
        waiting: list[tuple[int, Any, int, int]] = []  # worker, ticket, chunk, rows that it then has
        for chunk in range(-(-len(rows) // CHUNK)):
            worker, first = chunk % self._crew.count, chunk * CHUNK
            there, whole = self._sent[worker].get(chunk, 0), min(CHUNK, len(rows) - first)
            if there >= whole:
                continue
            if time.monotonic() > until:
                break
            data = self._crew.put(np.ascontiguousarray(rows.stored(first + there, first + whole)))
            waiting.append((worker, self._crew.call(worker, "hold", rows.name, chunk, there, data), chunk, whole))
            if len(waiting) >= AT_ONCE:
                self._noted(waiting)
                waiting = []
        self._noted(waiting)
        return not self._lacking(rows)

    def _noted(self, waiting: list[tuple[int, Any, int, int]]) -> None:
        answers = self._crew.results([(worker, ticket) for worker, ticket, _, _ in waiting], ANSWER_SECONDS)
        for (worker, _, chunk, whole), held in zip(waiting, answers, strict=True):
            if not held:
                raise Lost(worker)
            self._sent[worker][chunk] = whole

    def _lacking(self, rows: SpreadRows) -> int:
        """Number of these rows that no worker has."""
        if rows.name != self._name:
            return len(rows)
        there = [pair for some in self._sent for pair in list(some.items())]
        return len(rows) - sum(min(each, max(len(rows) - chunk * CHUNK, 0)) for chunk, each in there)

    def _forget(self, worker: int) -> None:
        log.info("Worker %d of %d gets its rows again.", worker, self._crew.count)
        self._sent[worker] = {}
