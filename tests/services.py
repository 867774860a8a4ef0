"""Both real services as processes, for tests that start, query, kill and restart them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx
import numpy as np
from PIL import Image

from shared.web.auth import TOKEN_VARIABLE, client_headers
from tests import forks
from tests.patience import patience

HOME = Path(__file__).resolve().parent.parent
COLOURS = {"red": (205, 40, 40), "green": (40, 180, 60), "blue": (45, 60, 205)}
START_SECONDS = 120.0
T = TypeVar("T")


def write_photos(folder: Path, count: int, *, seed: int = 0) -> dict[str, str]:
    """`count` small images of three classes in `folder`; returns the truth, file name → class."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    truth = {}
    for number in range(count):
        name = list(COLOURS)[number % len(COLOURS)]
        noise = rng.normal(0, 30, (16, 16, 3))
        pixels = np.clip(np.array(COLOURS[name]) + noise, 0, 255).astype(np.uint8)
        path = folder / f"{seed}-{number:05d}.png"
        Image.fromarray(pixels).save(path)
        truth[path.name] = name
    return truth


def free_port() -> int:
    """A port of loopback on which nothing listens now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def wait_for(condition: Callable[[], T | None], what: str = "it", seconds: float = 60.0) -> T:
    """The first true value of `condition`; AssertionError if it takes too long. Requests may fail meanwhile."""
    began, pause = time.monotonic(), 0.01
    last: Exception | None = None
    while (waited := time.monotonic() - began) < patience(seconds):
        try:
            found = condition()
        except (httpx.HTTPError, KeyError) as error:
            found, last = None, error
        if found:
            return found
        time.sleep(pause)
        pause = min(1.3 * pause, max(0.15, 0.02 * waited))  # asking costs what is waited for
    raise AssertionError(f"{what} did not come about within {waited:.0f} s ({last or 'no error'})")


@dataclass
class Process:
    """One service; `start` and `kill` it as often as you like. Its output is in `log`.

    A `cold` one imports everything, as for a user; others are forked from a process that has done so. `program`: the
    module that starts it, if not the service itself.
    """

    name: str
    settings: dict[str, Any]
    port: int = field(default_factory=free_port)
    environment: dict[str, str] = field(default_factory=dict)
    cold: bool = False
    program: str | None = None
    process: forks.Fork | subprocess.Popen[str] | None = None
    log: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it reports that it is ready."""
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in self.settings.items()]
        self.process = forks.start(
            self.program or self.name,
            [f"--port={self.port}", *flags],
            {**os.environ, **self.environment},
            cold=self.cold,
        )
        ready = threading.Event()
        threading.Thread(target=self._listen, args=(self.process, ready), daemon=True).start()
        if wait:
            assert ready.wait(patience(START_SECONDS)), f"the {self.name} did not start:\n" + "".join(self.log[-30:])

    def kill(self) -> None:
        """Kill it, without a chance to clean up."""
        self.end(signal.SIGKILL)

    def end(self, how: signal.Signals = signal.SIGTERM, seconds: float = 20.0) -> int:
        """End it; returns the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(seconds)

    def _listen(self, process: forks.Fork | subprocess.Popen[str], ready: threading.Event) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self.log.append(line)
                if f"{self.name.capitalize()} ready at " in line:
                    ready.set()


@dataclass
class Services:
    """A labeler and a trainer that know each other, and the true classes of their images."""

    workspace: Path
    photos: Path
    truth: dict[str, str]
    labeler: Process
    trainer: Process
    token: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Headers that authorize a request."""
        return client_headers(self.token)

    def get(self, path: str) -> Any:
        """GET from the labeler."""
        return httpx.get(self.labeler.url + path, headers=self.headers, timeout=20).raise_for_status().json()

    def status(self) -> Any:
        """The trainer's own status."""
        return httpx.get(self.trainer.url + "/status", headers=self.headers, timeout=20).raise_for_status().json()

    def rows(self) -> list[dict[str, Any]]:
        """The whole annotation log."""
        found: list[dict[str, Any]] = []
        while page := self.get(f"/api/annotations?after={len(found)}&limit=5000")["annotations"]:
            found += page
        return found

    def queue(self, annotator: str = "ann", limit: int = 1, session: str | None = None) -> list[dict[str, Any]]:
        """The next images of a page."""
        return list(self.get(f"/api/queue?annotator={annotator}&session={session or annotator}&limit={limit}")["items"])

    def names(self) -> dict[int, str]:
        """Image id → file name."""
        page = self.get("/api/images?after=0&limit=10000")
        return {entry["id"]: Path(entry["uri"]).name for entry in page["images"]}

    def annotate(self, answers: list[dict[str, Any]]) -> httpx.Response:
        """Post answers unchanged."""
        url = self.labeler.url + "/api/annotations"
        return httpx.post(url, json={"annotations": answers}, headers=self.headers, timeout=20)

    def annotate_all(
        self,
        confirmed: list[str],
        *,
        pause: float = 0.0,
        held: Callable[[str], dict[str, Any]] = lambda truth: {"label": truth},
    ) -> None:
        """Label every image with its true class, one by one, retrying each with the same id until it is confirmed.

        Appends the ids of the answers to `confirmed`, and pauses `pause` seconds after each. `held` makes of the class
        what an answer holds.
        """
        for image_id, name in self.names().items():
            truth = self.truth[name]
            answer = self.answer(image_id, truth) | {"label": None} | held(truth)
            while True:
                try:
                    self.annotate([answer]).raise_for_status()
                    break
                except httpx.HTTPError:
                    time.sleep(0.05)
            confirmed.append(str(answer["id"]))
            time.sleep(pause)

    def label(self, count: int, annotator: str = "ann") -> list[dict[str, Any]]:
        """Label the next `count` images with their true classes; returns the answers."""
        names, given = self.names(), []
        for _ in range(count):
            (item,) = self.queue(annotator)
            answer = self.answer(item["image_id"], self.truth[names[item["image_id"]]], annotator)
            self.annotate([answer]).raise_for_status()
            given.append(answer)
        return given

    def label_at_once(self, count: int, annotator: str = "ann") -> list[dict[str, Any]]:
        """Ask for the next `count` images, at most 200, and label all of them in one request; returns the answers.

        The trainer learns them in one round.
        """
        names = self.names()
        items = self.queue(annotator, count)
        given = [self.answer(each["image_id"], self.truth[names[each["image_id"]]], annotator) for each in items]
        self.annotate(given).raise_for_status()
        return given

    @staticmethod
    def answer(image_id: int, label: str, annotator: str = "ann") -> dict[str, Any]:
        """One answer with its own id."""
        return {"id": str(uuid4()), "image_id": image_id, "action": "label", "label": label, "annotator": annotator}

    def caught_up(self) -> bool:
        """Whether the trainer has every row."""
        project = self.get("/api/project")
        status = self.status()
        return bool(status["log_id"] == project["log_id"] and status["acked_seq"] == project["last_seq"])


