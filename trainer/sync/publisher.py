"""Sends ranked lists and evaluations to the labeler and follows its catalogue, on background threads.

A slow or absent labeler must not block training, so the loop never waits for it. A new ranked list replaces one that
still waits, because old questions are worthless. Evaluations wait in the replica until confirmed, because each is a
point of the curve. Both threads retry with growing pauses while the labeler is away.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from shared.wire.queries import QueryPush, TestRates
from trainer.sync.background import Worker
from trainer.sync.labeler_client import LabelerAway, LabelerClient, Refused
from trainer.sync.replica import Replica

logger = logging.getLogger(__name__)


class Publisher:
    """Pushes ranked lists and evaluations. `on_asked` is called with each accepted list and must be quick."""

    def __init__(
        self, client: LabelerClient, replica: Replica, on_asked: Callable[[QueryPush], None] = lambda _: None
    ) -> None:
        self._client = client
        self._replica = replica
        self._on_asked = on_asked
        self._lock = threading.Lock()
        self._waiting: QueryPush | None = None
        self._rates: TestRates | None = None
        self.push_ms: float | None = None  # how long it took until the last list was accepted
        self.worker = Worker("publisher", self._publish)

    def offer(self, push: QueryPush) -> None:
        """Offer the newest list; one that still waits is dropped."""
        with self._lock:
            self._waiting = push
        self.worker.wake()

    def suggest(self, rates: TestRates) -> None:
        """Suggest how often to ask about each test image; a suggestion that still waits is dropped."""
        with self._lock:
            self._rates = rates
        self.worker.wake()

    def _publish(self) -> None:
        with self._lock:
            push, rates = self._waiting, self._rates
        if push is not None:
            self._push(push)
            with self._lock:
                if self._waiting is push:
                    self._waiting = None
        if rates is not None:
            try:
                self._client.push_test_rates(rates)
            except Refused as error:
                logger.info("The labeler refused rates of test images: %s", error)
            with self._lock:
                if self._rates is rates:
                    self._rates = None
        for evaluation in self._replica.unpublished():
            try:
                self._client.push_evaluation(evaluation)
            except Refused as error:
                logger.warning("The labeler refused an evaluation: %s", error)
                if evaluation.log_id == self._replica.log_id:
                    continue  # keep it: another version of the labeler may accept it
            self._replica.mark_published(evaluation.id)

    def _push(self, push: QueryPush) -> None:
        began = time.perf_counter()
        try:
            self._client.push_queries(push)
        except Refused as error:
            # The labeler has another log, or a list based on more rows. So this list is outdated.
            logger.info("The labeler refused a list: %s", error)
        else:
            self.push_ms = (time.perf_counter() - began) * 1e3
            self._on_asked(push)


class CatalogFollower:
    """Keeps the replica's catalogue in step with the labeler's."""

    def __init__(self, client: LabelerClient, replica: Replica, changed: Callable[[], None]) -> None:
        self._client = client
        self._replica = replica
        self._changed = changed
        self.complete = threading.Event()  # read completely at least once since the start
        self.worker = Worker("catalog", self._follow)

    def restart(self) -> None:
        """Read everything again, because the replica follows another log now."""
        self.complete.clear()
        self.worker.wake()

    def _follow(self) -> None:
        while True:
            log_id, after = self._replica.log_id, self._replica.catalog_after
            page = self._client.images(after)
            with self._replica.lock:
                if self._replica.log_id != log_id or self._replica.catalog_after != after:
                    continue  # the replica was restarted meanwhile
                if page.log_id not in (None, log_id):
                    raise LabelerAway(
                        f"The labeler at {self._client.url} has another project than the labeler that sends labels"
                        f"{f', at {self._replica.labeler}' if self._replica.labeler else ''}: restart the trainer "
                        "with the address of the latter as --labeler-url."
                    )
                if page.catalog_version < after:
                    self._replica.forget_catalog()  # another catalogue at the same address
                    continue
                if page.images or page.next != after:
                    self._replica.update_catalog(page.images, page.next)
            self._changed()
            if page.next >= page.catalog_version or not page.images:
                self.complete.set()
                return
