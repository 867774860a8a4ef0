"""Endless answers, and answers that ask to try again later, over real sockets."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from shared.web.peers import Peer
from shared.web.server import server_of
from tests.services import wait_for


@contextmanager
def answering(answer: Callable[[bytes], Response]) -> Iterator[str]:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await answer(await Request(scope, receive).body())(scope, receive, send)

    with socket.create_server(("127.0.0.1", 0)) as sock:
        server = server_of(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            wait_for(lambda: server.started, "the server")
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


def test_an_answer_without_end_is_given_up() -> None:
    async def endless() -> object:
        while True:
            yield b"x" * 65_536
            await asyncio.sleep(0)

    with answering(lambda _: StreamingResponse(endless())) as url, Peer(base_url=url, most_bytes=1_000_000) as peer:
        with pytest.raises(httpx.RemoteProtocolError, match="larger than 1,000,000 bytes"):
            peer.get("/")
        with peer.stream("GET", "/") as answer:  # which its reader bounds
            assert len(next(answer.iter_raw())) > 0


def test_a_small_answer_does_not_unfold() -> None:
    squeezed = Response(b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    with (
        answering(lambda _: squeezed) as url,
        Peer(base_url=url) as peer,
        pytest.raises(httpx.RemoteProtocolError, match="compressed"),
    ):
        peer.get("/")


def test_a_usual_answer_is_read() -> None:
    with answering(lambda body: JSONResponse({"bytes": len(body)})) as url, Peer(base_url=url) as peer:
        assert peer.post("/", json=["x"]).json() == {"bytes": 5}
        assert peer.post("/", files={"file": b"x" * 100}).json()["bytes"] > 100


@pytest.mark.parametrize("status", [429, 503])
def test_it_comes_again_when_told_so_and_sends_all_again(status: int) -> None:
    bodies: list[bytes] = []

    def answer(body: bytes) -> Response:
        bodies.append(body)
        if len(bodies) < 3:
            return PlainTextResponse("later", status, headers={"Retry-After": "0"})
        return PlainTextResponse("now")

    with answering(answer) as url, Peer(base_url=url, patience=20) as peer:
        assert peer.post("/", files={"file": b"x" * 100_000}).text == "now"
    assert len(bodies) == 3
    assert bodies[0] == bodies[1] == bodies[2]


def test_without_patience_it_says_so() -> None:
    later = PlainTextResponse("later", 503, headers={"Retry-After": "0"})
    with answering(lambda _: later) as url, Peer(base_url=url) as peer:
        assert peer.get("/").status_code == 503
