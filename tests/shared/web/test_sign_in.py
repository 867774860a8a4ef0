import asyncio

import httpx
import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from shared.web.attempts import MAX_DELAY, MOST_WAITING, delay_after
from shared.web.auth import COOKIE, Guard, client_headers
from tests.shared.guarded import APP, PAGE, TOKEN, remote


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The delays after wrong tokens, noted instead of waited for."""
    noted: list[float] = []

    async def note(seconds: float) -> None:
        noted.append(seconds)

    monkeypatch.setattr("shared.web.attempts.sleep", note)
    return noted


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


def test_an_attacker_elsewhere_does_not_slow_the_owner(waits: list[float]) -> None:
    guard = Guard(APP, host="0.0.0.0", port=3334, token=TOKEN)
    attacker = TestClient(guard, base_url="http://labels.example:3334", client=("192.0.2.66", 50_000))
    owner = TestClient(guard, base_url="http://labels.example:3334", client=("192.0.2.1", 50_000))
    for _ in range(20):
        assert attacker.post("/stop", headers=client_headers("wrong")).status_code == 401
    assert owner.post("/api/session", json={"token": "a slip of the hand"}).status_code == 401
    assert waits[-1] == waits[0]
    assert owner.post("/api/session", json={"token": TOKEN}).status_code == 204
    attacker.post("/stop", headers=client_headers("wrong"))
    assert waits[-1] == MAX_DELAY


def test_guessing_side_by_side_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.web.attempts.sleep", asyncio.sleep)
    guard = Guard(APP, host="0.0.0.0", port=3334, token=TOKEN)

    async def guess() -> list[int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://labels.example") as client:
            wrong = [client.post("/stop", headers=client_headers(f"wrong-{number}")) for number in range(40)]
            return [answer.status_code for answer in await asyncio.gather(*wrong)]

    statuses = asyncio.run(guess())
    assert statuses.count(401) == MOST_WAITING
    assert statuses.count(429) == 40 - MOST_WAITING


def test_a_cookie_of_an_older_token_is_no_attempt(waits: list[float]) -> None:
    browser = remote()
    browser.cookies.set(COOKIE, "made-up.proof")
    for _ in range(20):
        assert browser.get("/", headers=PAGE).status_code == 401
    assert waits == []
