"""Sends batches of images to workers and collects their vectors. Each worker always has its next batch.

The workers are actors and not Ray Data, for three reasons: the order of the images changes with every label (labeled
ones come first), a batch is short, and a lasting worker keeps the network on its device. Ray Data starts a pipeline for
each data set and runs it to its end.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from shared.wire.images import ImageEntry
from trainer.engine.engine import Embedded
from trainer.engine.shards import Lost

log = logging.getLogger(__name__)

AHEAD = 2
"""Batches for each worker: it reads one while it embeds the other."""
STEP_SECONDS = 0.3
"""Maximum seconds that a step waits for a batch, because a person's new label waits for the step."""
BATCH_SECONDS = 180.0
"""Seconds until a batch counts as lost and its images are sent again. A worker may import torch from a slow disk."""
LOSSES = 3
"""Batches that each worker may lose in a row before it is given up."""


class Crew(Protocol):
    """Workers by number, each an `ImageEmbedder`."""

    count: int

    def call(self, worker: int, method: str, *given: Any) -> Any:
        """Start a call; returns its ticket."""

    def results(self, tickets: Sequence[tuple[int, Any]], seconds: float) -> list[Any]:
        """The answers to calls of workers. Raises Lost."""

    def ready(self, tickets: Sequence[Any], seconds: float) -> list[Any]:
        """Wait for the first answer; returns the tickets that have one."""


class ImageBatches:
    """The images that a crew of workers embeds. Used by one thread."""

    def __init__(self, crew: Crew, dim: int, size: int) -> None:
        """`size` is the number of images in a batch."""
        self._crew = crew
        self._dim = dim
        self._size = size
        self._out: dict[Any, tuple[int, list[ImageEntry], float]] = {}  # by ticket: worker, images, when
        self._unread: dict[int, str] = {}
        self._lost = 0  # batches since the last that came back
        self._begun = False  # whether any came back: a worker that starts needs seconds to import torch
        self.read_some = False

    @property
    def room(self) -> int:
        """Number of images that the workers can hold."""
        return AHEAD * self._size * self._crew.count

    @property
    def trouble(self) -> str | None:
        """Why the workers cannot read any image; None while they can."""
        return next(iter(self._unread.values()), None) if not self.read_some else None

    @property
    def failing(self) -> bool:
        """Whether the workers have lost so many batches in a row that waiting for them is useless."""
        return self._lost >= LOSSES * self._crew.count

    def step(self, entries: Sequence[ImageEntry]) -> Embedded:
        """Send the first of `entries` that no worker has, and return what has come back."""
        asked = {(each.id, each.sha256) for each in entries}
        out = {(entry.id, entry.sha256) for _, some, _ in self._out.values() for entry in some}
        fresh = [each for each in entries if (each.id, each.sha256) not in out and each.id not in self._unread]
        for worker in self._free(AHEAD if self._begun else 1):
            some, fresh = fresh[: self._size], fresh[self._size :]
            if some:
                self._out[self._crew.call(worker, "embed", some)] = (worker, some, time.monotonic())
        found = Embedded(np.empty((0, self._dim), np.float32))
        vectors = [found.vectors]
        patience = STEP_SECONDS if self._begun else 0.0
        for ticket in self._crew.ready(list(self._out), patience) if self._out else []:
            worker, some, _ = self._out.pop(ticket)
            try:
                [(rows, ids, unread)] = self._crew.results([(worker, ticket)], STEP_SECONDS)
            except Lost:
                self._lost += 1
                continue  # they are still pending, and are handed out again
            self._lost, self._begun = 0, True
            by_id = {each.id: each for each in some}
            back = [by_id[each] for each in ids]
            wanted = [(each.id, each.sha256) in asked for each in back]  # an image may have been removed meanwhile
            vectors.append(rows[wanted])
            found.entries += [each for each, still in zip(back, wanted, strict=True) if still]
            self.read_some = self.read_some or bool(ids)
            self._unread.update(unread)
        found.vectors, found.here = np.concatenate(vectors), set(self._unread)
        if not self._begun:
            found.here.update(each.id for each in fresh)
        late = [ticket for ticket, batch in self._out.items() if batch[2] < time.monotonic() - BATCH_SECONDS]
        self._lost += len(late)
        for ticket in late:
            del self._out[ticket]
        return found

    def _free(self, ahead: int) -> list[int]:
        """Workers that have less than `ahead` batches, idle ones first; a worker may be listed twice."""
        has = [0] * self._crew.count
        for worker, _, _ in self._out.values():
            has[worker] += 1
        return [worker for most in range(1, ahead + 1) for worker in range(self._crew.count) if has[worker] < most]
