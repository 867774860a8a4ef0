"""Both services as processes, to which schemathesis sends allowed and forbidden requests.

Hypothesis, which makes the requests, seeds the random numbers of its process, sets its recursion limit and counts on
its draws being repeatable, so that nothing else may run in it.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.generation.meta import CoverageScenario

from tests.services import Process, running_services, wait_for

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
    thin: bool = False,
) -> Found:
    """Send requests that the schema at `url` allows and forbids; the same each time unless there is a `seed`.

    `without` is a pattern of paths to skip. `thin` leaves out some of those that `_Thin` calls alike. All checks of
    schemathesis are on, except the response time, which says more about the machine.
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
    if thin:
        schema.hooks.register_hook_with_name(_Thin(), "filter_case")
    chosen = schema.exclude(path_regex=without) if without else schema
    found = Found(operations=chosen.statistic.operations.selected)
    broken: list[events.NonFatalError] = []
    for event in from_schema(chosen).execute():
        if isinstance(event, events.NonFatalError):
            broken.append(event)
        elif isinstance(event, events.FatalError):
            found.errors.append("".join(traceback.format_exception(event.exception)))
        elif isinstance(event, events.ScenarioFinished):
            _note(found, event)
            found.errors += [told(error, event) for error in broken]
            broken.clear()
    found.errors += [told(error) for error in broken]
    return found


class _Thin:
    """Whether a request is sent: of a value's wrong types, and of the methods that a path does not have, the first and
    every fourth of the others. There are six of each, and a nested body has a hundred values.
    """

    def __init__(self) -> None:
        self._seen: set[tuple[object, ...]] = set()
        self._others = 0

    def __call__(self, _: schemathesis.HookContext, case: schemathesis.Case[Any]) -> bool:
        about: Any = case.meta.phase.data if case.meta is not None else None
        scenario = getattr(about, "scenario", None)
        if scenario is CoverageScenario.UNSPECIFIED_HTTP_METHOD:
            place: tuple[object, ...] = (case.operation.path,)
        elif scenario is CoverageScenario.INCORRECT_TYPE:
            place = (case.operation.label, about.parameter_location, about.parameter, about.location)
        else:
            return True
        if place not in self._seen:
            self._seen.add(place)
            return True
        self._others += 1
        return self._others % 4 == 0


def told(error: events.NonFatalError, scenario: events.ScenarioFinished | None = None) -> str:
    """An error of the run itself, with its causes and the service's last answers."""
    phase = error.phase.value if error.phase is not None else "no phase"
    sent = list(scenario.recorder.interactions.values()) if scenario is not None else []
    answers = [
        f"{each.request.method} {each.request.uri}: {each.response.status_code} {each.response.content[:300]!r}"
        if each.response is not None
        else f"{each.request.method} {each.request.uri}: no answer"
        for each in sent[-5:]
    ]
    return "\n".join(
        [
            f"{error.label}, {phase}, after {len(sent)} requests: {error.info.title} {error.info.message}",
            *answers,
            "".join(traceback.format_exception(error.value)),
        ]
    )


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
    """The addresses of both, and their processes."""

    labeler: str
    trainer: str
    processes: tuple[Process, Process]


@contextmanager
def both_services(images: int = 40) -> Iterator[Addresses]:
    """A labeler and a trainer over a project with labels, a model and a saved version."""
    with running_services(images=images, labeler={"watch": False}, trainer={"challenger": "off"}) as services:
        names = list(services.names().items())[: images // 2]
        services.annotate([services.answer(image_id, services.truth[name]) for image_id, name in names])
        wait_for(lambda: services.status()["model_version"], "a model")
        httpx.post(f"{services.trainer.url}/models", json={"name": "first"}, timeout=60).raise_for_status()
        processes = services.labeler, services.trainer
        yield Addresses(f"{services.labeler.url}/api", services.trainer.url, processes)
