"""Tracks the progress of downloads, so that a page can show it: browsers cannot, because the size is unknown."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Literal, TypeVar

from shared.wire.dataset import Download, DownloadState

T = TypeVar("T")
MOST = 20
SHOWN_SECONDS = 60.0
"""Seconds for which a finished download is still listed."""


class Running:
    """One file. Any thread may change its progress."""

    def __init__(self, download_id: int, name: str, unit: Literal["image", "byte"], total: int | None) -> None:
        self.name, self.unit, self.total = name, unit, total
        self.id = download_id
        self.state: DownloadState = "writing"
        self.done = 0
        self.error: str | None = None
        self.began = time.monotonic()
        self.writing_since = self.began
        self.ended: float | None = None

    def send(self, total: int | None) -> None:
        """Note that the file is ready and is now being sent."""
        self.state, self.total, self.writing_since = "writing", total, time.monotonic()

    def end(self, error: str | None = None) -> None:
        """Mark the download as done, or as failed with `error`."""
        self.state, self.error, self.ended = "failed" if error else "done", error, time.monotonic()

    def view(self) -> Download:
        """The current progress."""
        now = self.ended or time.monotonic()
        left = None
        if self.ended is None and self.total and self.done:
            left = (now - self.writing_since) / self.done * max(0, self.total - self.done)
        return Download(
            id=self.id,
            name=self.name,
            state=self.state,
            unit=self.unit,
            done=self.done,
            total=self.total,
            seconds=now - self.began,
            seconds_left=left,
            error=self.error,
        )


class Downloads:
    """The downloads of one labeler."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids = count(1)
        self._running: list[Running] = []

    def begin(self, name: str, unit: Literal["image", "byte"], total: int | None = None) -> Running:
        """Start to track a download."""
        with self._lock:
            running = Running(next(self._ids), name, unit, total)
            self._running = [*self._running[-MOST:], running]
            return running

    def counted(self, items: Iterable[T], running: Running) -> Iterator[T]:
        """Yield the items and count them as they are consumed: an image counts one, bytes count by length."""
        error: str | None = "It was interrupted."
        try:
            for item in items:
                yield item
                running.done += len(item) if isinstance(item, bytes) else 1
            error = None
        except Exception as problem:
            error = str(problem)
            raise
        finally:
            running.end(error)

    def list(self) -> list[Download]:
        """All downloads, newest first."""
        now = time.monotonic()
        with self._lock:
            shown = [each for each in self._running if each.ended is None or now - each.ended < SHOWN_SECONDS]
        return [each.view() for each in reversed(shown)]
