"""An annotator that answers from a truth, through the same routes as the browser.

Like a page, it asks for the queue, answers the first image, and asks again. So the whole loop can be watched, measured
and tested without a click. No other module reads the true labels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from commands.running.place import shown
from commands.running.reach import client
from shared.class_names import lacking, meant
from shared.figures import many
from shared.images.names import NamesInList
from shared.settings.services import SettingsError
from shared.tasks.box_actions import Actions
from shared.tasks.multilabel import NONE_OF_THESE
from shared.wire.evaluation import Interval
from shared.wire.imports import NamedAnswer, NamedBoxes, NamedClasses

Label = str | NamedAnswer
"""A class name; in a multi-label project, the yes and no classes; in a detection project, the boxes."""
ANSWER_SECONDS = 30.0
"""Maximum seconds of a request to the labeler."""
FRESH_SECONDS = 60.0
"""Maximum seconds to wait for a new queue after a batch, before continuing with the current one."""


@dataclass
class Measurement:
    """The state after a batch: labels given, accuracy on the test sample, and the time until the new queue."""

    labels: int
    train_labels: int
    seconds_to_queue: float | None
    accuracy: Interval | None


@dataclass
class Simulation:
    """The result. `answers` are (image id, class name or "" for a skip, purpose) in order."""

    measurements: list[Measurement] = field(default_factory=list)
    answers: list[tuple[int, str, str]] = field(default_factory=list)
    actions: list[Actions] = field(default_factory=list)  # detection: the actions for each answer, in the same order
    seconds: float = 0.0
    ended: str = "the budget is used up"

    @property
    def labels(self) -> int:
        """The number of answers that are labels, as the pages count them."""
        return sum(bool(label) for _, label, _ in self.answers)

    def in_words(self) -> str:
        """`116 labels and 4 skips`."""
        skips = len(self.answers) - self.labels
        return many(self.labels, "label") + (f" and {many(skips, 'skip')}" if skips else "")


@dataclass(frozen=True)
class Coverage:
    """The number of images in the project, and how many of them have a true label."""

    images: int
    named: int

    def lines(self, table: Path | None) -> list[str]:
        """What is missing, in words. Raises SettingsError if nothing matches, before anything is written."""
        name = shown(table) if table is not None else "The demo's table"
        if self.images and not self.named:
            raise SettingsError(f"{name} names none of the project's {self.images:,} images. Nothing was written.")
        if self.named == self.images:
            return []
        return [f"{name} names {self.named:,} of {self.images:,} images. The others are skipped."]


class Annotator:
    """One page of one person at the labeler at `url`."""

    def __init__(
        self, url: str, truth: Mapping[str, Label], *, name: str = "simulated", token: str | None = None
    ) -> None:
        self._http = client(url, seconds=ANSWER_SECONDS, token=token)
        self._truth = dict(truth)
        self._names, self._labels = NamesInList(list(truth)), list(truth.values())
        self.name = name
        self.session = f"{name}-{uuid4()}"
        self._uris: dict[int, str] = {}
        self._after = 0

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def get(self, path: str) -> Any:
        """The answer to a GET; raises httpx.HTTPStatusError."""
        response = self._http.get(path)
        response.raise_for_status()
        return response.json()

    def coverage(self) -> Coverage:
        """Count images with a true label. Writes nothing."""
        self._read_catalog()
        return Coverage(len(self._uris), sum(self._said(uri) is not None for uri in self._uris.values()))

    def name_classes(self, *, add: bool = False) -> None:
        """Make sure that every true class exists in the project; add missing ones.

        Raises SettingsError for a class that a project with classes lacks, unless `add` allows adding it.
        """
        classes = self.get("/api/project")["classes"]
        unknown = lacking(sorted({name for label in self._truth.values() for name in names_in(label)}), classes)
        if unknown and classes and not add:
            like = meant(unknown[0], [entry["name"] for entry in classes])
            raise SettingsError(f"There is no class {unknown[0]!r}: add it with --add-classes{like or '.'}")
        for name in unknown:
            self._http.post("/api/classes", json={"name": name}).raise_for_status()

    def label_of(self, image_id: int) -> Label | None:
        """The true label of an image, or None."""
        if image_id not in self._uris:
            self._read_catalog()
        return self._said(self._uris.get(image_id, ""))

    def run(
        self,
        budget: int,
        *,
        pace: float = 0.0,
        add_classes: bool = False,
        on_progress: Callable[[int, Measurement | None], None] = lambda _labels, _measured: None,
    ) -> Simulation:
        """Give up to `budget` labels, `pace` per second. With 0, answer each batch at full speed, then wait for a new
        queue.
        """
        self.name_classes(add=add_classes)
        buffer = int(self.get("/api/settings")["buffer_size"]["value"])
        result, began = Simulation(), time.monotonic()
        for count, item in enumerate(self._questions(budget, result), start=1):
            since = self._answer(item, result)
            measured = None
            if count % buffer == 0 or count == budget:
                measured = self._measure(result, since if pace == 0 else None)
                result.measurements.append(measured)
            on_progress(count, measured)
            if pace > 0:
                time.sleep(max(0.0, began + count / pace - time.monotonic()))
        result.seconds = time.monotonic() - began
        return result

    def _questions(self, budget: int, result: Simulation) -> Iterator[dict[str, Any]]:
        """The first image of the queue, until the budget or the queue is exhausted."""
        patience = time.monotonic() + FRESH_SECONDS
        while len(result.answers) < budget:
            page = self._http.get(
                "/api/queue", params={"annotator": self.name, "session": self.session, "limit": 1}
            ).raise_for_status()
            items = page.json()["items"]
            if items:
                patience = time.monotonic() + FRESH_SECONDS
                yield items[0]
                continue
            project = self.get("/api/project")
            if not project["scanning"]["running"] or time.monotonic() > patience:
                result.ended = "nothing is left to label"
                return
            time.sleep(0.1)

    def _answer(self, item: Mapping[str, Any], result: Simulation) -> tuple[float, int]:
        """Post one answer. Return its time and its position in the log."""
        label = self.label_of(item["image_id"])
        answer = {
            "id": str(uuid4()),
            "image_id": item["image_id"],
            "action": "label" if label is not None else "skip",
            **self._fields(label, item, result),
            "annotator": self.name,
            "session": self.session,
            "seconds": 0.0,
            "query_version": item["query_version"],
        }
        receipt = self._http.post("/api/annotations", json={"annotations": [answer]}).raise_for_status()
        result.answers.append((item["image_id"], _words(label), item["purpose"]))
        return time.monotonic(), int(receipt.json()["last_seq"])

    def _fields(self, label: Label | None, item: Mapping[str, Any], result: Simulation) -> dict[str, Any]:
        """The fields of an answer: the class, or yes and no to each."""
        if isinstance(label, NamedClasses):
            return {"answer": {"yes": [*label.yes], "no": [*label.no]}}
        return {"label": label}

    def _measure(self, result: Simulation, since: tuple[float, int] | None) -> Measurement:
        seconds = self._wait_for_queue(*since) if since is not None else None
        accuracy = self.measured()
        return Measurement(
            labels=result.labels,
            train_labels=sum(purpose == "query" for _, label, purpose in result.answers if label),
            seconds_to_queue=seconds,
            accuracy=Interval.model_validate(accuracy) if accuracy is not None else None,
        )

    def measured(self) -> Any:
        """The current accuracy on the test sample, with its interval."""
        return self.get("/api/project")["accuracy"]

    def _wait_for_queue(self, since: float, seq: int) -> float | None:
        """Seconds from the last answer, row `seq`, to a queue whose model had seen it; None if none comes."""
        while time.monotonic() - since < FRESH_SECONDS:
            project = self.get("/api/project")
            if project["query_acked_seq"] >= seq:
                return time.monotonic() - since
            if project["trainer"]["state"] in ("stopped", "stopping", "paused", "failed", "absent", "taken"):
                return None
            if project["splits"]["train"]["unlabeled"] == 0:
                return None  # nothing left to rank
            time.sleep(0.02)
        return None

    def _said(self, uri: str) -> Label | None:
        _, places = self._names.find(uri)  # exactly one file, perhaps written differently
        return self._labels[places[0]] if len(places) == 1 else None

    def _read_catalog(self) -> None:
        while True:
            page = self.get(f"/api/images?after={self._after}&limit=10000")
            self._uris.update({entry["id"]: entry["uri"] for entry in page["images"] if not entry["removed"]})
            if page["next"] == self._after or not page["images"]:
                return
            self._after = page["next"]


def names_in(label: Label) -> tuple[str, ...]:
    """The classes in a label."""
    if isinstance(label, NamedBoxes):
        return tuple(dict.fromkeys(label.names))
    return label.yes + label.no if isinstance(label, NamedClasses) else (label,)


def _words(label: Label | None) -> str:
    """A label for the list of answers; empty for a skip."""
    if isinstance(label, NamedBoxes):
        return f"{len(label.boxes)} box{'' if len(label.boxes) == 1 else 'es'}"
    if isinstance(label, NamedClasses):
        return ";".join(label.yes) or NONE_OF_THESE
    return label or ""
