"""The inbox: requests from other threads that the loop's thread handles between two rounds, while nothing changes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from trainer.jobs.job_queue import NotNow

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """A waiting request. `only_running`: wait until a pause or a stop is over."""

    action: Callable[[], Any]
    only_running: bool
    done: Future[Any] = field(default_factory=Future)


class Inbox:
    """Other threads call `ask`, the loop's thread calls `run`; `news` wakes it."""

    def __init__(self, news: Callable[[], None]) -> None:
        self._news = news
        self._lock = threading.Lock()
        self._waiting: list[Request] = []
        self._closed = False

    def ask(self, action: Callable[[], T], *, only_running: bool = False) -> T:
        """Run `action` on the loop's thread and return or raise its result. Raises NotNow if the loop ends first."""
        request = Request(action, only_running)
        with self._lock:
            if self._closed:
                raise NotNow
            self._waiting.append(request)
        self._news()
        try:
            done: T = request.done.result()
        except CancelledError:
            raise NotNow from None
        return done

    def due(self, running: bool) -> Request | None:
        """The first request that can run now."""
        with self._lock:
            return next((each for each in self._waiting if running or not each.only_running), None)

    def run(self, running: Callable[[], bool]) -> None:
        """Run all requests that can run now. Errors are raised in the callers."""
        while (request := self.due(running())) is not None:
            with self._lock:
                self._waiting.remove(request)
            try:
                request.done.set_result(request.action())
            except Exception as error:
                request.done.set_exception(error)

    def close(self) -> None:
        """Cancel all waiting requests; called after the loop's last step."""
        with self._lock:
            self._closed = True
            for request in self._waiting:
                request.done.cancel()
            self._waiting.clear()
