"""The live model's predictions for the pool, as last fetched from the trainer.

They are fetched when a page needs them, and kept while the model is the same. If the model changes with every batch,
they are fetched at most once every few seconds: a hundred thousand predictions are a megabyte.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from labeler.errors import Conflict, Unreachable
from labeler.trainer_link.controls import Trainer
from shared.settings.project_file import trainer_command

KEPT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Prediction:
    """The most probable class of an image, and its probability."""

    label: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Predicted:
    """The predictions of one model, by image id."""

    model_version: str | None
    images: dict[int, Prediction]


NOTHING = Predicted(None, {})


class Predictions:
    """The predictions for the log `log_id`; thread-safe, does not need the store's lock."""

    def __init__(self, trainer: Trainer, log_id: UUID, workspace: Path) -> None:
        self._start = trainer_command(workspace)
        self._trainer = trainer
        self._log_id = log_id
        self._fetching = threading.Lock()
        self._last = NOTHING
        self._fetched_at = 0.0

    def check(self) -> None:
        """Raise Unreachable without a trainer, and Conflict if it has another project's images or none."""
        status = self._trainer.status()
        if status is not None and status.log_id != self._log_id:
            status = self._trainer.status_now()  # it may have changed since the last status
        if status is None and self._trainer.away == "taken":
            raise Conflict(self._trainer.view().last_error or "The trainer follows another labeler.")
        if status is None:
            raise Unreachable(f"The trainer does not answer. Start it with: {self._start}")
        if status.log_id != self._log_id:
            raise Conflict("The trainer does not know this project yet. Try again in a moment.")

    def get(self) -> Predicted:
        """The predictions of the newest model, at most a few seconds old. Raises Unreachable, and Conflict without a
        model."""
        self.check()
        # While another thread is fetching, use the last predictions, if any.
        if self._fetching.acquire(blocking=self._last is NOTHING):
            try:
                if self._stale():
                    self._fetch()
            finally:
                self._fetching.release()
        return self._last

    def last(self) -> Predicted:
        """The predictions last fetched, without a request."""
        return self._last

    def _stale(self) -> bool:
        status = self._trainer.status()
        same = status is not None and status.model_version == self._last.model_version
        recent = time.monotonic() - self._fetched_at < KEPT_SECONDS
        return self._last is NOTHING or not (same or recent)

    def _fetch(self) -> None:
        said = self._trainer.predictions()
        columns = zip(said.image_ids, said.labels, said.confidences, strict=True)
        images = {image_id: Prediction(label, confidence) for image_id, label, confidence in columns}
        self._last = Predicted(said.model_version, images)
        self._fetched_at = time.monotonic()
