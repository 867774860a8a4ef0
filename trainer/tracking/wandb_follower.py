"""Metrics for wandb, in addition to our own files, for people who follow many projects there: the trainer's side.

It follows what is on disk already: the evaluations of the replica and the versions of the registry. So nothing
important exists only in wandb, and what a kill loses there is sent again: every run starts with the whole curve. wandb
runs in its own process (`trainer.tracking.wandb_process`), started at the lowest priority when there is a first metric
to send. The loop never calls this module. At most one ranked list is kept, and a process that hangs or fails is
reported in `/status`.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from shared.processes import child_environment
from shared.settings.services import TrainerSettings
from shared.wire.evaluation import Evaluation
from shared.wire.queries import QueryPush
from shared.wire.trainer import Tracking
from trainer.sync.replica import Replica
from trainer.versions.registry import Registry

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
END_SECONDS = 3.0  # time for wandb to write the rest when the trainer stops
PAUSES = (5.0, 60.0, 600.0)  # seconds before the next attempt
IMAGES = 8
"""Number of first images kept of each list."""


class TrackingFailed(Exception):  # noqa: N818
    """wandb does not work now; the message says why."""


class Tracker:
    """Follows `replica` and `registry`. Call `start`, report lists to `asked`, and `close`."""

    def __init__(self, settings: TrainerSettings, replica: Replica, registry: Registry) -> None:
        self._settings = settings
        self._replica = replica
        self._registry = registry
        workspace = Path(settings.workspace).absolute()
        self._folder, self._log = workspace / "wandb", workspace / "trainer" / "wandb.log"
        self._process: subprocess.Popen[str] | None = None
        self._run: str | None = None
        self._error: str | None = None
        self._asked: QueryPush | None = None
        self._known_versions = self._versions()  # versions at the start belong to earlier runs
        self._known_last = self._last()
        self._stopped = threading.Event()
        self._log_id: UUID | None = None
        self._told = 0  # number of evaluations sent, and the last of them
        self._told_last: UUID | None = None
        self._told_versions: set[str] = set()
        self._forget()
        self._thread = threading.Thread(target=self._follow, name="tracking", daemon=True)

    def start(self) -> None:
        """Start the thread; returns at once. No process starts until there is something new to send."""
        if self._settings.tracking != "off":
            self._thread.start()

    def asked(self, push: QueryPush) -> None:
        """Set the current list; its first images are sent with the next evaluation."""
        self._asked = push

    def status(self) -> Tracking:
        """The address of the run, or the error."""
        return Tracking(mode=self._settings.tracking, run=self._run, error=self._error)

    def close(self) -> None:
        """Give wandb a few seconds to write the rest."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(2 * END_SECONDS)
            process = self._process
            if self._thread.is_alive() and process is not None:  # the process hangs, and so does the thread
                process.kill()
                self._thread.join(END_SECONDS)

    # ------------------------------------------------------------ the thread

    def _follow(self) -> None:
        failures = 0
        while not self._stopped.wait(LOOK_SECONDS):
            try:
                if self._tell_news():
                    failures, self._error = 0, None
            except (TrackingFailed, OSError) as error:
                self._error = str(error)
                logger.warning("Tracking: %s", error)
                self._end()
                self._stopped.wait(PAUSES[min(failures, len(PAUSES) - 1)])
                failures += 1
        try:
            if self._process is not None:
                self._tell_news()  # the final measurements and files
        except (TrackingFailed, OSError) as error:
            logger.warning("Tracking: %s", error)
        self._end()

    def _tell_news(self) -> bool:
        """Send new data. Returns whether there was any and wandb accepted it."""
        if self._process is not None and self._process.poll() is not None:
            raise TrackingFailed(self._last_words())
        with self._replica.lock:
            log_id, evaluations = self._replica.log_id, list(self._replica.evaluations)
        if log_id != self._log_id:  # another project gets its own run
            self._end()
            self._log_id = log_id
        last = evaluations[-1].id if evaluations else None
        versions = sorted(self._versions() - self._known_versions - self._told_versions)
        if not versions and last in (self._known_last, self._told_last):
            return False
        if self._process is None:
            self._begin()
            self._log_id = log_id
        for evaluation in evaluations[self._told :]:
            said = evaluation.model_dump(mode="json", exclude={"advice", "random_baseline", "calibration"})
            self._write({"evaluation": said, **self._media(evaluation, evaluations)})
            self._told += 1
            self._told_last = evaluation.id
        for name in versions:
            self._write({"version": str(self._registry.folder / name)})
            self._told_versions.add(name)
        return True

    def _media(self, evaluation: Evaluation, evaluations: list[Evaluation]) -> dict[str, Any]:
        """For the newest evaluation: the confusion matrix and the upcoming images."""
        if evaluation is not evaluations[-1]:
            return {}
        images, push = [], self._asked
        if push is not None and push.log_id == evaluation.log_id:
            for query in push.queries[:IMAGES]:
                entry = self._replica.catalog.get(query.image_id)
                if entry is not None:
                    images.append({"entry": entry.model_dump(mode="json"), "reason": query.reason or push.strategy})
        return {"images": images, "newest": True}

    def _versions(self) -> set[str]:
        return {path.parent.name for path in self._registry.folder.glob("[!.]*/model.json")}

    def _last(self) -> UUID | None:
        evaluations = self._replica.evaluations  # read once: another log replaces the list
        return evaluations[-1].id if evaluations else None

    # ------------------------------------------------------------ the process

    def _begin(self) -> None:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "trainer.tracking.wandb_process",
                    str(self._folder),
                    str(self._replica.log_id),
                ],
                env=child_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                start_new_session=True,
            )
        self._write(json.loads(self._settings.model_dump_json()))
        begun = self._answer()
        if "run" not in begun:
            raise TrackingFailed(str(begun.get("error", "wandb did not start")))
        self._run = str(begun["run"])

    def _write(self, message: Mapping[str, Any]) -> None:
        process = self._process
        if process is None or process.stdin is None:
            raise TrackingFailed("The wandb process has ended.")
        try:
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()
        except (OSError, ValueError):  # either side closed it
            raise TrackingFailed(self._last_words()) from None

    def _answer(self) -> dict[str, Any]:
        """The next message of the process; empty when it has ended."""
        process = self._process
        try:
            line = process.stdout.readline() if process is not None and process.stdout is not None else ""
            return dict(json.loads(line)) if line else {}
        except (ValueError, OSError):
            return {}

    def _last_words(self) -> str:
        return str(self._answer().get("error", f"The wandb process ended without a reason; see {self._log}."))

    def _end(self) -> None:
        """Give the process time to write the rest, then kill it."""
        process, self._process = self._process, None
        self._forget()
        if process is None:
            return
        try:
            if process.stdin is not None:
                process.stdin.close()
        except OSError:  # the process ended first
            pass
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def _forget(self) -> None:
        """Reset, so that the next run gets everything from the beginning."""
        self._run = None
        self._log_id = self._replica.log_id
        self._told, self._told_last = 0, None
        self._told_versions = set()
