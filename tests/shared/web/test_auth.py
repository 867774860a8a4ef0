import pytest
from starlette.websockets import WebSocketDisconnect

from labeler.app import is_page
from shared.settings.services import SettingsError
from shared.web.auth import Guard, client_headers, token_for
from tests.shared.guarded import APP, PAGE, TOKEN, local, remote, status_of

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


def test_what_a_browser_marks_as_cross_site_passes_only_as_a_link_to_a_page() -> None:
    client = local(is_page=is_page)
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
    for path in ["/api/queue?annotator=me&limit=200", "/api/undo", "/api", "/media/x.csv", "/_stcore/x"]:
        for headers in (link, {**link, "sec-fetch-site": "same-site"}):
            assert client.get(path, headers=headers).status_code == 403, path
        for headers in (own, {**link, "sec-fetch-site": "same-origin"}, {**link, "sec-fetch-site": "none"}):
            assert client.get(path, headers=headers).status_code == 404, path
    assert remote().get("/", headers=PAGE | link).status_code == 401  # the form
    assert remote().get("/api/queue", headers=PAGE | link).status_code == 403


def test_links_may_lead_to_pages_and_to_the_description_of_the_routes() -> None:
    assert all(map(is_page, ["/", "/label", "/grid", "/data", "/api/docs"]))
    assert not any(map(is_page, ["/api", "/api/", "/api/export", "/_stcore", "/static/x.js", "/component/x"]))


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
