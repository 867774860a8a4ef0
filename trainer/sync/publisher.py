"""What leaves the trainer for the labeler, and the catalogue that comes back, on threads of their own.

A slow or absent labeler must not hold up training, so the loop only offers: the newest ranked list replaces one that
still waits (an old question is worth nothing), evaluations wait in the replica until confirmed (each is a point of
the curve). Both threads back off while the labeler is away and wake at once when there is something new.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from shared.wire.queries import QueryPush
from trainer.sync.background import Worker
from trainer.sync.labeler_client import LabelerAway, LabelerClient, Refused
from trainer.sync.replica import Replica

logger = logging.getLogger(__name__)


class Publisher:
    """Pushes ranked lists and evaluations. `on_asked` is called with each list that is in force, and must be quick."""

    def __init__(
        self, client: LabelerClient, replica: Replica, on_asked: Callable[[QueryPush], None] = lambda _: None
    ) -> None:
        self._client = client
        self._replica = replica
        self._on_asked = on_asked
        self._lock = threading.Lock()
        self._waiting: QueryPush | None = None
        self.push_ms: float | None = None  # how long the last list took to be in force
        self.worker = Worker("publisher", self._publish)

    def offer(self, push: QueryPush) -> None:
        """The newest list; one that still waits is dropped."""
        with self._lock:
            self._waiting = push
        self.worker.wake()

    def _publish(self) -> None:
        with self._lock:
            push = self._waiting
        if push is not None:
            self._push(push)
            with self._lock:
                if self._waiting is push:
                    self._waiting = None
        for evaluation in self._replica.unpublished():
            try:
                self._client.push_evaluation(evaluation)
            except Refused as error:
                logger.warning("The labeler refused an evaluation: %s", error)
                if evaluation.log_id == self._replica.log_id:
                    continue  # a labeler of another version may take it; of another log, nobody wants it any more
            self._replica.mark_published(evaluation.id)

    def _push(self, push: QueryPush) -> None:
        began = time.perf_counter()
        try:
            self._client.push_queries(push)
        except Refused as error:
            # Another log, or a list that had seen more: what we hold is out of date, and the next round is not.
            logger.info("The labeler refused a list: %s", error)
        else:
            self.push_ms = (time.perf_counter() - began) * 1e3
            self._on_asked(push)


class CatalogFollower:
    """Keeps the replica's catalogue up to date with the labeler's."""

    def __init__(self, client: LabelerClient, replica: Replica, changed: Callable[[], None]) -> None:
        self._client = client
        self._replica = replica
        self._changed = changed
        self.complete = threading.Event()  # read to its end at least once since start
        self.worker = Worker("catalog", self._follow)

    def restart(self) -> None:
        """Read everything again: the replica follows another log now."""
        self.complete.clear()
        self.worker.wake()

    def _follow(self) -> None:
        while True:
            log_id, after = self._replica.log_id, self._replica.catalog_after
            page = self._client.images(after)
            with self._replica.lock:
                if self._replica.log_id != log_id or self._replica.catalog_after != after:
                    continue  # the replica started anew meanwhile
                if page.log_id not in (None, log_id):
                    raise LabelerAway(
                        f"The labeler at {self._client.url} has another project than the labeler that sends labels"
                        f"{f', at {self._replica.labeler}' if self._replica.labeler else ''}: start the trainer again "
                        "with the address of that one as --labeler-url."
                    )
                if page.catalog_version < after:
                    self._replica.forget_catalog()  # another catalogue under the same address
                    continue
                if page.images or page.next != after:
                    self._replica.update_catalog(page.images, page.next)
            self._changed()
            if page.next >= page.catalog_version or not page.images:
                self.complete.set()
                return
