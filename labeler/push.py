"""Telling open pages that something changed: snapshots over a WebSocket, at most ten a second.

A page is told the state of now, never a history, so that a slow one cannot fall behind: there is no queue to fill,
only a flag that says "look again". Pages that look at about the same time share one snapshot, so that many of them cost
little more than one. `notify` may be called from any thread, with or without the store's lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect

logger = logging.getLogger(__name__)

SECONDS_BETWEEN = 0.1
SECONDS_SHARED = SECONDS_BETWEEN / 2  # how long others may be told what one was told
INTERNAL_ERROR = 1011  # RFC 6455


class Events:
    """The open pages of one labeler. `snapshot` says the state of now."""

    def __init__(self, snapshot: Callable[[], dict[str, Any]]) -> None:
        self._snapshot = snapshot
        self._lock = threading.Lock()
        self._pages: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._changes = 0
        self._looking = threading.Lock()
        self._seen = ("", -1, -math.inf)  # the last snapshot as JSON, the changes in it, when it was taken

    def notify(self) -> None:
        """Something changed."""
        with self._lock:
            self._changes += 1
            pages = list(self._pages.items())
        for changed, loop in pages:
            with contextlib.suppress(RuntimeError):  # its loop is closing
                loop.call_soon_threadsafe(changed.set)

    async def serve(self, page: WebSocket) -> None:
        """Send the page snapshots until it leaves."""
        await page.accept()
        changed = asyncio.Event()
        with self._lock:
            self._pages[changed] = asyncio.get_running_loop()
            self._changes += 1  # what others were told may be of long ago, and some of it goes by the clock
        # Only waiting to receive ends when the server shuts down; a handler that awaits its own event would hang it.
        pump = asyncio.create_task(self._pump(page, changed))
        try:
            while (await page.receive())["type"] != "websocket.disconnect":
                pass  # what a page says, text or bytes, is not listened to
        finally:
            with self._lock:
                del self._pages[changed]
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                await pump

    async def _pump(self, page: WebSocket, changed: asyncio.Event) -> None:
        try:
            await self._tell(page, changed)
        except (WebSocketDisconnect, RuntimeError):
            raise  # it left
        except Exception:  # told nothing more, it must not think that it is connected: it will come again
            logger.exception("An open page could not be told what changed")
            await page.close(INTERNAL_ERROR)

    async def _tell(self, page: WebSocket, changed: asyncio.Event) -> None:
        last = ""
        while True:
            changed.clear()
            snapshot, changes = await run_in_threadpool(self._look)
            if snapshot != last:
                await page.send_text(snapshot)
                last = snapshot
            await asyncio.sleep(SECONDS_BETWEEN)
            if changes == self._changes:  # else what it was told is of before its flag was set
                await changed.wait()

    def _look(self) -> tuple[str, int]:
        """A snapshot as JSON and how many changes are in it, at most `SECONDS_SHARED` old."""
        with self._looking:
            snapshot, changes, at = self._seen
            now = time.monotonic()
            if changes != self._changes and now - at >= SECONDS_SHARED:
                changes = self._changes  # read before the snapshot: one in between is looked at again
                snapshot = json.dumps(self._snapshot(), separators=(",", ":"))
                self._seen = (snapshot, changes, now)
            return snapshot, changes
