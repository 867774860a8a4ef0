"""Both services in this process, on real ports, to which schemathesis sends allowed and forbidden requests."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from uuid import uuid4

import httpx
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from starlette.types import ASGIApp

from labeler.app import create_app as labeler_app
from shared.settings.services import LabelerSettings, TrainerSettings
from shared.web.server import bind, server_of
from tests.services import COLOURS, wait_for, write_photos
from trainer.app import create_app as trainer_app

ACCEPTED = ("2xx", "3xx", "401", "403", "404", "409", "429")
Service = Literal["labeler", "trainer"]
SAYS_NO: dict[Service, dict[str, str]] = {
    "labeler": {
        "GET /export": "it may name a class that is not there",
        "GET /export/count": "it may name a class that is not there",
        "POST /classes": "a name may be nothing but spaces",
        "PATCH /classes/{class_id}": "it merges or changes, not both; keys and names may be in use",
        "PATCH /settings": "an address must be one",
        "POST /annotations": "answers name images and classes: 422 lists those that cannot be taken",
        "POST /import": "a row's parts belong together",
        "POST /images": "a file that is no image is refused",
        "POST /label-files": "it names a folder of uploads; a file may be no label file",
        "POST /label-files/{file_id}/columns": "columns are named as image=NAME,label=NAME",
        "POST /splits": "shares must leave something to learn from; groups go with by = group",
        "GET /models/{version}/export": "a version may not exist in every format",
        "POST /models/{version}/export": "a version may not exist in every format",
    },
    "trainer": {
        "GET /models/{version}/export": "a version may not exist in every format",
        "GET /networks/{name}": "its answer is whether there is such a network",
        "PATCH /settings": "a strategy is named, and a schedule is pairs of numbers",
        "POST /annotations": "rows must follow each other without a gap",
        "POST /models": "it may name a network or a base that is not there",
        "POST /models/compare": "a version is not compared with itself",
        "POST /models/rollback": "there may be nothing to go back to",
        "POST /models/{version}/promote": "a version may not be able to answer",
        "POST /predict": "a file that is no image is refused",
    },
}
"""Operations that may refuse, with 422, what their schema allows, and why a schema cannot express it."""


@dataclass
class Found:
    """Results of a run: failures by check and operation, with examples, and errors of the run itself."""

    operations: int = 0
    requests: int = 0
    failures: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{check}: {operation} x {len(all_)}\n{all_[0]}" for (check, operation), all_ in self.failures.items()]
        return "\n\n".join([f"{self.requests} requests", *self.errors, *lines])


def fuzz(
    service: Service,
    url: str,
    *,
    examples: int,
    seconds: int | None = None,
    seed: int | None = None,
    without: str | None = None,
) -> Found:
    """Send requests that the schema at `url` allows and forbids; the same each time unless there is a `seed`.

    `without` is a pattern of paths to skip. All checks of schemathesis are on, except the response time, which says
    more about the machine.
    """
    says_no = [
        {"include-name": name, "checks": {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, "422"]}}}
        for name in SAYS_NO[service]
    ]
    config = {
        "seed": seed,
        "max-time": seconds,
        "base-url": url,
        "continue-on-failure": True,
        "request-timeout": 120,  # some requests make a model file
        # NUL is refused in every text, which only a pattern in every schema could say.
        "generation": {"max-examples": examples, "deterministic": seed is None, "allow-x00": False},
        # Its links are guesses by names of fields. What follows on what has tests of its own.
        "phases": {"stateful": {"enabled": False}},
        "operations": says_no,
    }
    loaded = SchemathesisConfig.from_dict({name: value for name, value in config.items() if value is not None})
    schema = schemathesis.openapi.from_url(url + "/openapi.json", config=loaded)
    chosen = schema.exclude(path_regex=without) if without else schema
    found = Found(operations=chosen.statistic.operations.selected)
    for event in from_schema(chosen).execute():
        if isinstance(event, events.NonFatalError):
            found.errors.append(f"{event.label}: {event.info.title} {event.info.message}")
        elif isinstance(event, events.FatalError):
            found.errors.append(repr(event.exception))
        elif isinstance(event, events.ScenarioFinished):
            _note(found, event)
    return found


def _note(found: Found, event: events.ScenarioFinished) -> None:
    found.requests += len(event.recorder.interactions)
    for case, checks in event.recorder.checks.items():
        sent = event.recorder.interactions.get(case)
        answer = sent.response if sent is not None else None
        said = f"{answer.status_code} {answer.content[:300]!r}" if answer is not None else "no answer"
        for check in checks:
            if check.failure_info is not None:
                failure = f"{check.failure_info.failure}\n{check.failure_info.code_sample[:1_000]}\n{said}"
                found.failures.setdefault((check.name, str(event.label)), []).append(failure)


@dataclass(frozen=True)
class Addresses:
    """The addresses of both."""

    labeler: str
    trainer: str


@contextmanager
def listening(app: ASGIApp, sock: socket.socket) -> Iterator[None]:
    """Serve `app` in a thread, including its start and shutdown."""
    server = server_of(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(30)


@contextmanager
def both_services(folder: Path, images: int = 40) -> Iterator[Addresses]:
    """A labeler and a trainer over a project with labels, a model and a saved version."""
    truth = write_photos(folder / "photos", images)
    with ExitStack() as ends:
        one, other = (ends.enter_context(bind("127.0.0.1", 0)) for _ in range(2))
        ports = [sock.getsockname()[1] for sock in (one, other)]
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        common = {"workspace": folder / "w", "images": str(folder / "photos"), "port": 0}
        labels = {**common, "classes": list(COLOURS), "trainer_url": urls[1], "watch": False}
        trains = {**common, "backbone": "pixels", "labeler_url": urls[0], "challenger": "off"}
        labeler = labeler_app(*LabelerSettings.load(command_line=labels), port=ports[0])
        trainer = trainer_app(*TrainerSettings.load(command_line=trains), port=ports[1])
        ends.enter_context(listening(trainer, other))
        ends.enter_context(listening(labeler, one))
        client = ends.enter_context(httpx.Client(timeout=60))
        wait_for(lambda: client.get(urls[0] + "/api/project").json()["images"]["total"] == images, "the scan")
        names = {each["id"]: Path(each["uri"]).name for each in client.get(urls[0] + "/api/images").json()["images"]}
        answers = [
            {"id": str(uuid4()), "image_id": image_id, "action": "label", "label": truth[name], "annotator": "ann"}
            for image_id, name in list(names.items())[: images // 2]
        ]
        client.post(urls[0] + "/api/annotations", json={"annotations": answers}).raise_for_status()
        wait_for(lambda: client.get(urls[1] + "/status").json()["model_version"], "a model")
        client.post(urls[1] + "/models", json={"name": "first"}).raise_for_status()
        yield Addresses(urls[0] + "/api", urls[1])
