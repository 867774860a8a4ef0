"""Images in a remote store: fetched on separate threads, so that no request and no page waits for a store.

A request waits a moment. If the image has not arrived by then, the fetch continues, and a later request finds the copy
on disk. If its store cannot deliver an image now, the image rests for a while: the queue skips it. Nothing here
concludes that an image is broken.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from io import BufferedReader
from typing import Any, TypeVar

from labeler.errors import Busy
from labeler.images.catalog import Located
from labeler.images.file_index import Files
from shared.figures import many

THREADS = 16
REST_SECONDS = 10.0
"""Seconds for which the queue skips an image that its store could not deliver."""
T = TypeVar("T")


class FarImages:
    """Fetches the images of one labeler. Calls `changed` when images begin or stop resting."""

    def __init__(self, files: Files, changed: Callable[[], None]) -> None:
        self._files = files
        self._changed = changed
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="far-images")
        self._lock = threading.Lock()
        self._coming: dict[Hashable, Future[Any]] = {}
        self._resting: dict[int, tuple[float, str]] = {}  # image id → until when, and why

    def fetch(self, key: Hashable, image_id: int, work: Callable[[], T]) -> Future[T]:
        """Start `work`, or join the work that already runs under this key. If it raises Busy, the image rests."""
        with self._lock:
            known = self._coming.get(key)
            if known is None:
                known = self._coming[key] = self._threads.submit(self._run, key, image_id, work)
            return known

    def original(self, located: Located, image_id: int) -> bytes | BufferedReader | Future[bytes]:
        """The image's bytes, its open file, or its bytes from a remote store. Raises the errors of `Files.original`."""
        if self._files.is_far(located):
            return self.fetch(image_id, image_id, lambda: self._files.content(located))
        return self._files.original(located)

    def rests(self, image_id: int) -> bool:
        """Whether the image rests, because its store could not deliver it."""
        known = self._resting.get(image_id)
        return known is not None and known[0] > time.monotonic()

    def why(self) -> str | None:
        """How many images rest, and why the latest of them does. None if no image rests."""
        now = time.monotonic()
        resting = [why for until, why in list(self._resting.values()) if until > now]
        if not resting:
            return None
        return f"{many(len(resting), 'image')} cannot be shown now. {resting[-1]}"

    def close(self) -> None:
        """Cancel what has not started, and accept no new work."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self, key: Hashable, image_id: int, work: Callable[[], T]) -> T:
        try:
            done = work()
        except Busy as problem:
            self._rest(image_id, problem.detail)
            raise
        finally:
            with self._lock:
                self._coming.pop(key, None)
        with self._lock:
            back = image_id in self._resting
            if back:  # a store answers again, so the others may be tried too
                self._resting = {}
        if back:
            self._changed()
        return done

    def _rest(self, image_id: int, why: str) -> None:
        now = time.monotonic()
        with self._lock:
            kept = {each: known for each, known in self._resting.items() if known[0] > now}
            self._resting = kept | {image_id: (now + REST_SECONDS, why)}
        self._changed()
