"""A minimal trainer for tests: it follows the log over HTTP and learns nothing.

It can be told to fail, to be slow and to forget; the log sender must cope with all of these.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any
from uuid import UUID

import numpy as np
import uvicorn
from fastapi import Body, FastAPI, Request
from fastapi.responses import JSONResponse, Response

from shared.pool_predictions import MEDIA_TYPE, PredictionColumns
from shared.web.server import bind
from shared.wire.log import AnnotationBatch, Row


class Follower:
    """A trainer's copy of the log, and switches for its faults."""

    def __init__(self) -> None:
        self.log_id: UUID | None = None
        self.rows: list[Row] = []
        self.batches: list[AnnotationBatch] = []
        self.state = "waiting"
        self.wants_each = False
        self.failing = False
        self.answering = threading.Event()  # cleared: it takes what comes, and answers once it is set
        self.answering.set()
        self.held = 0  # messages that it took and has not answered
        self.failing_once = False  # for the message that it answers next
        self.api = FastAPI()
        self.api.get("/status")(self.status)
        self.api.post("/annotations")(self.annotations)
        for order in ("pause", "resume", "stop"):
            self.api.post(f"/{order}")(self._order(order))
        self.settings: dict[str, Any] = {
            "query_strategy": "margin",
            "exploration": 0.0,
            "early_stopping_metrics_thresholds": {},
            "label_budget": 0,
            "seed": 0,
        }
        self.api.get("/settings")(self.show_settings)
        self.api.patch("/settings")(self.change_settings)
        self.api.get("/strategies")(self.strategies)
        self.model_version: str | None = None
        self.said: dict[int, tuple[int, float]] = {}  # image id → class id and confidence
        self.groups: list[list[int]] = []  # image ids of each; anything may stand in them
        self.issues: list[dict[str, Any]] = []  # doubtful labels, worst first
        self.missed: list[dict[str, Any]] = []  # boxes that a detector does not find
        self.expected = (0, 0, 0)  # wrong labels: about so many, at least, at most
        self.asked: list[str] = []
        self.earlier = False  # a version that sends predictions as JSON only
        self.api.get("/predictions")(self.predictions)
        self.api.get("/similar")(self.similar)
        self.api.get("/described")(self.described)
        self.api.get("/clusters")(self.clusters)
        self.api.get("/map")(self.map)
        self.api.get("/label-issues")(self.label_issues)
        self.copies: dict[str, Any] = {"differing": [], "across": {}}
        self.api.get("/near-duplicates")(self.near_duplicates)

    def status(self) -> Any:
        if self.failing:
            return JSONResponse({"detail": "out of order"}, 500)
        return {
            "state": self.state,
            "wants_each": self.wants_each,
            "log_id": self.log_id,
            "acked_seq": len(self.rows),
            "round": 0,
            "labels": 0,
            "model_version": self.model_version,
            "strategy": "none",
            "metrics": {},
            "last_error": None,
            "embedding": {"done": 0, "total": 0},
            "timings": {},
        }

    def annotations(self, batch: AnnotationBatch) -> Any:
        self.held += 1
        self.answering.wait(60)
        self.held -= 1
        if self.failing or self.failing_once:
            self.failing_once = False
            return JSONResponse({"detail": "out of order"}, 500)
        if batch.log_id != self.log_id or len(self.rows) > batch.last_seq:
            self.log_id, self.rows = batch.log_id, []
        if batch.after_seq != len(self.rows):
            return JSONResponse({"detail": "There is a gap.", "acked_seq": len(self.rows)}, 409)
        self.batches.append(batch)
        self.rows += batch.annotations
        return {"acked_seq": len(self.rows)}

    def show_settings(self) -> Any:
        return {
            name: {"value": value, "source": "default", "changeable": name != "seed"}
            for name, value in self.settings.items()
        }

    def change_settings(self, changes: Annotated[dict[str, Any], Body()]) -> Any:
        if float(changes.get("exploration", 0)) > 1:
            return JSONResponse({"detail": "The trainer setting 'exploration' cannot be that."}, 422)
        self.settings |= changes
        return self.show_settings()

    def strategies(self) -> Any:
        return {
            "strategies": [
                {"name": "margin", "when": "Where two classes are hard to tell apart."},
                {"name": "random", "when": "As a baseline."},
            ]
        }

    def predictions(self, request: Request) -> Any:
        self.asked.append("predictions")
        if self.model_version is None:
            return JSONResponse({"detail": "There is no model yet."}, 409)
        labels, confidences = zip(*self.said.values(), strict=True)
        if not self.earlier and MEDIA_TYPE in request.headers["accept"]:
            columns = (np.array(each) for each in (list(self.said), labels, confidences))
            return Response(PredictionColumns(self.model_version, *columns).to_bytes(), media_type=MEDIA_TYPE)
        said = {"image_ids": list(self.said), "labels": labels, "confidences": confidences}
        return {"model_version": self.model_version, **said}

    def similar(self, image_id: int, limit: int) -> Any:
        if self.failing:
            return JSONResponse({"detail": "out of order"}, 500)
        others = [each for group in self.groups for each in group if each != image_id][:limit]
        return {"image_id": image_id, "similar": [{"image_id": each, "similarity": 0.5} for each in others]}

    def described(self, words: str, limit: int) -> Any:
        """Images of the group of that number, as if its images looked like the word for it."""
        if not words.isdigit():
            return JSONResponse({"detail": "no text network"}, 409)
        ids = self.groups[int(words)][:limit]
        return {"words": words, "images": [{"image_id": each, "similarity": 0.5} for each in ids]}

    def clusters(self, count: int, limit: int) -> Any:
        groups = enumerate(self.groups[:count])
        return {"clusters": [{"cluster": k, "size": len(ids), "image_ids": ids[:limit]} for k, ids in groups]}

    def map(self, limit: int, layout: str) -> Any:
        ids = [image_id for group in self.groups for image_id in group][:limit]
        return {"total": len(ids), "image_ids": ids, "x": [0.25] * len(ids), "y": [-0.5] * len(ids), "layout": layout}

    def label_issues(self, limit: int) -> Any:
        about, low, high = self.expected
        judged = {"judged": len(self.issues), "expected": about, "expected_low": low, "expected_high": high}
        found = {"issues": self.issues[:limit], "missed": self.missed}
        return found | {"acked_seq": len(self.rows), "renewing": False, "enough": True} | judged

    def near_duplicates(self, limit: int) -> Any:
        self.asked.append("near-duplicates")
        return {"differing": self.copies["differing"][:limit], "across": self.copies["across"]}

    def forget(self) -> None:
        """Lose everything, as if its files were deleted."""
        self.log_id, self.rows = None, []

    def _order(self, order: str) -> Any:
        def follow() -> Any:
            self.state = {"pause": "paused", "resume": "training", "stop": "stopped"}[order]
            return self.status()

        return follow


@contextmanager
def following() -> Iterator[tuple[Follower, str]]:
    """A running follower and its URL."""
    follower = Follower()
    sock = bind("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(follower.api, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    while not server.started:  # nobody listens before
        time.sleep(0.005)
    try:
        yield follower, f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        sock.close()
