"""What anyone without a token can do to a service, over real sockets to a real server."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from shared.web.auth import Guard
from shared.web.connections import Connection, allow_open_files
from shared.web.server import server_of
from shared.wire.fields import MAX_ROWS
from tests.services import wait_for

HEAD = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"


async def page(request: Request) -> Response:
    return PlainTextResponse("the page")


async def take(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def large(request: Request) -> Response:
    return PlainTextResponse("x" * 50_000_000)


async def events(page: WebSocket) -> None:
    await page.accept()
    await page.send_text("hello")
    await page.receive_text()


APP = Starlette(
    routes=[
        Route("/", page),
        Route("/take", take, methods=["POST"]),
        Route("/large", large),
        WebSocketRoute("/api/events", events),
    ]
)
Serve = Callable[..., int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a service with limits of one's own; returns its port."""
    with ExitStack() as stack:
        yield lambda **limits: stack.enter_context(served(**limits))


@contextmanager
def served(protocol: type[Connection] | None = None, **limits: int) -> Iterator[int]:
    protocol = type("Limited", (protocol or Connection.of_one_server(),), limits)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        server = server_of(Guard(APP, host="127.0.0.1", port=port, token=None), protocol=protocol)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            wait_for(lambda: server.started, "the server")
            yield port
        finally:
            server.should_exit = True
            thread.join(20)


@contextmanager
def client(port: int, *sent: bytes) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        for each in sent:
            sock.sendall(each)
        yield sock


def answer(sock: socket.socket) -> bytes:
    """Everything received until the service closes."""
    said = b""
    while piece := sock.recv(65_536):
        said += piece
    return said


def honest(port: int) -> bool:
    return httpx.get(f"http://127.0.0.1:{port}/", timeout=20).text == "the page"


def open_page(port: int) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{port}/api/events", origin=Origin(f"http://127.0.0.1:{port}"))


def flood(sock: socket.socket, piece: bytes, pieces: int) -> bytes:
    """Keep sending as long as the service reads; returns its answer."""
    try:
        for _ in range(pieces):
            sock.sendall(piece)
    except ConnectionError:
        return b""  # it did not wait for all of it
    return answer(sock)


@pytest.mark.parametrize(
    "piece", [b"x" * 65_536, b"a: b\r\n" * 10_000, b"x-long: " + b"y" * 65_536 + b"\r\n"], ids=["one", "many", "long"]
)
def test_a_head_that_does_not_end_is_not_read_on(serve: Serve, piece: bytes) -> None:
    port = serve()
    with client(port, HEAD, b"" if piece.startswith((b"a:", b"x-long")) else b"x-big: ") as attack:
        assert flood(attack, piece, 200)[:13] in (b"HTTP/1.1 431 ", b"")
    assert honest(port)


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"x-big: " + b"y" * 70_000 + b"\r\n\r\n",
        HEAD + b"a: b\r\n" * 100 + b"\r\n",
        b"GET /" + b"z" * 70_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    ],
    ids=["one header", "many headers", "address"],
)
def test_a_head_that_came_at_once_is_measured_too(serve: Serve, head: bytes) -> None:
    with client(serve(), head) as attack:
        said = answer(attack)
    assert said.startswith(b"HTTP/1.1 431 ")
    assert b'{"detail": "The request' in said
    assert b"the page" not in said


def test_an_address_may_name_as_many_images_as_a_request_may(serve: Serve) -> None:
    named = ",".join(str(1_000_000 + number) for number in range(MAX_ROWS))
    assert httpx.get(f"http://127.0.0.1:{serve()}/", params={"images": named}, timeout=20).text == "the page"


def test_trailers_and_chunk_extensions_are_heads_as_well(serve: Serve) -> None:
    port = serve()
    begun = b"POST /take HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nTransfer-Encoding: chunked\r\n\r\n1" % port
    for endless in (b"\r\nx\r\n0\r\nx-trailer: ", b";extension="):
        with client(port, begun + endless) as attack:
            assert flood(attack, b"x" * 65_536, 100)[:13] in (b"HTTP/1.1 431 ", b"")
    with client(port, begun + b"\r\nx\r\n0\r\n") as attack:
        assert flood(attack, b"a: b\r\n" * 10_000, 20)[:13] in (b"HTTP/1.1 431 ", b"")
    whole = begun + b"\r\nx\r\n" + b"2;note=1\r\nxx\r\n" * 30_000 + b"0\r\nx-sum: 1\r\nConnection: close\r\n\r\n"
    with client(port, whole) as fair:
        fair.shutdown(socket.SHUT_WR)
        assert answer(fair).endswith(b"60001")


def test_a_usual_head_and_a_large_body_pass(serve: Serve) -> None:
    address = f"http://127.0.0.1:{serve()}"
    headers = {f"x-{number}": "y" * 300 for number in range(80)}
    assert httpx.post(f"{address}/take", content=b"z" * 5_000_000, headers=headers, timeout=20).text == "5000000"
    parts = (b"z" * 50_000 for _ in range(100))
    assert httpx.post(f"{address}/take", content=parts, timeout=20).text == "5000000"


