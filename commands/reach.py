"""Asking a running service from the command line: one finite request, and a sentence when it cannot be done."""

from __future__ import annotations

import os
from typing import Annotated, Any
from urllib.parse import urlsplit

import httpx
import typer

from shared.auth import client_headers
from shared.settings import SettingsError

LABELER, TRAINER = "http://127.0.0.1:3334", "http://127.0.0.1:3333"
LabelerUrl = Annotated[str, typer.Option(help="Where the labeler runs.")]
TrainerUrl = Annotated[str, typer.Option(help="Where the trainer runs.")]
ANSWER_SECONDS = 10.0


def token() -> str | None:
    """What the services beyond loopback want to hear."""
    return os.environ.get("FLYWHEEL_TOKEN") or None


def reach(url: str, act: Any) -> Any:
    """Do what needs the service at `url`; raises SettingsError with a sentence when it cannot be done."""
    try:
        return act()
    except httpx.HTTPStatusError as error:
        try:
            detail = error.response.json()["detail"]
        except (ValueError, KeyError, TypeError):
            detail = f"HTTP {error.response.status_code}"
        raise SettingsError(f"{url} says: {detail}") from None
    except httpx.HTTPError as error:
        raise SettingsError(f"Nothing answers at {url} ({error}): start Flywheel with `flywheel up`.") from None


def ask(url: str, method: str = "GET", *, seconds: float = ANSWER_SECONDS, **request: Any) -> Any:
    """The answer's JSON. Raises SettingsError."""
    parts = urlsplit(url)

    def act() -> Any:
        answer = httpx.request(method, url, timeout=seconds, headers=client_headers(token()), **request)
        return answer.raise_for_status().json()

    return reach(f"{parts.scheme}://{parts.netloc}", act)
