"""The time that a job has taken, added up over its processes: a killed job continues in another one.

It counts while the process lives, halted or not. A thread of its own writes it to a file in the job's folder, so that a
kill loses about a second, whatever the job does at that moment: a step, validation, or the test images.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from shared.storage.whole_files import write_whole

logger = logging.getLogger(__name__)

FILE = "seconds"
KEEP_SECONDS = 1.0


class Stopwatch:
    """Runs from now on; what earlier processes kept in `folder` is added."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._began = time.monotonic()
        try:
            self._before = float(self._file.read_text(encoding="ascii"))
        except (OSError, ValueError):  # the first process
            self._before = 0.0
        self._stopped = threading.Event()
        threading.Thread(target=self._run, name="stopwatch", daemon=True).start()

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return self._before + time.monotonic() - self._began

    def stop(self) -> float:
        """Write no more; returns the seconds so far."""
        self._stopped.set()
        return self.seconds

    def _run(self) -> None:
        while not self._stopped.wait(KEEP_SECONDS) and self._file.parent.is_dir():
            try:
                write_whole(self._file, f"{self.seconds:.3f}".encode())
            except OSError as error:  # the job itself notices a full disk
                logger.debug("The time of the job cannot be kept: %s", error)
