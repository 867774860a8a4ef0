"""Requests to a running service: each has a time limit, and each failure is one sentence with the address."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from commands.running.whole_outputs import whole_file
from shared.settings.services import SettingsError, is_loopback
from shared.web.auth import client_headers
from shared.web.peers import Peer, reason

T = TypeVar("T")
LABELER, TRAINER = "http://127.0.0.1:3334", "http://127.0.0.1:3333"
ANSWER_SECONDS = 10.0
PATIENCE_SECONDS = 60.0  # for a service that says it is too busy


class Away(SettingsError):  # noqa: N818 - a state, not a failure
    """Nothing answers at the address."""


def token() -> str | None:
    """The token that the services require beyond loopback."""
    return os.environ.get("FLYWHEEL_TOKEN") or None


def client(url: str, *, seconds: float = ANSWER_SECONDS, token: str | None = None) -> httpx.Client:
    """A client for several requests to `url`. Requests to this machine do not go through a proxy."""
    beyond = not is_loopback(urlsplit(url).hostname or "")
    headers = client_headers(token)
    return Peer(base_url=url, timeout=seconds, headers=headers, trust_env=beyond, patience=PATIENCE_SECONDS)


def reach(url: str, act: Callable[[], T]) -> T:
    """Run `act`, which needs the service at `url`. Raises SettingsError with one sentence if it fails."""
    try:
        return act()
    except httpx.HTTPStatusError as error:
        raise SettingsError(f"{_asked(error) or url} says: {_detail(error.response)}") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Away(
            f"Nothing answers at {_asked(error) or url} ({reason(error)}): start Flywheel with `flywheel up`."
        ) from None


def ask(url: str, method: str = "GET", *, seconds: float = ANSWER_SECONDS, **request: Any) -> Any:
    """The JSON of the response. Raises SettingsError."""
    parts = urlsplit(url)
    service = f"{parts.scheme}://{parts.netloc}"

    def act() -> Any:
        with client(service, seconds=seconds, token=token()) as http:
            return http.request(method, url, **request).raise_for_status().json()

    try:
        return reach(service, act)
    except ValueError as error:
        if isinstance(error, SettingsError):
            raise
        raise SettingsError(f"The service at {service} is not Flywheel: its answer is not JSON.") from None


def download(url: str, path: str, params: Mapping[str, str], target: Path, *, seconds: float) -> None:
    """Write the response of `url` + `path` to `target`, completely or not at all. Raises SettingsError."""

    def fetch(partial: Path) -> None:
        with (
            client(url, seconds=seconds, token=token()) as http,
            http.stream("GET", path, params=params) as answer,
            partial.open("wb") as stream,
        ):
            if answer.is_error:
                answer.read()
                answer.raise_for_status()
            for chunk in answer.iter_bytes():
                stream.write(chunk)

    with whole_file(target) as partial:
        reach(url, lambda: fetch(partial))


def _asked(error: Exception) -> str | None:
    """The address of the service, if the error knows it."""
    try:
        url = error.request.url  # type: ignore[attr-defined]  # httpx's own
    except (AttributeError, RuntimeError):
        return None
    return f"{url.scheme}://{url.netloc.decode()}"


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"
