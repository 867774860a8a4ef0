"""Embedding progress in the terminal in which the trainer was started: a bar with the time left.

The bar is drawn only in an interactive terminal. A log file gets one line at the beginning and one at the end.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from shared.figures import duration
from shared.wire.trainer import EmbeddingProgress

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
MEGABYTE = 10**6


class ProgressBar:
    """Shows `progress` from its own thread, from `start` to `close`."""

    def __init__(self, progress: Callable[[], EmbeddingProgress], console: Console | None = None) -> None:
        self._progress = progress
        self._console = console or Console(file=sys.stderr)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="terminal", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread."""
        self._ended.set()
        self._thread.join(2 * LOOK_SECONDS)

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            if self._progress().unfinished:
                self._show()

    def _show(self) -> None:
        """Show one bar, from the first image without a vector to the last."""
        logger.info("Embedding %d images.", self._progress().total)
        description = TextColumn("{task.description}")
        columns = (description, BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[left]}"))
        with Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal) as bar:
            task = bar.add_task("Embedding", total=None, left="")
            while not self._ended.wait(LOOK_SECONDS):
                now = self._progress()
                if now.download is not None:
                    done, total = (size // MEGABYTE for size in (now.download.done_bytes, now.download.total_bytes))
                    doing = f"Downloading {now.download.name}, MB"
                    bar.update(task, description=doing, completed=done, total=total or None, left="")
                    continue
                left = f"about {duration(now.seconds_left)} left" if now.seconds_left is not None else ""
                bar.update(task, description="Embedding", completed=now.done, total=now.total, left=left)
                if not now.unfinished:
                    logger.info("Embedded %d images; %d could not be read.", now.done, now.problems)
                    return
