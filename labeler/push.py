"""Tells open pages that something changed: snapshots over a WebSocket, at most ten per second.

A page gets the current state, never a history, so that a slow one cannot fall behind: instead of a queue there is only
a flag that says "look again". Pages that look at about the same time share one snapshot, so that many pages cost little
more than one. `notify` may be called from any thread, with or without the store's lock.
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
SECONDS_SHARED = SECONDS_BETWEEN / 2  # how long a snapshot may be shared
SECONDS_STALE = 15.0  # after which a page gets a new one though nothing was written: the labels per minute fall
INTERNAL_ERROR = 1011  # RFC 6455


class Events:
    """The open pages of one labeler. Every room may call `notify`; `tell` sets later what pages receive."""

    def __init__(self, stale: float = SECONDS_STALE) -> None:
        self._stale = stale
        self._snapshot: Callable[[], dict[str, Any]] = dict
        self._lock = threading.Lock()
        self._pages: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._changes = 0
        self._looking = threading.Lock()
        self._seen = ("", -1, -math.inf)  # last snapshot as JSON, number of changes in it, time taken

    def tell(self, snapshot: Callable[[], dict[str, Any]]) -> None:
        """Send pages what `snapshot` returns, the current state. Until this is called, they receive an empty object."""
        self._snapshot = snapshot

    def notify(self) -> None:
        """Notify all pages of a change."""
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
            self._changes += 1  # the shared snapshot may be old, and parts of it depend on the time
        # On shutdown, only a pending receive ends; a handler that waits for its own event would block the shutdown.
        pump = asyncio.create_task(self._pump(page, changed))
        try:
            while (await page.receive())["type"] != "websocket.disconnect":
                pass  # messages from pages are ignored
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
            raise  # the page left
        except Exception:  # the page must not believe that it is still connected; it will reconnect
            logger.exception("Could not send changes to an open page")
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
            if changes == self._changes:  # else the snapshot is older than the latest change
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), self._stale)

    def _look(self) -> tuple[str, int]:
        """A snapshot as JSON, at most `SECONDS_SHARED` old, and the number of changes in it."""
        with self._looking:
            snapshot, changes, at = self._seen
            now = time.monotonic()
            if now - at >= (self._stale if changes == self._changes else SECONDS_SHARED):
                changes = self._changes  # read before the snapshot: a change in between causes another look
                snapshot = json.dumps(self._snapshot(), separators=(",", ":"))
                self._seen = (snapshot, changes, now)
            return snapshot, changes
