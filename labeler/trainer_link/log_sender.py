"""The outbox: one thread that keeps the trainer's copy of the log up to date and knows how the trainer is.

There is nothing to reconcile but one number, how far the trainer has the log; it is never stored, the trainer says
it. A full buffer goes at once, a part-filled one after `buffer_seconds`. What fails is tried again with growing
pauses (up to five seconds), and nobody who labels ever waits for it. The trainer's status is looked at about once a
second, so that one that lost its copy, or that follows another workspace, is noticed while nobody clicks.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Literal

from labeler.store.annotation_log import AnnotationLog
from labeler.trainer_link.client import NoRoom, Rewind, Taken, TrainerClient, TrainerProblem
from shared.settings.services import LabelerSettings
from shared.web.parts import parts, text_length
from shared.wire.fields import MAX_ROWS
from shared.wire.log import AnnotationBatch, Row
from shared.wire.project import OutboxView, TrainerView
from shared.wire.trainer import TrainerStatus

ROW_BYTES = 600  # of a row beside its texts
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0

logger = logging.getLogger(__name__)


class Outbox:
    """Sends the log to the trainer. `catalog_version` and `leased` say what goes along with each message."""

    def __init__(
        self,
        log: AnnotationLog,
        client: TrainerClient,
        settings: LabelerSettings,
        *,
        catalog_version: Callable[[], int],
        leased: Callable[[], list[int]],
        changed: Callable[[], None],
    ) -> None:
        self._log = log
        self._client = client
        self._settings = settings
        self._catalog_version = catalog_version
        self._leased = leased
        self._changed = changed
        self._wake = threading.Event()
        self._closing = False
        self._progress = threading.Condition()
        self._thread: threading.Thread | None = None
        self._sent_seq = 0
        self._sent_catalog = -1
        self._sent_at = -1e9  # of the last message
        self._waiting_since: float | None = None  # the oldest row not sent yet was written
        self._force = False  # send, even if there is no row: the trainer is to see where the log ends
        self._wanted_seq = 0  # send up to there without waiting for more
        self._failures = 0
        self._not_before = 0.0
        self._next_poll = 0.0
        self._error: str | None = None
        self._status: TrainerStatus | None = None
        self._taken = False  # the trainer refused the log because it follows another labeler

    def start(self) -> None:
        """Begin to send."""
        self._log.listen(self._written)
        if self._log.last_seq:
            self._waiting_since = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop after the request under way."""
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=2)

    def flush(self, timeout: float) -> bool:
        """Send everything now; whether the trainer has it all within `timeout` seconds."""
        goal = self._wanted_seq = self._log.last_seq
        self._not_before = self._next_poll = 0.0
        self._wake.set()
        with self._progress:
            return self._progress.wait_for(lambda: self._sent_seq >= goal, timeout)

    def look(self) -> None:
        """Look at the trainer's status now rather than at the next turn."""
        self._next_poll = 0.0
        self._wake.set()

    @property
    def status(self) -> TrainerStatus | None:
        """The trainer's status as last seen; None while it does not answer."""
        return self._status

    @property
    def away(self) -> Literal["absent", "taken"]:
        """Why there is no status."""
        return "taken" if self._taken else "absent"

    def view(self) -> OutboxView:
        """What waits for the trainer."""
        since = self._waiting_since
        pending = max(0, self._log.last_seq - self._sent_seq)
        return OutboxView(
            pending=pending,
            oldest_seconds=time.monotonic() - since if since is not None and pending else None,
            sent_seq=self._sent_seq,
            failures=self._failures,
            last_error=self._error,
        )

    def trainer_view(self) -> TrainerView:
        """The trainer as it is seen from here."""
        status = self._status
        return TrainerView(
            state=status.state if status else self.away,
            acked_seq=self._sent_seq,
            lag=max(0, self._log.last_seq - self._sent_seq),
            last_error=self._error or (status.last_error if status else None),
            disk=status.disk if status else None,
            url=self._client.url,
            stop_reason=status.stop_reason if status else None,
            detail=status.model_dump(mode="json") if status else {},
        )

    def _written(self, _rows: Sequence[Row], _changed: set[int]) -> None:
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()
        self._wake.set()

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(max(0.0, self._next_turn() - time.monotonic()))
            self._wake.clear()
            if self._closing:
                return
            try:
                if time.monotonic() >= self._next_poll:
                    self._poll()
                if time.monotonic() >= max(self._due_at(), self._not_before):
                    self._send()
            except NoRoom:  # its status says why, and its log; it is there, and does what needs no disk
                self._not_before = time.monotonic() + LONGEST_PAUSE
            except TrainerProblem as problem:
                self._taken = isinstance(problem, Taken)
                self._failed(str(problem))
            except Exception as error:  # the thread must outlive whatever happens in one turn
                logger.exception("Sending to the trainer failed.")
                self._failed(f"Sending to the trainer failed: {error}.")

    def _next_turn(self) -> float:
        return min(self._next_poll, max(self._due_at(), self._not_before))

    def _due_at(self) -> float:
        """When the next message is due, in seconds of the clock."""
        now = time.monotonic()
        if self._status is None:  # nobody is there to take it: the next look comes first
            return float("inf")
        pending = self._log.last_seq - self._sent_seq
        full = pending >= self._settings.buffer_size or (pending > 0 and self._status.state == "stopping")
        if self._force or full or self._sent_seq < self._wanted_seq:
            return float("-inf")  # at once: a time read now would lie after the one that it is compared with
        due = float("inf")
        if pending > 0:
            self._waiting_since = self._waiting_since or now
            due = self._waiting_since + self._settings.buffer_seconds
        if self._catalog_version() != self._sent_catalog:
            due = min(due, self._sent_at + self._settings.trainer_poll_seconds)
        return due

    def _poll(self) -> None:
        self._next_poll = time.monotonic() + self._settings.trainer_poll_seconds
        status = self._client.status()
        if self._failures:
            logger.info("The trainer answers again.")
        if status.log_id != self._log.log_id:
            self._rewind(0)
            if self._taken:  # as long as it follows another labeler, nothing that it says is about our images
                self._send()
        elif status.acked_seq > self._log.last_seq:  # an older database was restored: let the trainer see its end
            self._rewind(self._log.last_seq)
        elif status.acked_seq != self._sent_seq:
            self._rewind(status.acked_seq)
        before, self._status = self._status, status
        self._failures, self._error = 0, None
        if before != status:
            self._changed()

    def _rewind(self, acked_seq: int) -> None:
        forward = acked_seq > self._sent_seq
        self._acknowledged(acked_seq)
        self._force = not forward

    def _send(self) -> None:
        after = self._sent_seq
        page = self._log.page(after, MAX_ROWS)
        rows = next(parts(page.annotations, _length, most=MAX_ROWS), [])
        catalog_version = self._catalog_version()
        batch = AnnotationBatch(
            log_id=self._log.log_id,
            after_seq=after,
            last_seq=page.last_seq,
            annotations=rows,
            catalog_version=catalog_version,
            leased=self._leased(),
        )
        try:
            acked_seq = self._client.send(batch)
        except Rewind as rewind:
            logger.info("%s", rewind)
            if rewind.acked_seq == after:
                raise TrainerProblem("The trainer refuses the log where it says that it is.") from None
            self._acknowledged(min(rewind.acked_seq, self._log.last_seq))
            self._force = True
            return
        self._sent_at = time.monotonic()
        self._sent_catalog = catalog_version
        self._acknowledged(min(acked_seq, self._log.last_seq))
        self._taken = False
        self._force = self._sent_seq < self._log.last_seq and (
            len(page.annotations) == MAX_ROWS or len(rows) < len(page.annotations)
        )
        self._failures, self._error = 0, None
        self._changed()

    def _acknowledged(self, seq: int) -> None:
        with self._progress:
            self._sent_seq = seq
            self._waiting_since = time.monotonic() if seq < self._log.last_seq else None
            self._progress.notify_all()

    def _failed(self, message: str) -> None:
        self._failures += 1
        if self._error != message:
            logger.warning("%s", message)
        self._error = message
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures, 10)) * random.uniform(0.5, 1.0)
        self._not_before = time.monotonic() + pause
        self._next_poll = max(self._next_poll, self._not_before)
        self._status = None
        self._changed()


def _length(row: Row) -> int:
    """Bytes that a row takes in a message, about."""
    return ROW_BYTES + text_length(row.name, row.annotator, row.reason, row.note, row.source)
