"""The log sender: one thread that keeps the trainer's copy of the log up to date and knows the trainer's status.

Both sides only need to agree on how much of the log the trainer has. The trainer reports it, so it is never stored
here. A full buffer is sent at once, and a partly filled one after `buffer_seconds`. While the trainer wants each label
or stops, every row is sent at once. Failed requests are retried with growing pauses (up to five seconds), and
annotators never wait for them. The thread reads the trainer's status about once a second. So it notices a trainer that
lost its copy or follows another workspace, even while nobody labels.

One lock guards every field that changes. It is taken after the store's lock, and never held during a request.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Literal

from labeler.store.annotation_log import AnnotationLog
from labeler.trainer_link.client import Away, NoRoom, Rewind, Taken, TrainerClient, TrainerProblem
from shared.settings.services import LabelerSettings
from shared.wire.fields import MAX_ROWS
from shared.wire.log import AnnotationBatch, Row, TestChance
from shared.wire.project import OutboxView, TrainerView
from shared.wire.trainer import TrainerStatus

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
START_SECONDS = 20.0
"""Seconds that a trainer started together with the labeler may take, before a warning that it is missing."""

logger = logging.getLogger(__name__)


class LogSender:
    """Sends the log to the trainer. `catalog_version`, `leased`, `at_random` and `chances` supply values for
    each message."""

    def __init__(
        self,
        log: AnnotationLog,
        client: TrainerClient,
        settings: LabelerSettings,
        *,
        catalog_version: Callable[[], int],
        leased: Callable[[], list[int]],
        at_random: Callable[[], bool],
        chances: Callable[[], list[TestChance]],
        changed: Callable[[], None],
    ) -> None:
        self._log = log
        self._client = client
        self._settings = settings
        self._catalog_version = catalog_version
        self._leased = leased
        self._at_random = at_random
        self._chances = chances
        self._tell = changed
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()  # guards the fields below; notified at every change
        self._closing = False
        self._news = False  # something changed since the thread's last turn
        self._sent_seq = 0
        self._sent_catalog = -1
        self._sent_at = -1e9  # time of the last message
        self._waiting_since: float | None = None  # when the oldest unsent row was written
        self._force = False  # send even without rows, because the trainer must learn where the log ends
        self._wanted_seq = 0  # send rows up to here without waiting for more
        self._asked = 0  # number of requests for an immediate turn
        self._failures = 0
        self._chance = random.Random()  # not Python's shared one, whose sequence belongs to whoever seeds it
        self._not_before = 0.0
        self._next_poll = 0.0
        self._error: str | None = None
        self._warned: str | None = None  # the last warning about the trainer; None if there is none
        self._patient_until = 0.0  # until then, a trainer that does not answer may still be starting
        self._status: TrainerStatus | None = None
        self._taken = False  # the trainer refused the log because it follows another labeler

    def start(self) -> None:
        """Start sending."""
        self._log.listen(self._written)
        with self._changed:
            if self._log.last_seq:
                self._waiting_since = time.monotonic()
            self._patient_until = time.monotonic() + START_SECONDS
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop after the current request."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout=2)

    def flush(self, timeout: float) -> bool:
        """Send everything now; returns whether the trainer had received all of it within `timeout` seconds."""
        with self._changed:
            goal = self._wanted_seq = self._log.last_seq
            self._not_before = 0.0
            self._ask()
            return self._changed.wait_for(lambda: self._sent_seq >= goal, timeout)

    def look(self) -> None:
        """Read the trainer's status now instead of at the next turn."""
        with self._changed:
            self._ask()

    @property
    def status(self) -> TrainerStatus | None:
        """The trainer's latest status; None while it does not answer."""
        with self._changed:
            return self._status

    @property
    def away(self) -> Literal["absent", "taken"]:
        """Why there is no status."""
        with self._changed:
            return "taken" if self._taken else "absent"

    def view(self) -> OutboxView:
        """The rows waiting for the trainer."""
        with self._changed:
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
        """The trainer as the labeler sees it."""
        with self._changed:
            status, error, sent_seq, away = self._status, self._error, self._sent_seq, self.away
        return TrainerView(
            state=status.state if status else away,
            acked_seq=sent_seq,
            lag=max(0, self._log.last_seq - sent_seq),
            last_error=error or (status.last_error if status else None),
            disk=status.disk if status else None,
            url=self._client.url,
            stop_reason=status.stop_reason if status else None,
            detail=status.model_dump(mode="json") if status else {},
        )

    def _ask(self) -> None:
        """Let the thread take a turn now, even if its current turn fails."""
        self._asked += 1
        self._next_poll = 0.0
        self._notify()

    def _notify(self) -> None:
        self._news = True
        self._changed.notify_all()

    def _written(self, _rows: Sequence[Row], _images: set[int]) -> None:
        with self._changed:
            if self._waiting_since is None:
                self._waiting_since = time.monotonic()
            self._notify()

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        while True:
            with self._changed:
                pause = max(0.0, self._next_turn() - time.monotonic())
                self._changed.wait_for(lambda: self._news or self._closing, pause)
                self._news = False
                if self._closing:
                    return
                asked = self._asked
            try:
                self._turn()
            except NoRoom:  # the trainer's status and log say why; it still does what needs no disk
                with self._changed:
                    if asked == self._asked:
                        self._not_before = time.monotonic() + LONGEST_PAUSE
            except TrainerProblem as problem:
                self._failed(str(problem), asked, taken=isinstance(problem, Taken), away=isinstance(problem, Away))
            except Exception as error:  # the thread must survive any error in one turn
                logger.exception("Sending to the trainer failed.")
                self._failed(f"Sending to the trainer failed: {error}.", asked)

    def _turn(self) -> None:
        with self._changed:
            poll = time.monotonic() >= self._next_poll
            if poll:
                self._next_poll = time.monotonic() + self._settings.trainer_poll_seconds
        if poll:
            self._poll()
        with self._changed:
            due = time.monotonic() >= max(self._due_at(), self._not_before)
        if due:
            self._send()

    def _next_turn(self) -> float:
        return min(self._next_poll, max(self._due_at(), self._not_before))

    def _due_at(self) -> float:
        """When the next message is due, on the monotonic clock."""
        now = time.monotonic()
        if self._status is None:  # the trainer was offline: read its status first
            return float("inf")
        pending = self._log.last_seq - self._sent_seq
        enough = 1 if self._status.wants_each or self._status.state == "stopping" else self._settings.buffer_size
        if self._force or pending >= enough or self._sent_seq < self._wanted_seq:
            return float("-inf")  # at once; `now` would be later than the time it is compared with
        due = float("inf")
        if pending > 0:
            self._waiting_since = self._waiting_since or now
            due = self._waiting_since + self._settings.buffer_seconds
        if self._catalog_version() != self._sent_catalog:
            due = min(due, self._sent_at + self._settings.trainer_poll_seconds)
        return due

    def _poll(self) -> None:
        status = self._client.status()
        with self._changed:
            if status.log_id != self._log.log_id:
                self._rewind(0)
                taken = self._taken
            else:
                taken = False
                if status.acked_seq > self._log.last_seq:  # an older database was restored: send where it ends
                    self._rewind(self._log.last_seq)
                elif status.acked_seq != self._sent_seq:
                    self._rewind(status.acked_seq)
        if taken:  # while it follows another labeler, its status is not about our images
            self._send()
        with self._changed:
            recovered, before, self._status = self._warned is not None, self._status, status
            self._failures, self._error, self._warned, self._patient_until = 0, None, None, 0.0
        if recovered:
            logger.info("The trainer answers again.")
        if before != status:
            self._tell()

    def _rewind(self, acked_seq: int) -> None:
        forward = acked_seq > self._sent_seq
        self._acknowledged(acked_seq)
        self._force = not forward

    def _send(self) -> None:
        with self._changed:
            after = self._sent_seq
        page = self._log.page(after, MAX_ROWS)
        rows = page.annotations
        catalog_version = self._catalog_version()
        batch = AnnotationBatch(
            log_id=self._log.log_id,
            after_seq=after,
            last_seq=page.last_seq,
            after_id=self._log.id_at(after),
            annotations=rows,
            task=page.task,
            catalog_version=catalog_version,
            leased=self._leased(),
            test_at_random=self._at_random(),
            test_order=self._settings.test_order,
            test_chances=self._chances(),
        )
        try:
            acked_seq = self._client.send(batch)
        except Rewind as rewind:
            logger.info("%s", rewind)
            if rewind.acked_seq == after:
                raise TrainerProblem("The trainer refuses the rows that it asked for.") from None
            with self._changed:
                self._acknowledged(min(rewind.acked_seq, self._log.last_seq))
                self._force = True
            return
        with self._changed:
            self._sent_at = time.monotonic()
            self._sent_catalog = catalog_version
            self._acknowledged(min(acked_seq, self._log.last_seq))
            self._taken = False
            cut = bool(rows) and rows[-1].seq < page.last_seq  # the message holds only a part of the rows
            self._force = cut and self._sent_seq < self._log.last_seq
            self._failures, self._error = 0, None
        self._tell()

    def _acknowledged(self, seq: int) -> None:
        self._sent_seq = seq
        self._waiting_since = time.monotonic() if seq < self._log.last_seq else None
        self._changed.notify_all()

    def _failed(self, message: str, asked: int, *, taken: bool | None = None, away: bool = False) -> None:
        """Retry after a pause, or at once if somebody asked for a turn since this one began, when the count was
        `asked`."""
        with self._changed:
            self._failures += 1
            self._error = message
            starting = away and time.monotonic() < self._patient_until
            warn = message != self._warned and not starting
            self._warned = message if warn else self._warned
            self._taken = self._taken if taken is None else taken
            self._status = None
            if asked == self._asked:
                pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures, 10)) * self._chance.uniform(0.5, 1.0)
                self._not_before = time.monotonic() + pause
                self._next_poll = max(self._next_poll, self._not_before)
        if warn:
            logger.warning("%s", message)
        self._tell()
