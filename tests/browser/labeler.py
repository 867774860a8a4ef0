"""What the browser tests ask of the labeler behind the page's back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import httpx

from tests.services import COLOURS, Services

CLASSES = list(COLOURS)
StartLabeler = Callable[[int, Sequence[str]], Services]


def rows_of(services: Services, annotator: str) -> list[dict[str, Any]]:
    """What the log holds of the annotator, in order."""
    log = services.get("/api/annotations?limit=5000")["annotations"]
    return [row for row in log if row["annotator"] == annotator]


def class_ids(services: Services) -> dict[str, int]:
    """Class name → id."""
    return {each["name"]: each["id"] for each in services.get("/api/project")["classes"]}


def post(services: Services, path: str, body: dict[str, Any]) -> Any:
    """A POST that must succeed."""
    return httpx.post(services.labeler.url + path, json=body, timeout=20).raise_for_status().json()


def delete_class(services: Services, class_id: int) -> None:
    """Delete the class; it must be there."""
    httpx.delete(f"{services.labeler.url}/api/classes/{class_id}", timeout=20).raise_for_status()
