"""The route from which browsers import the pages' modules."""

from __future__ import annotations

import re
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from labeler.ui.parts.scripts import FOLDER, ROUTE, VERSION, loader, script
from shared.web.auth import Guard, client_headers
from tests.shared.guarded import TOKEN

API = f"/api/ui/{VERSION}/lib/api.js"


def browser(**settings: Any) -> TestClient:
    app = Starlette(routes=[Route(ROUTE, script)])
    guard = Guard(app, **{"host": "127.0.0.1", "port": 3334, "token": None, **settings})
    return TestClient(guard, base_url="http://127.0.0.1:3334")


def test_a_module_is_served_as_it_is_and_may_be_kept() -> None:
    answer = browser().get(API)
    assert answer.text == (FOLDER / "lib" / "api.js").read_text("utf-8")
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert browser().post(API).status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        "/api/ui/000000000000/lib/api.js",  # of another release: it must not be kept as this one
        f"/api/ui/{VERSION}/lib/none.js",
        f"/api/ui/{VERSION}/component.css",
        f"/api/ui/{VERSION}/parts/scripts.py",
        f"/api/ui/{VERSION}/%2e%2e/app.py",
        f"/api/ui/{VERSION}/../app.py",
    ],
)
def test_nothing_else_is_served(path: str) -> None:
    answer = browser().get(path)
    assert answer.status_code == 404
    assert "cache-control" not in answer.headers


def test_modules_are_behind_the_same_guard_as_everything_else() -> None:
    assert browser(token=TOKEN).get(API).status_code == 401
    assert browser(token=TOKEN).get(API, headers=client_headers(TOKEN)).status_code == 200
    signed_in = browser(token=TOKEN)
    signed_in.post("/api/session", json={"token": TOKEN}).raise_for_status()
    assert signed_in.get(API).status_code == 200  # an import sends the cookie along
    assert browser().get(API, headers={"origin": "https://evil.example"}).status_code == 403
    assert browser().get(API, headers={"sec-fetch-site": "cross-site"}).status_code == 403


def test_a_component_imports_its_module_by_a_full_address() -> None:
    """From the `blob:` address of the component nothing else can be imported."""
    (address,) = re.findall(r'import\(location\.origin \+ "(.*)"\)', loader("card/card.js"))
    assert "export default" in browser().get(address).text
    with pytest.raises(FileNotFoundError, match=r"There is no card/none\.js"):
        loader("card/none.js")
