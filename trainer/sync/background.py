"""Background threads of the trainer, which retry with growing pauses while the labeler is offline."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from trainer.sync.labeler_client import LabelerAway

logger = logging.getLogger(__name__)

BACK_OFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)


class Worker:
    """A thread that runs `work` whenever it is woken, and retries with growing pauses while the labeler is offline."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._work = work
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self.last_error: str | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread, which then waits for `wake`."""
        self._thread.start()

    def wake(self) -> None:
        """Run `work` soon."""
        self._wake.set()

    def close(self, timeout: float = 2.0) -> None:
        """Stop after the current work."""
        self._stopped.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            self._wake.wait()
            self._wake.clear()
            if self._stopped.is_set():
                return
            try:
                self._work()
                failures, self.last_error = 0, None
            except LabelerAway as error:
                pause = BACK_OFF_SECONDS[min(failures, len(BACK_OFF_SECONDS) - 1)]
                failures, self.last_error = failures + 1, str(error)
                self._stopped.wait(pause)
                self._wake.set()
            except Exception as error:  # the thread must survive and report an unexpected error
                logger.exception("%s failed", self._thread.name)
                self.last_error = f"{type(error).__name__}: {error}"
                self._stopped.wait(BACK_OFF_SECONDS[-1])
