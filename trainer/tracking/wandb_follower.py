"""Figures kept with wandb beside our own files, for whoever looks at many projects there: the trainer's side.

It is a follower of what is on disk already, the evaluations of the replica and the versions of the registry, so that
nothing which matters lives with wandb alone, and what a kill costs there is told again: every run begins with the whole
curve. wandb itself runs in a process of its own (`trainer.tracking.wandb_process`), begun when there is a first figure
to keep, at the lowest priority. Nothing here is called by the loop; it holds one ranked list at most, and a process
that hangs or fails costs a sentence in `/status`.
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
END_SECONDS = 3.0  # that wandb has to write the rest when the trainer ends
PAUSES = (5.0, 60.0, 600.0)  # seconds until it is tried again
IMAGES = 8
"""Of each list that is kept, the first images."""


class TrackingFailed(Exception):  # noqa: N818
    """wandb does not keep anything now; the message says why."""


class Tracker:
    """Follows `replica` and `registry`. `start` it, tell it what was `asked`, `close` it."""

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
        self._known_versions = self._versions()  # those that were there at the start are of earlier runs
        self._known_last = self._last()
        self._stopped = threading.Event()
        self._log_id: UUID | None = None
        self._told = 0  # evaluations that the run has, and the last of them
        self._told_last: UUID | None = None
        self._told_versions: set[str] = set()
        self._forget()
        self._thread = threading.Thread(target=self._follow, name="tracking", daemon=True)

    def start(self) -> None:
        """Begin to follow; returns at once, and starts no process before there is something new to keep."""
        if self._settings.tracking != "off":
            self._thread.start()

    def asked(self, push: QueryPush) -> None:
        """The list in force; its first images are kept with the next evaluation."""
        self._asked = push

    def status(self) -> Tracking:
        """Where figures are kept, or why not."""
        return Tracking(mode=self._settings.tracking, run=self._run, error=self._error)

    def close(self) -> None:
        """Let wandb write what it has, for a few seconds."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(2 * END_SECONDS)
            process = self._process
            if self._thread.is_alive() and process is not None:  # it hangs, and the thread with it
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
                self._tell_news()  # what the stop measured and saved
        except (TrackingFailed, OSError) as error:
            logger.warning("Tracking: %s", error)
        self._end()

    def _tell_news(self) -> bool:
        """Whether there was any, and wandb took it."""
        if self._process is not None and self._process.poll() is not None:
            raise TrackingFailed(self._last_words())
        with self._replica.lock:
            log_id, evaluations = self._replica.log_id, list(self._replica.evaluations)
        if log_id != self._log_id:  # another project: its curve is another run
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
        """With the newest evaluation, the confusion and what is asked next."""
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
        evaluations = self._replica.evaluations  # looked at once: another log brings another list
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
            raise TrackingFailed("wandb has ended.")
        try:
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()
        except (OSError, ValueError):  # closed, by whichever side
            raise TrackingFailed(self._last_words()) from None

    def _answer(self) -> dict[str, Any]:
        """The next thing that the process says; nothing when it has ended."""
        process = self._process
        try:
            line = process.stdout.readline() if process is not None and process.stdout is not None else ""
            return dict(json.loads(line)) if line else {}
        except (ValueError, OSError):
            return {}

    def _last_words(self) -> str:
        return str(self._answer().get("error", f"wandb's process has ended without saying why; see {self._log}."))

    def _end(self) -> None:
        """Let the process write what it has, or kill it."""
        process, self._process = self._process, None
        self._forget()
        if process is None:
            return
        try:
            if process.stdin is not None:
                process.stdin.close()
        except OSError:  # it went first
            pass
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def _forget(self) -> None:
        """The next run is told everything from its beginning."""
        self._run = None
        self._log_id = self._replica.log_id
        self._told, self._told_last = 0, None
        self._told_versions = set()
