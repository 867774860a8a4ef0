"""The time that a job has taken, added up over its processes: a killed job continues in another one.

It counts while the process lives, halted or not. It is written to a file in the job's folder now and then, so that a
kill loses about a second.
"""

from __future__ import annotations

import time
from pathlib import Path

from shared.storage.whole_files import write_whole

FILE = "seconds"
KEEP_SECONDS = 1.0


class Stopwatch:
    """Runs from now on; what earlier processes kept in `folder` is added."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._began = self._kept = time.monotonic()
        try:
            self._before = float(self._file.read_text(encoding="ascii"))
        except (OSError, ValueError):  # the first process
            self._before = 0.0

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return self._before + time.monotonic() - self._began

    def keep(self) -> None:
        """Write the time so far, at most about once a second."""
        now = time.monotonic()
        if now - self._kept >= KEEP_SECONDS:
            self._kept = now
            write_whole(self._file, f"{self.seconds:.3f}".encode())
