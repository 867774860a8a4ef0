"""How far files are that are being written for somebody, so that a page can show it: a browser shows no time left."""

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
"""How long one that ended is still told."""


class Running:
    """One file. What is told of it may be changed by any thread."""

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
        """It is made, and is sent now."""
        self.state, self.total, self.writing_since = "writing", total, time.monotonic()

    def end(self, error: str | None = None) -> None:
        """It is done, or failed."""
        self.state, self.error, self.ended = "failed" if error else "done", error, time.monotonic()

    def view(self) -> Download:
        """How far it is now."""
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
    """Those of one labeler."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids = count(1)
        self._running: list[Running] = []

    def begin(self, name: str, unit: Literal["image", "byte"], total: int | None = None) -> Running:
        """Tell of a file from now on."""
        with self._lock:
            running = Running(next(self._ids), name, unit, total)
            self._running = [*self._running[-MOST:], running]
            return running

    def counted(self, items: Iterable[T], running: Running) -> Iterator[T]:
        """The same items, each counted as it is asked for: an image as one, bytes as many as they are."""
        error: str | None = "It was broken off before its end."
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
        """Newest first."""
        now = time.monotonic()
        with self._lock:
            shown = [each for each in self._running if each.ended is None or now - each.ended < SHOWN_SECONDS]
        return [each.view() for each in reversed(shown)]
