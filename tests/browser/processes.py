"""Real services as subprocesses, and folders of images for them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
START_SECONDS = 120
COLOURS = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (50, 70, 210)}


class Service:
    """One of the two services; `kill` is kill -9, after which `start` begins again on the same port."""

    def __init__(self, module: str, workspace: Path, *arguments: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [
            sys.executable,
            "-m",
            module,
            "--workspace",
            str(workspace),
            "--port",
            str(self.port),
            *arguments,
        ]
        self._process: subprocess.Popen[str] | None = None
        self._output: list[str] = []
        self.http = httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    def start(self) -> None:
        """Start it, without waiting for it."""
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def wait(self) -> None:
        """Wait until it serves."""
        assert self._ready.wait(START_SECONDS), "".join(self._output)
        assert self.running, "".join(self._output)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._reader.join()

    def close(self) -> None:
        self.kill()
        self.http.close()

    def get(self, path: str, **query: Any) -> Any:
        return self.http.get(path, params=query).raise_for_status().json()

    def post(self, path: str, body: Any) -> Any:
        return self.http.post(path, json=body).raise_for_status().json()

    def rows(self, annotator: str) -> list[dict[str, Any]]:
        """What the log holds of the annotator."""
        log = self.get("/api/annotations", limit=5000)["annotations"]
        return [row for row in log if row["annotator"] == annotator]

    def class_ids(self) -> dict[str, int]:
        return {each["name"]: each["id"] for each in self.get("/api/project")["classes"]}

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self._output.append(line)
                if " ready at " in line:
                    self._ready.set()
        self._ready.set()  # it ended


@contextlib.contextmanager
def running_labeler(workspace: Path, images: Path, classes: Sequence[str], *arguments: str) -> Iterator[Service]:
    """A labeler whose trainer is away."""
    given = ["--images", str(images), "--trainer-url", f"http://127.0.0.1:{free_port()}", *arguments]
    service = Service("labeler", workspace, *(["--classes", ",".join(classes)] if classes else []), *given)
    with contextlib.closing(service):
        service.start()
        service.wait()
        yield service


@contextlib.contextmanager
def running_pair(
    workspace: Path, images: Path, classes: Sequence[str], *arguments: str
) -> Iterator[tuple[Service, Service]]:
    """Labeler and trainer. `arguments` are the labeler's."""
    labeler_port, trainer_port = free_port(), free_port()
    labeler = Service(
        "labeler",
        workspace,
        "--images",
        str(images),
        "--classes",
        ",".join(classes),
        "--trainer-url",
        f"http://127.0.0.1:{trainer_port}",
        *arguments,
        port=labeler_port,
    )
    trainer = Service("trainer", workspace, "--backbone", "pixels", "--labeler-url", labeler.url, port=trainer_port)
    with contextlib.closing(labeler), contextlib.closing(trainer):
        for service in (labeler, trainer):
            service.start()
        for service in (labeler, trainer):
            service.wait()
        yield labeler, trainer


def write_images(folder: Path, count: int) -> Path:
    """Small noisy pictures in three colours, named by colour; all differ."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(count):
        name, colour = list(COLOURS.items())[number % len(COLOURS)]
        pixels = np.clip(np.array(colour) + generator.normal(0, 30, (24, 24, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{name} {number}.png")
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
