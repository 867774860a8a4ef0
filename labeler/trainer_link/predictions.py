"""The live model's predictions for the pool, as last fetched from the trainer.

They are fetched when a page needs them, and kept until the model changes. If the model changes with every batch, they
are fetched at most once every few seconds, because a hundred thousand predictions take a megabyte.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labeler.errors import Conflict, Unreachable
from labeler.trainer_link.advice import sentence
from labeler.trainer_link.controls import Trainer

KEPT_SECONDS = 5.0
SOON = 0.5
"""Seconds that a page waits for predictions that it can do without."""
PATIENCE = 10
"""Cache time as a multiple of the fetch time. For a million images, a fetch takes the trainer seconds."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The most probable class of an image, and its probability."""

    label: int
    confidence: float


class PredictedImages(Mapping[int, Prediction]):
    """Predictions by image id, as columns: 16 bytes per image, where a dict of objects takes 200."""

    def __init__(self, ids: ArrayLike, labels: ArrayLike, confidences: ArrayLike) -> None:
        given = np.array(ids, np.int64)
        order = np.argsort(given, kind="stable")
        self._ids = given[order]
        self._labels = np.array(labels, np.int32)[order]
        self._confidences = np.array(confidences, np.float32)[order]

    def classes(self) -> list[int]:
        """The classes that are predicted for any image."""
        found: list[int] = np.unique(self._labels).tolist()
        return found

    def of(self, image_ids: Sequence[int]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Class and confidence (n,) of each image; −1 and NaN without a prediction."""
        wanted = np.array(image_ids, np.int64)
        if not len(self._ids):
            return np.full(len(wanted), -1, np.int32), np.full(len(wanted), np.nan, np.float32)
        places = np.minimum(np.searchsorted(self._ids, wanted), len(self._ids) - 1)
        known = self._ids[places] == wanted
        return np.where(known, self._labels[places], -1), np.where(known, self._confidences[places], np.nan)

    def __getitem__(self, image_id: int) -> Prediction:
        place = int(np.searchsorted(self._ids, image_id))
        if place == len(self._ids) or self._ids[place] != image_id:
            raise KeyError(image_id)
        return Prediction(int(self._labels[place]), round(float(self._confidences[place]), 4))

    def __iter__(self) -> Iterator[int]:
        return iter(self._ids.tolist())

    def __len__(self) -> int:
        return len(self._ids)


@dataclass(frozen=True, slots=True)
class Predicted:
    """The predictions of one model, by image id."""

    model_version: str | None
    images: PredictedImages


NOTHING = Predicted(None, PredictedImages([], [], []))


class Predictions:
    """The predictions for the log `log_id`. Thread-safe without the store's lock."""

    def __init__(self, trainer: Trainer, log_id: UUID, workspace: Path) -> None:
        self._advice = sentence(workspace)
        self._trainer = trainer
        self._log_id = log_id
        self._fetching = threading.Lock()
        self._starting = threading.Lock()
        self._running: Future[None] | None = None  # the latest fetch that `soon` started
        self._last = NOTHING
        self._fetched_at = 0.0
        self._kept = 0.0  # seconds for which they are kept although the model has changed

    def check(self) -> None:
        """Raise Unreachable without a trainer, and Conflict if it has another project or none."""
        status = self._trainer.status()
        if status is not None and status.log_id != self._log_id:
            status = self._trainer.status_now()  # it may have changed since the last status
        if status is None and self._trainer.away == "taken":
            raise Conflict(self._trainer.view().last_error or "The trainer follows another labeler.")
        if status is None:
            raise Unreachable(f"The trainer does not answer. {self._advice}")
        if status.log_id != self._log_id:
            raise Conflict("The trainer does not know this project yet. Try again in a moment.")

    def get(self) -> Predicted:
        """The predictions of the latest model, at most a few seconds old. Raises Unreachable, and Conflict without a
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

    def soon(self) -> Predicted:
        """Like `get`, but waits only `SOON` seconds, and then returns the last ones fetched."""
        self.check()
        if self._stale():
            with self._starting:
                if self._running is None or self._running.done():
                    self._running = Future()
                    threading.Thread(target=self._run, args=(self._running,), name="predictions", daemon=True).start()
                running = self._running
            with suppress(TimeoutError):
                running.result(SOON)
        return self._last

    def last(self) -> Predicted:
        """The predictions last fetched, without a request."""
        return self._last

    def _run(self, future: Future[None]) -> None:
        try:
            with self._fetching:
                if self._stale():
                    self._fetch()
        except Exception as error:  # the waiting callers raise it
            future.set_exception(error)
        else:
            future.set_result(None)

    def _stale(self) -> bool:
        status = self._trainer.status()
        same = status is not None and status.model_version == self._last.model_version
        recent = time.monotonic() - self._fetched_at < self._kept
        return self._last is NOTHING or not (same or recent)

    def _fetch(self) -> None:
        began = time.monotonic()
        said = self._trainer.predictions()
        images = PredictedImages(said.image_ids, said.labels, said.confidences)
        self._last = Predicted(said.model_version, images)
        self._fetched_at = time.monotonic()
        took = self._fetched_at - began
        self._kept = PATIENCE * took if PATIENCE * took > 2 * KEPT_SECONDS > 0 else KEPT_SECONDS
