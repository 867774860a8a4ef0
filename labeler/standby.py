"""A standby labeler: waits until the labeler that writes to the database ends, and then takes over.

Meanwhile it answers on its own port. A person who opens it learns where to label, and a load balancer that checks
`/api/health` continues to send everyone to the other labeler. See `labeler.store.writer`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from html import escape
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from labeler.store.writer import Taken, is_free
from shared.settings.services import LabelerSettings
from shared.web.auth import Guard
from shared.web.server import address, server_of

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""Seconds between two checks whether the writer has ended."""
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><meta http-equiv="refresh" content="5">
<title>Flywheel on standby</title>
<body style="font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 4rem auto; padding: 0 1rem">
<h1>This labeler is on standby</h1><p>{}</p><p>This page checks again every five seconds.</p></body></html>"""


def stand_by(settings: LabelerSettings, sock: socket.socket, token: str | None, taken: Taken) -> None:
    """Answer on `sock` until no labeler writes to the database. A signal ends the process as usual."""
    words = _words(taken.holder)
    logger.info(words)
    with sock.dup() as own:  # a server closes its socket, and the labeler needs this one afterwards
        server: uvicorn.Server

        @asynccontextmanager
        async def lifespan(_app: Starlette) -> AsyncIterator[None]:
            looking = asyncio.create_task(_until_free(settings, server))
            yield
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking

        everything = Route("/{path:path}", lambda request: _answer(request, words, taken.holder), methods=METHODS)
        guarded = Guard(
            Starlette(routes=[everything], lifespan=lifespan),
            host=settings.host,
            port=sock.getsockname()[1],
            token=token,
        )
        server = server_of(guarded, f"Labeler on standby at {address(sock)}")
        server.run(sockets=[own])


async def _until_free(settings: LabelerSettings, server: uvicorn.Server) -> None:
    while True:
        if await asyncio.to_thread(is_free, settings.database_url):
            break
        await asyncio.sleep(LOOK_SECONDS)
    logger.info("The database no longer has a writer, so this labeler takes over.")
    server.should_exit = True


def _answer(request: Request, words: str, holder: str | None) -> Response:
    waiting = {"Retry-After": "5", "Cache-Control": "no-store"}
    if request.url.path.startswith("/api"):
        said: dict[str, Any] = {"detail": words, "standby": True, "writer": holder}
        return JSONResponse(said, 503, waiting)
    return HTMLResponse(PAGE.format(escape(words)), 503, waiting)


def _words(holder: str | None) -> str:
    where = f"the labeler at {holder}" if holder else "another labeler"
    return (
        f"Label with {where}: it writes to this project's database. This one takes over by itself when that one ends."
    )
