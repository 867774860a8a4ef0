"""The Python client's connection to both services: it finds or starts them, sends requests, and ends them.

A failure is a `FlywheelError` with one sentence and the address.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar
from uuid import uuid4

from commands.labels.imports import wait_for_scan
from commands.running.launching import Pair
from commands.running.place import find
from commands.running.reach import client, reach
from commands.running.reach import token as token_here
from commands.running.supervisor import Child
from shared.settings.services import SettingsError

T = TypeVar("T")
TIMEOUT_SECONDS = 60.0  # of one request
START_SECONDS = 300.0  # loading torch on a cold disk
PAUSE_SECONDS = 0.1


class FlywheelError(Exception):
    """A service refused, or did not answer in time. The message says what to do."""


class Connection:
    """The addresses of both services, and requests to them."""

    def __init__(
        self,
        labeler: str | None = None,
        trainer: str | None = None,
        *,
        workspace: str | Path | None = None,
        annotator: str = "me",
        token: str | None = None,
    ) -> None:
        """Connect to running services, found as commands find them: by these addresses, else by FLYWHEEL_LABELER_URL
        and FLYWHEEL_TRAINER_URL, else by `workspace`.

        `token` or FLYWHEEL_TOKEN is sent to services that require it. Raises FlywheelError if `workspace` is not a
        workspace, or if its services do not run.
        """
        self.annotator, self._token = annotator, token or token_here()
        try:
            place = find(None if workspace is None else Path(workspace), labeler, trainer)
            self.labeler, self.trainer = place.addresses
        except SettingsError as error:
            raise FlywheelError(str(error)) from None
        self._labeler = client(self.labeler, seconds=TIMEOUT_SECONDS, token=self._token)
        self._trainer = client(self.trainer, seconds=TIMEOUT_SECONDS, token=self._token)
        self._session = str(uuid4())
        self._pair: Pair | None = None

    @classmethod
    def launch(
        cls,
        images: str | Path,
        workspace: str | Path = "workspace",
        *,
        classes: Sequence[str] = (),
        annotator: str = "me",
        labeler: Mapping[str, Any] | None = None,
        trainer: Mapping[str, Any] | None = None,
    ) -> Self:
        """Start both services on this machine, and wait until the image folder is read; `close` ends them.

        `labeler` and `trainer` are settings as docs/reference/settings.md names them. To label, open the address
        `labeler` of the result in a browser. Raises FlywheelError if a service does not start.
        """
        try:
            pair = Pair(images, workspace, classes, labeler or {}, trainer or {})
        except SettingsError as error:
            raise FlywheelError(str(error)) from None
        flywheel = cls(pair.labeler, pair.trainer, annotator=annotator)
        flywheel._pair = pair
        try:
            pair.start()
            for child in pair.children:
                flywheel._wait(partial(_is_ready, child), f"the {child.name} to start", START_SECONDS)
            flywheel._told(lambda: wait_for_scan(pair.labeler, token=flywheel._token, on_progress=lambda _, __: None))
            flywheel._wait(flywheel._is_followed, "the trainer to follow the labeler", START_SECONDS)
        except BaseException:
            flywheel.close()
            raise
        return flywheel

    @property
    def children(self) -> list[Child]:
        """The processes that `launch` started."""
        return [] if self._pair is None else self._pair.children

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the services that `launch` started. Other services keep running."""
        if self._pair is not None:
            self._pair.end()
        self._labeler.close()
        self._trainer.close()

    def _get(self, path: str, **request: Any) -> Any:
        return self._told(lambda: self._labeler.get(path, **request).raise_for_status().json())

    def _post(self, path: str, body: Any) -> Any:
        return self._told(lambda: self._labeler.post(path, json=body).raise_for_status().json())

    def _told(self, act: Callable[[], T]) -> T:
        """The result of `act`. Each error becomes one sentence with the address."""
        try:
            return reach(self.labeler, act)
        except SettingsError as error:
            raise FlywheelError(str(error)) from None

    def _is_followed(self) -> bool:
        """Whether the trainer follows this labeler's log, so that it can answer for its images."""
        followed = self._trainer.get("/status").raise_for_status().json()["log_id"]
        return bool(followed == self._get("/api/project")["log_id"])

    def _wait(self, condition: Callable[[], Any], what: str, seconds: float) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := self._told(condition):
                return found
            time.sleep(PAUSE_SECONDS)
        raise FlywheelError(f"Waited {seconds:.0f} s for {what}.")


def _is_ready(child: Child) -> bool:
    if child.process is not None and child.process.poll() is not None:
        raise FlywheelError(f"The {child.name} ended with code {child.process.returncode}; see its message above.")
    return child.ready.is_set()
