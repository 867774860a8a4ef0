"""Asking a running service from the command line: one finite request, and a sentence when it cannot be done."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import httpx
import typer

from shared.auth import client_headers
from shared.settings import SettingsError

LABELER, TRAINER = "http://127.0.0.1:3334", "http://127.0.0.1:3333"
LabelerUrl = Annotated[str, typer.Option(help="Where the labeler runs.")]
TrainerUrl = Annotated[str, typer.Option(help="Where the trainer runs.")]
Workspace = Annotated[Path, typer.Option(help="Folder for everything of one project.")]
ANSWER_SECONDS = 10.0


class Away(SettingsError):  # noqa: N818 - a state, not a failure
    """Nothing answers at the address."""


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
        raise Away(f"Nothing answers at {url} ({error}): start Flywheel with `flywheel up`.") from None


def ask(url: str, method: str = "GET", *, seconds: float = ANSWER_SECONDS, **request: Any) -> Any:
    """The answer's JSON. Raises SettingsError."""
    parts = urlsplit(url)

    def act() -> Any:
        answer = httpx.request(method, url, timeout=seconds, headers=client_headers(token()), **request)
        return answer.raise_for_status().json()

    return reach(f"{parts.scheme}://{parts.netloc}", act)


def download(url: str, path: str, params: Mapping[str, str], target: Path, *, seconds: float) -> None:
    """Write what `url` + `path` answers to `target`, whole or not at all. Raises SettingsError."""
    partial = target.with_name(f".{target.name}.partial")

    def fetch() -> None:
        with (
            httpx.stream("GET", url + path, params=params, headers=client_headers(token()), timeout=seconds) as answer,
            partial.open("wb") as stream,
        ):
            if answer.is_error:
                answer.read()
                answer.raise_for_status()
            for chunk in answer.iter_bytes():
                stream.write(chunk)

    try:
        reach(url, fetch)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
