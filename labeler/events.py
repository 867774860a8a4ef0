"""Telling open pages that something changed: snapshots over a WebSocket, at most ten a second.

A page is told the state of now, never a history, so that a slow one cannot fall behind: there is no queue to fill,
only a flag that says "look again". `notify` may be called from any thread, with or without the store's lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect

logger = logging.getLogger(__name__)

SECONDS_BETWEEN = 0.1
INTERNAL_ERROR = 1011  # RFC 6455


class Events:
    """The open pages of one labeler. `snapshot` says the state of now."""

    def __init__(self, snapshot: Callable[[], dict[str, Any]]) -> None:
        self._snapshot = snapshot
        self._lock = threading.Lock()
        self._pages: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    def notify(self) -> None:
        """Something changed."""
        with self._lock:
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
        # Only waiting to receive ends when the server shuts down; a handler that awaits its own event would hang it.
        pump = asyncio.create_task(self._pump(page, changed))
        try:
            while True:
                await page.receive_text()
        except WebSocketDisconnect:
            pass
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
        last: dict[str, Any] | None = None
        while True:
            changed.clear()
            snapshot = await run_in_threadpool(self._snapshot)
            if snapshot != last:
                await page.send_json(snapshot)
                last = snapshot
            await asyncio.sleep(SECONDS_BETWEEN)
            await changed.wait()
