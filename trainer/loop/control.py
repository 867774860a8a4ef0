"""The requests of other threads to the loop, and the state from which the loop's thread chooses its next step.

Everything here is read and written under one condition, `changed`. A method that changes something wakes the loop.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from shared.log import IMPORT
from shared.settings.services import TrainerSettings
from shared.wire.log import Row
from shared.wire.review import REVIEW
from shared.wire.trainer import Saved
from trainer.jobs.inbox import Inbox
from trainer.jobs.job_queue import Jobs
from trainer.loop.desired_state import DesiredState
from trainer.loop.stopping import Rule, StoppingRules

ANSWERS = frozenset({"label", "skip", "flag", "settle", "undo"})
CATCH_UP_SECONDS = 1.0  # between rounds while rows are still on their way

Step = Literal["finish", "rest", "learn", "study", "embed", "look again", "wait"]
T = TypeVar("T")


class Control:
    """The desired state and the news of one loop. `jobs` are halted during a pause and during a round."""

    def __init__(self, settings: TrainerSettings, folder: Path, jobs: Sequence[Jobs] = ()) -> None:
        self._settings = settings
        self._path = folder / "intent.json"
        self._jobs = jobs
        self.changed = threading.Condition()
        self.desired = DesiredState.load(self._path)
        self.rules = StoppingRules(settings, self.desired.stopping)
        self.inbox = Inbox(self.wake)
        self.leased: frozenset[int] = frozenset()
        self.closing = False
        self._news = False  # since `next_step` was last asked
        self._batches = 0  # with answers, since the last round
        self._refresh = True  # rank again, even without new answers
        self._last_round = 0.0
        self._busy_at = time.monotonic()  # time when rows last arrived, or a round began or ended

    # ------------------------------------------------------------ asked by other threads

    def wake(self, *, refresh: bool = False) -> None:
        """Wake the loop after a change. `refresh` requests a new list even without new answers."""
        with self.changed:
            self._refresh = self._refresh or refresh
            self._notify()

    def received(self, rows: list[Row], leased: list[int]) -> None:
        """Account for new rows, which are durable in the replica."""
        with self.changed:
            self.leased = frozenset(leased)
            if rows:
                self._busy_at = time.monotonic()
            if any(row.action in ANSWERS for row in rows):
                self._batches += 1
            if any(row.action in ("label", "skip", "flag") and row.source not in (IMPORT, REVIEW) for row in rows):
                self.rules.answered()
            if any(row.action not in ANSWERS for row in rows):
                self._refresh = True
            self._notify()

    def wish(self, wish: Literal["run", "pause", "stop"], reason: str | None = None, rule: Rule | None = None) -> None:
        """Run, pause or stop. `rule` is the stopping rule that asked, if one did.

        Raises OSError when the disk refuses, and then nothing has changed.
        """
        with self.changed:
            with self._kept():
                if wish == "run" and self.desired.wish == "stop":
                    self.rules.resumed()
                if wish != self.desired.wish and not (wish == "pause" and self.desired.wish == "stop"):
                    self.desired.wish, self.desired.reason, self.desired.finished = wish, reason, False
                    self.rules.stopped(rule)
                    if wish == "run":
                        self.desired.saved = None
                    self._save()
            self.rest_jobs()
            self._refresh = self._refresh or wish == "run"
            self._notify()

    def apply_settings(self, changes: dict[str, object]) -> None:
        """Apply validated settings while running."""
        with self.changed:
            for name, value in changes.items():
                setattr(self._settings, name, value)
            self.rules.changed(changes)
            self._refresh = True
            self._notify()

    def close(self) -> None:
        """End the loop after its current step."""
        with self.changed:
            self.closing = True
            self._notify()

    # ------------------------------------------------------------ asked by the loop's thread

    @property
    def running(self) -> bool:
        """Neither paused nor stopped."""
        return self.desired.wish == "run"

    @property
    def quiet_seconds(self) -> float:
        """Seconds since rows last arrived, or a round began or ended."""
        return time.monotonic() - self._busy_at  # a number is read whole without the lock

    @property
    def paused(self) -> bool:
        """Nothing is learned or embedded."""
        return self.desired.wish == "pause"

    def next_step(self, *, relaid: bool, embedded: bool, pending: bool, catching_up: bool, slow: bool = False) -> Step:
        """Choose the loop's next step.

        `relaid`: the embedding space is another one than at the last round. `embedded`: a train image has its vector.
        `pending`: images wait for theirs. `catching_up`: more rows are on their way. `slow`: whether there is slow work
        on a detector, and its turn has come. Whoever gets "wait" may look again at images instead.
        """
        with self.changed:
            self._news = False
            if self.desired.wish == "stop" and not self.desired.finished:
                return "finish"
            if self.paused:
                return "rest"
            soon = catching_up and time.monotonic() - self._last_round < CATCH_UP_SECONDS
            due = relaid or self._due
            if self.running and embedded and due and not soon:
                return "learn"
            if self.running and slow and not due:
                return "study"
            if pending:  # even after a stop, so that pages can show and search images
                return "embed"
            return "wait" if self.running else "rest"

    def interrupts(self) -> bool:
        """Whether slow work should end now, because something quicker is due."""
        return self.closing or not self.running or self._due or self.inbox.due(self.running) is not None

    @property
    def _due(self) -> bool:
        """Whether there is a reason for a new list."""
        return self._refresh or self._batches >= self._settings.eval_and_query_every

    def begin_round(self) -> None:
        """Start a round, which covers the news so far."""
        with self.changed:
            self._batches, self._refresh = 0, False
            self._last_round = self._busy_at = time.monotonic()

    def end_round(self) -> None:
        """Count the round and save the state. Raises OSError."""
        with self.changed:
            self.desired.round += 1
            self._busy_at = time.monotonic()
            self._save()

    def failed(self) -> None:
        """Note that a step failed: its labels are learned again, but not at once."""
        with self.changed:
            self._refresh, self._news = True, False

    def finish(self, saved: Saved | None) -> None:
        """Complete the stop, unless somebody has resumed meanwhile. Raises OSError."""
        with self.changed:
            self.desired.saved = saved or self.desired.saved
            if self.desired.wish == "stop":
                self.desired.finished = True
                self._save()

    def start_over(self) -> None:
        """Reset the stopping rules for another log."""
        with self.changed:
            self.desired.stopping.clear()
            self.rules = StoppingRules(self._settings, self.desired.stopping)

    def ask_rules(self, question: Callable[[StoppingRules], T]) -> T:
        """Ask the stopping rules under the lock."""
        with self.changed:
            return question(self.rules)

    def sleep(self, seconds: float) -> None:
        """Wait for news, which may have come before."""

        def news() -> bool:
            return self._news or self.closing or self.inbox.due(self.running) is not None

        with self.changed:
            self.changed.wait_for(news, seconds)

    @contextmanager
    def jobs_held(self) -> Iterator[None]:
        """Halt jobs within the block: a person waits for this round; nobody waits for a job."""
        with ExitStack() as held:
            for jobs in self._jobs:
                held.enter_context(jobs.held())
            yield

    def rest_jobs(self) -> None:
        """Halt jobs during a pause."""
        for jobs in self._jobs:
            jobs.rest(self.paused)

    def _notify(self) -> None:
        self._news = True
        self.changed.notify_all()

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Within the block the desired state changes. If it cannot be saved, it is restored."""
        before = self.desired.model_copy(deep=True)
        try:
            yield
        except OSError:
            stopping: dict[str, Any] = self.desired.stopping  # shared with the rules
            self.desired = before.model_copy(update={"stopping": stopping})
            stopping.clear()
            stopping.update(before.stopping)
            raise

    def _save(self) -> None:
        self.desired.save(self._path)
