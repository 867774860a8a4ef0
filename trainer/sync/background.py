"""Background threads of the trainer, which retry with growing pauses after an error."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from trainer.sync.labeler_client import LabelerAway

logger = logging.getLogger(__name__)

BACK_OFF_SECONDS: tuple[float, ...] = (0.2, 0.5, 1.0, 2.0, 5.0)
FAILED_SECONDS: tuple[float, ...] = (5.0, 15.0, 60.0)
"""Pauses after an error that nobody expected, such as a full disk. News end a pause after the first of these."""


class Worker:
    """A thread that runs `work` whenever it is woken, and retries with growing pauses after an error."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._work = work
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._hurry = threading.Event()  # ends a pause
        self.last_error: str | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread, which then waits for `wake`."""
        self._thread.start()

    def wake(self) -> None:
        """Run `work` soon."""
        self._wake.set()

    def retry(self) -> None:
        """Run `work` now, because the reason for an error is gone: what is left of a pause is skipped."""
        self._wake.set()
        self._hurry.set()

    def close(self, timeout: float = 2.0) -> None:
        """Stop after the current work."""
        self._stopped.set()
        self.retry()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        failures = aways = 0
        while not self._stopped.is_set():
            self._wake.wait()
            self._wake.clear()
            self._hurry.clear()
            if self._stopped.is_set():
                return
            try:
                self._work()
                failures, aways, self.last_error = 0, 0, None
                continue
            except LabelerAway as error:
                self.last_error = str(error)
                self._hurry.wait(BACK_OFF_SECONDS[min(aways, len(BACK_OFF_SECONDS) - 1)])
                failures, aways = 0, aways + 1
            except Exception as error:  # the thread must survive and report an unexpected error
                logger.exception("%s failed", self._thread.name)
                self.last_error = f"{type(error).__name__}: {error}"
                first, pause = FAILED_SECONDS[0], FAILED_SECONDS[min(failures, len(FAILED_SECONDS) - 1)]
                if not self._hurry.wait(first):
                    self._wake.wait(pause - first)
                failures, aways = failures + 1, 0
            self._wake.set()
