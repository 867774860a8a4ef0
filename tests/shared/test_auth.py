import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from shared.auth import COOKIE, MAX_DELAY, Guard, client_headers, delay_after, token_for
from shared.settings import SettingsError

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


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The delays after wrong tokens, noted instead of waited for."""
    noted: list[float] = []

    async def note(seconds: float) -> None:
        noted.append(seconds)

    monkeypatch.setattr("shared.auth.sleep", note)
    return noted


# ---------------------------------------------------------------- loopback, without a token


@pytest.mark.parametrize("host", ["127.0.0.1:3334", "localhost:3334", "LOCALHOST:3334", "[::1]:3334"])
def test_own_names_pass(host: str) -> None:
    assert local().get("/", headers={"host": host}).text == "the page"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:3334",  # rebound to 127.0.0.1
        "127.0.0.1.evil.example:3334",
        "localhost.evil.example:3334",
        "127.0.0.1:3335",  # another service of this machine
        "127.0.0.1",  # port 80
        "evil@127.0.0.1:3334",
        "127.0.0.1:3334:3334",
        "127.0.0.2:3334",
        "",
    ],
)
def test_foreign_hosts_are_refused(host: str) -> None:
    answer = local().get("/", headers={"host": host})
    assert answer.status_code == 403
    assert "detail" in answer.json()


def test_a_request_without_host_or_with_two_is_refused() -> None:
    assert status_of(Guard(APP, host="127.0.0.1", port=3334, token=None), headers=[]) == 403
    two = [(b"host", b"127.0.0.1:3334"), (b"host", b"evil.example")]
    assert status_of(Guard(APP, host="127.0.0.1", port=3334, token=None), headers=two) == 403


def test_another_loopback_address_is_its_own_name() -> None:
    client = local(host="127.0.0.2")
    assert client.get("/", headers={"host": "127.0.0.2:3334"}).status_code == 200
    assert client.get("/", headers={"host": "127.0.0.3:3334"}).status_code == 403


def test_a_port_known_late_is_checked_once_it_is_known() -> None:
    port: int | None = None
    client = local(port=lambda: port)
    assert client.get("/", headers={"host": "127.0.0.1:50123"}).status_code == 200
    assert client.get("/", headers={"host": "evil.example:50123"}).status_code == 403
    port = 3334
    assert client.get("/", headers={"host": "127.0.0.1:50123"}).status_code == 403


@pytest.mark.parametrize("origin", ["http://127.0.0.1:3334", "http://localhost:3334", "https://localhost:3334"])
def test_own_origins_pass(origin: str) -> None:
    assert local().post("/stop", headers={"origin": origin}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://evil.example:3334",
        "http://127.0.0.1:8888",  # a notebook on the same machine
        "http://127.0.0.1",
        "file://127.0.0.1:3334",
        "null",
        "",
        "http://",
        "http://127.0.0.1:3334, http://evil.example",
    ],
)
def test_foreign_origins_are_refused(origin: str) -> None:
    assert local().post("/stop", headers={"origin": origin}).status_code == 403
    assert local().get("/", headers={"origin": origin}).status_code == 403


def test_what_a_browser_marks_as_cross_site_passes_only_as_a_link() -> None:
    client = local()
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    picture = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
    frame = {**link, "sec-fetch-dest": "iframe"}
    own = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}
    assert client.get("/", headers=link).status_code == 200
    assert client.post("/stop", headers=link).status_code == 403
    assert client.get("/", headers=picture).status_code == 403
    assert client.get("/", headers=frame).status_code == 403
    assert client.post("/stop", headers={**own, "sec-fetch-site": "same-site"}).status_code == 403
    assert client.post("/stop", headers=own).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{"host": "evil.example:3334"}, {"origin": "https://evil.example"}, {"origin": "null"}],
)
def test_a_foreign_websocket_is_closed_before_it_is_accepted(headers: dict[str, str]) -> None:
    with pytest.raises(WebSocketDisconnect) as refused, local().websocket_connect("/api/events", headers=headers):
        pass
    assert refused.value.code == 1008


def test_an_own_websocket_is_accepted() -> None:
    # The test client connects as `ws://testserver`, whatever its base address.
    headers = {"host": "127.0.0.1:3334", "origin": "http://127.0.0.1:3334"}
    with local().websocket_connect("/api/events", headers=headers) as socket:
        assert socket.receive_text() == "hello"


def test_health_is_public_to_read() -> None:
    assert local().get("/api/health", headers={"host": "10.1.2.3:8080"}).status_code == 200
    assert remote().get("/api/health").status_code == 200
    assert remote().post("/api/health").status_code == 401
    assert remote().get("/api/health/").status_code == 401


def test_pages_carry_security_headers() -> None:
    headers = local().get("/").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["x-frame-options"] == "DENY"


# ---------------------------------------------------------------- with a token


def test_bearer_token_passes() -> None:
    assert remote().post("/stop", headers=client_headers(TOKEN)).status_code == 200


def test_without_token_programs_get_401_and_browsers_a_form() -> None:
    program = remote().post("/stop")
    assert program.status_code == 401
    assert "Bearer" in program.json()["detail"]
    assert program.headers["www-authenticate"] == "Bearer"
    browser = remote().get("/", headers=PAGE)
    assert browser.status_code == 401
    assert '<form method="post" action="/api/session">' in browser.text
    assert "the page" not in browser.text


@pytest.mark.parametrize(
    "authorization",
    ["Bearer wrong", f"Bearer {TOKEN}x", "Bearer", "Bearer ", f"Basic {TOKEN}", "Bearer wr\u00f6ng", TOKEN],
)
def test_wrong_tokens_are_refused(authorization: str) -> None:
    assert remote().post("/stop", headers={b"authorization": authorization.encode("latin-1")}).status_code == 401


def test_a_browser_swaps_the_token_for_a_cookie() -> None:
    browser = remote()
    answer = browser.post("/api/session", data={"token": TOKEN}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert "Secure" not in cookie
    assert TOKEN not in cookie
    assert browser.get("/").text == "the page"
    with browser.websocket_connect("ws://labels.example:3334/api/events") as socket:
        assert socket.receive_text() == "hello"


def test_a_program_swaps_the_token_for_a_cookie() -> None:
    client = remote()
    assert client.post("/api/session", json={"token": TOKEN}).status_code == 204
    assert client.post("/stop").status_code == 200


def test_the_cookie_is_secure_over_https_and_outlives_a_restart() -> None:
    browser = remote("https://labels.example")
    answer = browser.post("/api/session", data={"token": TOKEN}, follow_redirects=False)
    assert "Secure" in answer.headers["set-cookie"]
    restarted = remote("https://labels.example")
    restarted.cookies.set(COOKIE, browser.cookies[COOKIE])
    assert restarted.get("/").status_code == 200


def test_a_cookie_of_another_token_or_a_made_up_one_is_refused() -> None:
    browser = remote()
    browser.post("/api/session", data={"token": TOKEN})
    salt, _, proof = browser.cookies[COOKIE].partition(".")
    for forged in [TOKEN, proof, f"{salt}.{'0' * len(proof)}", f"other.{proof}", "", ".", f".{proof}"]:
        other = remote()
        other.cookies.set(COOKIE, forged)
        assert other.post("/stop").status_code == 401, forged
    renewed = TestClient(Guard(APP, host="0.0.0.0", port=3334, token="another-token-altogether"))
    renewed.cookies.set(COOKIE, browser.cookies[COOKIE])
    assert renewed.post("/stop").status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b'"x"', b"{}", b'{"token": 1}', b'{"token": null}', b"\xff", b"x" * 10_000),
        *(b'{"token": "\\ud800"}', b'{"token": "\\u0000"}', b"[" * 4_000, b'{"token": ' * 400),
    ],
    ids=lambda body: body[:20].decode(errors="replace"),
)
def test_a_malformed_sign_in_is_refused(body: bytes) -> None:
    for kind in ["application/json", "application/x-www-form-urlencoded"]:
        answer = remote().post("/api/session", content=body, headers={"content-type": kind})
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers


def test_a_sign_in_of_any_length_is_not_read_to_its_end() -> None:
    assert remote().post("/api/session", json={"token": TOKEN, "more": "x" * 10_000}).status_code == 401


def test_wrong_tokens_wait_longer_and_a_right_one_ends_it(waits: list[float]) -> None:
    client = remote()
    for _ in range(10):
        client.post("/api/session", json={"token": "wrong"})
    assert waits == sorted(waits)
    assert waits[0] < waits[-1] == MAX_DELAY
    client.post("/stop", headers=client_headers(TOKEN))
    client.post("/stop", headers=client_headers("wrong-again"))
    assert waits[-1] == waits[0]
    assert delay_after(10**6) == MAX_DELAY


def test_a_request_without_any_token_does_not_wait(waits: list[float]) -> None:
    remote().post("/stop")
    assert waits == []


def test_origin_must_be_the_name_that_was_asked_for() -> None:
    signed = client_headers(TOKEN)
    same = {"origin": "http://labels.example:3334"}
    assert remote().post("/stop", headers=signed | same).status_code == 200
    for origin in ["http://evil.example", "http://labels.example:8888", "null"]:
        assert remote().post("/stop", headers=signed | {"origin": origin}).status_code == 403
        attempt = remote().post("/api/session", data={"token": TOKEN}, headers={"origin": origin})
        assert attempt.status_code == 403
    with (
        pytest.raises(WebSocketDisconnect),
        remote().websocket_connect("/api/events", headers=signed | {"origin": "http://evil.example"}),
    ):
        pass


def test_a_proxy_that_ends_tls_in_front_changes_nothing() -> None:
    headers = client_headers(TOKEN) | {"host": "labels.example", "origin": "https://labels.example"}
    assert remote().post("/stop", headers=headers).status_code == 200


def test_a_websocket_without_token_is_closed() -> None:
    with pytest.raises(WebSocketDisconnect) as refused, remote().websocket_connect("/api/events"):
        pass
    assert refused.value.code == 1008


# ---------------------------------------------------------------- size


def test_a_declared_body_that_is_too_large_never_reaches_the_app() -> None:
    client = local(max_request_bytes=10)
    assert client.post("/stop", content=b"x" * 10).json() == {"bytes": 10}
    answer = client.post("/stop", content=b"x" * 11)
    assert answer.status_code == 413
    assert "10 bytes" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/stop", "/forgiving"])
def test_a_body_in_chunks_is_counted(path: str) -> None:
    guard = Guard(APP, host="127.0.0.1", port=3334, token=None, max_request_bytes=10)
    assert status_of(guard, path=path, chunks=[b"x" * 6, b"x" * 4]) == 200
    assert status_of(guard, path=path, chunks=[b"x" * 6, b"x" * 5, b"x"]) == 413


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


# ---------------------------------------------------------------- starting


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.5"])
def test_loopback_needs_no_token(host: str) -> None:
    assert token_for(host, {}) is None
    assert token_for(host, {"FLYWHEEL_TOKEN": ""}) is None
    assert token_for(host, {"FLYWHEEL_TOKEN": TOKEN}) == TOKEN


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "labels.example", "127.0.0.1.evil.example", ""])
def test_any_other_address_refuses_to_start_without_one(host: str) -> None:
    with pytest.raises(SettingsError, match="FLYWHEEL_TOKEN") as problem:
        token_for(host, {})
    assert repr(host) in str(problem.value)
    with pytest.raises(SettingsError, match="FLYWHEEL_TOKEN"):
        Guard(APP, host=host, port=3334, token=None)
    assert token_for(host, {"FLYWHEEL_TOKEN": TOKEN}) == TOKEN


@pytest.mark.parametrize("weak", ["short", "a" * 15, "has spaces in the middle", "ünïcödé-ünïcödé-ünïcödé"])
def test_a_weak_token_refuses_to_start(weak: str) -> None:
    with pytest.raises(SettingsError, match="at least 16") as problem:
        token_for("0.0.0.0", {"FLYWHEEL_TOKEN": weak})
    assert weak not in str(problem.value)


def test_programs_send_the_token_as_bearer() -> None:
    assert client_headers(TOKEN) == {"Authorization": f"Bearer {TOKEN}"}
    assert client_headers(None) == {}
