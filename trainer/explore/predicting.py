"""Predicts images with a saved version, the promoted version, or the live model."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.pool_predictions import PredictionColumns
from shared.wire.images import ImageEntry
from shared.wire.models import Predictions
from trainer.columns.spread_rows import over
from trainer.live_detector.pictures import Pictures
from trainer.loop.live_model import NotInPool, NotReady
from trainer.loop.loop import Loop
from trainer.loop.rounds import Model
from trainer.sync.image_source import Photos
from trainer.sync.replica import Replica
from trainer.tasks.registry import task_named
from trainer.tasks.task import Task
from trainer.versions.library import Versions, as_predictions


class Predictor:
    """Predicts with the saved `versions` and with the live model of `loop`."""

    def __init__(
        self, loop: Loop, versions: Versions, replica: Replica, photos: Photos, pictures: Pictures | None = None
    ) -> None:
        self._loop = loop
        self._pictures = pictures
        self._versions = versions
        self._replica = replica
        self._photos = photos
        self._pool: tuple[Hashable, PredictionColumns] | None = None  # the latest predictions for the whole pool

    def predict(self, image_ids: Sequence[int], version: str | None = None) -> Predictions:
        """Predict catalogued images, in the given order, with a saved version. Default: the promoted one, else the live
        model.

        Raises NotReady, NotInPool, UnknownVersion, RefusedVersion and ImageProblem.
        """
        saved = self._versions.answering(version)
        if saved is not None:
            return self._versions.predict(saved, [self._photos.fetch(entry) for entry in self._known(image_ids)])
        live = self._loop.live
        model, embedder = live.ready(self._task()), live.embedder
        if model.task.learns_from_images:
            return self._found(model, [self._photos.fetch(entry) for entry in self._known(image_ids)])
        entries = [self._replica.catalog.get(image_id) for image_id in image_ids]
        for image_id, entry in zip(image_ids, entries, strict=True):
            if entry is None or not embedder.has(entry.sha256):
                raise NotInPool(f"Image {image_id} is unknown, or not embedded yet.")
        return self._told(model, embedder.read([entry.sha256 for entry in entries if entry is not None]))

    def predict_uploads(self, images: Sequence[bytes], version: str | None = None) -> Predictions:
        """Predict images that are not in the catalogue. Raises the same errors as `predict`."""
        saved = self._versions.answering(version)
        if saved is not None:
            return self._versions.predict(saved, images)
        live = self._loop.live
        model = live.ready(self._task())
        if model.task.learns_from_images:
            return self._found(model, images)
        return self._told(model, live.embedder.embed_images(images))

    def pool(self) -> PredictionColumns:
        """The live model's most likely outcome for every train image. Raises NotReady."""
        live = self._loop.live
        model, space = live.ready(self._task()), live.space()
        if model.task.learns_from_images:
            raise NotReady("A detection project has no class per image to predict.")
        ids, rows = space.train.view()
        if model.geometry != space.version:
            raise NotReady("The embeddings have just changed; ask again in a moment.")
        state = (model.version, len(ids), space.removals)
        known = self._pool
        if known is not None and known[0] == state:
            return known[1]
        found = over(rows, partial(likeliest, task=model.task, head=model.head))  # (N, 2)
        labels = model.task.outcomes(model.head)[found[:, 0].astype(np.int64)].astype(np.int32)
        said = PredictionColumns(model.version, ids, labels, np.clip(found[:, 1], 0, 1))
        self._pool = (state, said)
        return said

    def _task(self) -> Task:
        return task_named(self._replica.fold.task.name)

    def _known(self, image_ids: Sequence[int]) -> list[ImageEntry]:
        """The entries of catalogued images. Raises NotInPool."""
        entries = [self._replica.catalog.get(image_id) for image_id in image_ids]
        known = [entry for entry in entries if entry is not None]
        if len(known) < len(entries):
            raise NotInPool(f"Image {image_ids[entries.index(None)]} is unknown.")
        return known

    def _found(self, model: Model, images: Sequence[bytes]) -> Predictions:
        """Detect boxes with the live detector, at its threshold. Raises ImageProblem."""
        from trainer.versions.detectors import in_todays_boxes

        if self._pictures is None:
            raise NotReady("There is no detector.")
        detector, pictures = model.head, self._pictures
        found = [pictures.find(detector, data, self._photos.limits) for data in images]
        columns = {int(class_id): column for column, class_id in enumerate(detector.classes)}
        found = [replace(each, classes=np.array([columns[int(k)] for k in each.classes], np.int64)) for each in found]
        with self._replica.lock:
            fold = self._replica.fold
            names = {known.id: known.name for known in fold.classes.values()}
            classes = model.task.saved_outcomes(detector, names)
            try:
                return in_todays_boxes(model.version, classes, found, detector.threshold, fold)
            except ValueError as error:
                raise NotReady(str(error)) from None

    def _told(self, model: Model, raw: NDArray[np.float32]) -> Predictions:
        with self._replica.lock:
            names = {known.id: known.name for known in self._replica.fold.classes.values()}
        called = [model.task.outcome_name(int(k), names) for k in model.task.outcomes(model.head)]
        probabilities = model.probabilities(model.projection.transform(raw))
        return as_predictions(model.version, called, probabilities, model.task.chosen(model.head, probabilities))


def likeliest(rows: NDArray[np.float32], *, task: Task, head: Any) -> NDArray[np.float32]:
    """The column of the most likely outcome and its probability (n, 2), so that no table of all outcomes is made."""
    probabilities = task.probabilities(head, rows)
    best = probabilities.argmax(axis=1)
    highest = np.take_along_axis(probabilities, best[:, None], axis=1)
    return np.hstack([best[:, None], highest]).astype(np.float32)