@contextmanager
def running_services(
    *,
    images: int = 90,
    labeler: dict[str, Any] | None = None,
    trainer: dict[str, Any] | None = None,
    start_trainer: bool = True,
    workspace: Path | None = None,
    token: str | None = None,
    labeler_program: str | None = None,
) -> Iterator[Services]:
    """Both services on `images` small photos of three colours, in their own workspace; ended afterwards."""
    with tempfile.TemporaryDirectory(prefix="flywheel-", ignore_cleanup_errors=True) as folder:
        photos, workspace = Path(folder) / "photos", workspace or Path(folder) / "workspace"
        truth = write_photos(photos, images)
        one = Process(
            "labeler",
            {"images": photos, "workspace": workspace, "classes": ",".join(COLOURS), "buffer_seconds": 1},
            program=labeler_program,
        )
        other = Process(
            "trainer", {"workspace": workspace, "images": photos, "backbone": "pixels", "labeler_url": one.url}
        )
        one.settings |= {"trainer_url": other.url, **(labeler or {})}
        other.settings |= trainer or {}
        if token is not None:
            for process in (one, other):
                process.environment[TOKEN_VARIABLE] = token
        services = Services(workspace, photos, truth, one, other, token)
        try:
            if start_trainer:
                other.start(wait=False)
            one.start()
            wait_for(lambda: not services.get("/api/project")["scanning"]["running"], "the scan", 60 + images / 50)
            if start_trainer:
                wait_for(services.status, "the trainer", START_SECONDS)
            yield services
        finally:
            for process in (one, other):
                if process.process is not None and process.process.poll() is None:
                    process.kill()
