"""A small application behind the guard, and browsers that ask it."""

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from shared.web.auth import Guard

TOKEN = "correct-horse-battery-staple"
PAGE = {"accept": "text/html,*/*"}
Messages = list[MutableMapping[str, Any]]


async def page(request: Request) -> Response:
    return PlainTextResponse("the page")


async def stop(request: Request) -> Response:
    return JSONResponse({"bytes": len(await request.body())})


async def forgiving(request: Request) -> Response:
    try:
        await request.body()
    except ClientDisconnect:
        return JSONResponse({"detail": "There was an error parsing the body"}, 400)
    return PlainTextResponse("read")


async def events(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


APP = Starlette(
    routes=[
        Route("/", page),
        Route("/api/health", page, methods=["GET", "POST"]),
        Route("/stop", stop, methods=["POST"]),
        Route("/forgiving", forgiving, methods=["POST"]),
        WebSocketRoute("/api/events", events),
    ]
)


def local(**settings: Any) -> TestClient:
    """A browser on the machine of a service that has no token."""
    guard = Guard(APP, **{"host": "127.0.0.1", "port": 3334, "token": None, **settings})
    return TestClient(guard, base_url="http://127.0.0.1:3334")


def remote(base_url: str = "http://labels.example:3334") -> TestClient:
    """A browser elsewhere, of a service that listens on every address."""
    return TestClient(Guard(APP, host="0.0.0.0", port=3334, token=TOKEN), base_url=base_url)


def status_of(
    guard: Guard,
    *,
    path: str = "/stop",
    headers: list[tuple[bytes, bytes]] | None = None,
    chunks: list[bytes] | None = None,
) -> int:
    """Ask without a client in between that would put the headers right; returns the answer's status."""
    bodies = chunks or [b""]
    incoming: Messages = [
        {"type": "http.request", "body": body, "more_body": number < len(bodies)}
        for number, body in enumerate(bodies, start=1)
    ]
    sent: Messages = []
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "scheme": "http",
        "headers": [(b"host", b"127.0.0.1:3334")] if headers is None else headers,
    }

    async def receive() -> MutableMapping[str, Any]:
        return incoming.pop(0)

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(guard(scope, receive, send))
    assert [message["type"] for message in sent].count("http.response.start") == 1
    if sent[0]["status"] == 413:
        assert "10 bytes" in json.loads(sent[1]["body"])["detail"]
    return int(sent[0]["status"])
