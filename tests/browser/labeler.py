"""Requests of the browser tests directly to the labeler."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import httpx

from tests.services import COLOURS, Services

CLASSES = list(COLOURS)
SHARED = {"lease_seconds": 1.0}
"""Settings of a labeler that tests use one after the other."""
StartLabeler = Callable[[int, Sequence[str]], Services]


def rows_of(services: Services, annotator: str) -> list[dict[str, Any]]:
    """The annotator's rows in the log, in order."""
    log = services.get("/api/annotations?limit=5000")["annotations"]
    return [row for row in log if row["annotator"] == annotator]


def class_ids(services: Services) -> dict[str, int]:
    """Class name → id."""
    return {each["name"]: each["id"] for each in services.get("/api/project")["classes"]}


def pushed(services: Services, image_ids: Sequence[int], suggestions: dict[str, float], reason: str) -> dict[str, Any]:
    """A list of questions, as from the trainer, with the same suggestions for all images (class name → confidence)."""
    project, ids = services.get("/api/project"), class_ids(services)
    said = [{"label": ids[name], "confidence": confidence} for name, confidence in suggestions.items()]
    return {
        "id": str(uuid4()),
        "log_id": project["log_id"],
        "model_version": "test-1",
        "acked_seq": project["last_seq"],
        "strategy": "test",
        "queries": [
            {"image_id": image, "score": -rank, "reason": reason, "suggestions": said}
            for rank, image in enumerate(image_ids)
        ],
    }


def post(services: Services, path: str, body: dict[str, Any]) -> Any:
    """Send a POST that must succeed."""
    return httpx.post(services.labeler.url + path, json=body, timeout=20).raise_for_status().json()


def take_all_back(services: Services, *annotators: str) -> None:
    """Undo all answers of these annotators, so that the next test finds the images as this one did.

    Give the labeler `SHARED`, so that it also finds them on nobody's screen.
    """
    for annotator in annotators:
        undo = {"annotator": annotator}
        while httpx.post(f"{services.labeler.url}/api/undo", json={"id": str(uuid4()), **undo}, timeout=20).is_success:
            pass
    time.sleep(SHARED["lease_seconds"])


def delete_class(services: Services, class_id: int) -> None:
    """Delete the class, which must exist."""
    httpx.delete(f"{services.labeler.url}/api/classes/{class_id}", timeout=20).raise_for_status()