def test_half_a_head_is_not_waited_for_forever(serve: Serve) -> None:
    port = serve(head_seconds=1)
    with client(port, HEAD) as half, client(port) as silent:
        assert answer(half).startswith(b"HTTP/1.1 408 ")
        assert answer(silent).startswith(b"HTTP/1.1 408 ")
    kept = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port
    with client(port, kept) as second:
        assert second.recv(65_536).endswith(b"the page")
        second.sendall(HEAD)
        assert answer(second).startswith(b"HTTP/1.1 408 ")


def test_a_kept_connection_and_a_websocket_live_on(serve: Serve) -> None:
    port = serve(head_seconds=1, body_seconds=1, unread_seconds=1)
    address = f"http://127.0.0.1:{port}"
    with (
        httpx.Client(base_url=address) as kept,
        open_page(port) as page,
    ):
        assert page.recv() == "hello"
        first = kept.get("/").extensions["network_stream"].get_extra_info("client_addr")
        with client(port, HEAD) as half:
            answer(half)  # so that as much time has passed as ends what is slow
        assert kept.get("/").extensions["network_stream"].get_extra_info("client_addr") == first
        page.send("still here")


def test_a_body_that_trickles_is_not_waited_for_forever(serve: Serve) -> None:
    port = serve(body_seconds=1)
    begun = b"POST /take HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 1000\r\n\r\nx" % port
    with client(port, begun) as slow:
        assert answer(slow).startswith(b"HTTP/1.1 408 ")
    assert honest(port)


def test_an_answer_that_nobody_reads_is_cut_off(serve: Serve) -> None:
    port = serve(unread_seconds=1, head_seconds=4)
    with client(port, b"GET /large HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port) as idle:
        with client(port, HEAD) as half:
            answer(half)  # so that as much time has passed as cuts it off
        assert len(answer(idle)) < 50_000_000
    assert len(httpx.get(f"http://127.0.0.1:{port}/large", timeout=20).content) == 50_000_000


def test_silent_connections_make_room_for_one_that_asks(serve: Serve) -> None:
    port = serve(most=20, head_seconds=600)
    with ExitStack() as stack:
        silent = [stack.enter_context(client(port, HEAD)) for _ in range(60)]
        assert honest(port)
        assert all(open_still(sock) for sock in silent[-10:])
        assert not any(open_still(sock) for sock in silent[:40])


def test_no_more_pages_are_served_than_there_is_room_for(serve: Serve) -> None:
    port = serve(most=5)
    with ExitStack() as stack:
        for _ in range(5):
            assert stack.enter_context(open_page(port)).recv() == "hello"
        with client(port) as late:
            said = answer(late)
    assert said.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 5\r\n" in said
    wait_for(lambda: honest(port), "room again")


def test_requests_sent_ahead_are_few(serve: Serve) -> None:
    port = serve()
    one = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port
    with client(port, one * 5) as fair:
        said = b""
        while said.count(b"the page") < 5:
            said += fair.recv(65_536)
    with client(port, one * 2_000) as attack:
        assert answer(attack).count(b"the page") < 100
    assert honest(port)


def test_the_log_is_not_filled_by_strangers(caplog: pytest.LogCaptureFixture) -> None:
    protocol = Connection.of_one_server()
    with served(protocol) as port:
        for _ in range(30):
            with client(port, b"NONSENSE\r\n\r\n") as attack:
                assert answer(attack).startswith(b"HTTP/1.1 400 ")
    protocol.tell()
    protocol.tell()
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert 1 <= len(told) <= 3
    assert all("This is not an HTTP request." in line for line in told)


def test_one_address_elsewhere_has_only_a_share() -> None:
    def may_join(host: str, others: list[str]) -> bool:
        made = Connection.__new__(Connection.of_one_server())
        made.client = (host, 50_000)
        made.config = SimpleNamespace(forwarded_allow_ips="127.0.0.1,172.16.0.0/12")  # type: ignore[assignment]
        made.connections = [made, *(SimpleNamespace(client=(other, 50_000)) for other in others)]  # type: ignore[assignment]
        return made._room_beside(len(others))

    share = Connection.most_per_address
    assert not may_join("192.0.2.1", ["192.0.2.1"] * share)
    assert may_join("192.0.2.1", ["192.0.2.1"] * (share - 1) + ["192.0.2.2"] * 9)
    assert may_join("192.0.2.2", ["192.0.2.1"] * share)
    assert may_join("127.0.0.1", ["127.0.0.1"] * share)
    assert may_join("172.18.0.5", ["172.18.0.5"] * share)  # a proxy, behind which many are
    assert not may_join("2001:db8::1", [f"2001:db8::{number:x}" for number in range(2, share + 2)])


def test_there_are_files_left_for_the_rest() -> None:
    assert 16 <= allow_open_files() <= Connection.most


def open_still(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return sock.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
