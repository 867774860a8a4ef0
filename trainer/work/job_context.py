"""The inputs of a job: its request, the images that it may read, and a way to report progress."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.settings.services import TrainerSettings
from shared.wire.images import ImageEntry
from shared.wire.jobs import Job, JobProgress
from trainer.embeddings.backbones.preparation import Preprocessing
from trainer.sync.image_source import Photos
from trainer.versions.registry import Registry

TELL_SECONDS = 0.3


@dataclass(frozen=True)
class LabeledImage:
    """A row of images.jsonl: an image and its class today, or None. Other tasks have an `answer` instead: multi-label
    the class ids of `yes` and `no`, detection the `boxes`, each with class, corner and size.

    If a challenger is judged on the image: its `fold` (None: there are no folds) and the prediction of the `head`.
    """

    image_id: int
    uri: str
    sha256: str
    split: str
    class_id: int | None
    fold: int | None = None
    head: Any = None
    answer: dict[str, list[Any]] | None = None

    @property
    def label(self) -> int | None:
        """The class, under the name that it has in rows of the log."""
        return self.class_id

    @property
    def cells(self) -> dict[str, Any]:
        """The first columns of a version's dataset.csv."""
        return {"image_id": self.image_id, "uri": self.uri, "sha256": self.sha256, "split": self.split}

    @property
    def entry(self) -> ImageEntry:
        """The image as a catalogue entry."""
        return ImageEntry.model_validate(
            {"id": self.image_id, "uri": self.uri, "sha256": self.sha256, "split": self.split, "removed": False}
        )


@dataclass
class Work:
    """The inputs of a job."""

    folder: Path
    job: Job
    settings: TrainerSettings
    images: list[LabeledImage]
    photos: Photos
    registry: Registry
    backbones: Path
    _told: float = field(default=0.0)

    def tell(self, done: int, total: int, message: str, *, seconds_left: float | None = None, **metrics: float) -> None:
        """Write the progress, at most a few times per second."""
        now = time.monotonic()
        if done < total and now - self._told < TELL_SECONDS:
            return
        self._told = now
        progress = JobProgress(done=done, total=total, message=message, seconds_left=seconds_left, metrics=metrics)
        partial = self.folder / "progress.part"  # no fsync: it is written often, and may be lost
        partial.write_text(progress.model_dump_json(), encoding="utf-8")
        partial.replace(self.folder / "progress.json")

    def trained_before(self, name: str) -> dict[str, Any] | None:
        """The result of this same training job, if it was killed after it had saved the version `name`.

        Raises FileExistsError for a version of another job.
        """
        try:
            said = self.registry.get(name).description
        except KeyError:
            return None
        if said.config.get("job") != self.job.id:
            raise FileExistsError(f"Model version {name!r} already exists, and versions are never overwritten.")
        return dict(said.config["trained"])

    def fetch(self, image: LabeledImage) -> bytes:
        """The content of the image. Raises ImageProblem."""
        return self.photos.fetch(image.entry)

    def read(self, image: LabeledImage, preprocessing: Preprocessing) -> NDArray[np.uint8]:
        """The image as a network's input (3, S, S). Raises ImageProblem."""
        return preprocessing.read(self.fetch(image), self.photos.limits)
