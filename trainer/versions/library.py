"""What can be done with saved versions: list, promote, roll back, delete, export, and predict.

The promoted version answers `POST /predict`. While none is promoted, the current model answers, which learns with every
batch. Queries always come from the current model. This module knows no HTTP.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shared.figures import METRIC_NAMES, goal_metric
from shared.images.opening import ImageLimits, ImageProblem
from shared.settings.services import TrainerSettings
from shared.tasks.multilabel import cell_of
from shared.web import audit
from shared.wire.evaluation import Evaluation, Interval
from shared.wire.models import ModelList, ModelVersion, Prediction, Predictions, Pruned
from trainer.gpu.memory import give_back
from trainer.sync.replica import Replica
from trainer.tasks.registry import task_named
from trainer.versions.promotion import warning
from trainer.versions.registry import NOW, RefusedVersion, Registry, StillNeeded, Version
from trainer.versions.saved_learners import finds_boxes

if TYPE_CHECKING:  # torch takes seconds to import; comparing images by pixels does not need it
    from trainer.versions.predictor import Classifier

FILES = {"safetensors": "model.safetensors", "json": "model.json", "csv": "dataset.csv"}
"""Format → file in a version's folder, exported unchanged."""


class Versions:
    """The registry of one trainer, applied to the project in `replica`.

    `also_needed` returns further versions that must stay, as name → reason. `measured` returns the metrics of the
    current model.
    """

    def __init__(
        self,
        registry: Registry,
        replica: Replica,
        settings: TrainerSettings,
        backbones: Path,
        also_needed: Callable[[], dict[str, str]],
        measured: Callable[[], Evaluation | None],
    ) -> None:
        self.registry = registry
        self._replica = replica
        self._settings = settings
        self._backbones = backbones
        self._also_needed = also_needed
        self._measured = measured
        self._limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
        self._loading = Lock()
        self._loaded: tuple[str, Classifier] | None = None  # hash and classifier of the version used last

    def list(self) -> ModelList:
        """All versions, oldest first, and the promoted one."""
        found, refused = self.registry.list()
        promoted = self.registry.promoted
        return ModelList(
            models=[self._told(version, promoted) for version in found], promoted=promoted, unreadable=refused
        )

    def show(self, name: str) -> ModelVersion:
        """One version. Raises UnknownVersion, RefusedVersion."""
        return self._told(self.registry.get(name), self.registry.promoted)

    def promote(self, name: str, *, confirmed: bool = True) -> ModelList:
        """Make a version answer predictions, or the current model if `name` is `now`. Raises UnknownVersion,
        RefusedVersion.

        The version is built first, so that one that cannot predict is never in use. The answer contains a warning if
        the version is worse or was never measured; then it is promoted only if `confirmed`.
        """
        if name != NOW:
            self._classifier(self.registry.get(name))
        used = self.registry.promoted or NOW
        against = None
        if name != used:
            figure = METRIC_NAMES[task_named(self._replica.fold.task.name).goal]
            against = warning(_called(name), self._figure(name), _called(used), self._figure(used), figure=figure)
        if confirmed or against is None:
            self.registry.promote(None if name == NOW else name)
            audit.note("version promoted", version=name, instead_of=used)
        return self.list().model_copy(update={"warning": against})

    def _figure(self, name: str) -> Interval | None:
        """The metric of the project's goal, as measured when the version was saved, or for the current model."""
        metrics = self._measured() if name == NOW else self.registry.get(name).description.metrics
        return None if metrics is None else goal_metric(metrics)[1]

    def _told(self, version: Version, promoted: str | None) -> ModelVersion:
        more = {"promoted": version.name == promoted, "all_bytes": version.all_bytes(self._backbones)}
        return version.description.model_copy(update=more)

    def roll_back(self) -> ModelList:
        """Return to the version promoted before. Raises ValueError if there is none."""
        self.registry.roll_back()
        return self.list()

    def delete(self, name: str) -> None:
        """Delete a version. Raises UnknownVersion, and StillNeeded while something needs it."""
        self.registry.delete(name, also_needed=self._also_needed())
        audit.note("version deleted", version=name)

    def prune(self, *, dry_run: bool = False) -> Pruned:
        """Delete every version that nothing needs, or only list those versions (`dry_run`)."""
        deleted: list[str] = []
        kept: dict[str, str] = {}
        for version in reversed(self.registry.list()[0]):  # children first, so that their parents can go too
            needed = {**self.registry.needed(without=deleted), **self._also_needed()}.get(version.name)
            try:
                if not needed and not dry_run:
                    self.delete(version.name)
            except StillNeeded as error:  # something began to need it a moment ago
                needed = str(error)
            if needed:
                kept[version.name] = needed
            else:
                deleted.append(version.name)
        return Pruned(deleted=deleted, kept=kept)

    def checked(self, name: str) -> Version:
        """A version that may predict for this project. Raises UnknownVersion, RefusedVersion."""
        version = self.registry.get(name)
        self._check(version)
        version.shapes()  # refuses a file that is not a model
        return version

    def export(self, name: str, format: str) -> tuple[Path, str]:
        """A version as a file in a format, and the name of the download.

        Raises UnknownVersion, RefusedVersion, and ValueError for an unknown format.
        """
        if format in FILES:
            return self.registry.get(name).folder / FILES[format], f"{name}-{FILES[format]}"
        from trainer.versions import exporting  # torch takes seconds

        if format not in exporting.FORMATS:
            formats = ", ".join([*FILES, *exporting.FORMATS])
            raise ValueError(f"There is no export format {format!r}. Choose one of {formats}.")
        exports = self.registry.folder.parent / "exports"
        path = exporting.export(self.registry, name, format, self._settings, exports)
        return path, f"{name}.{exporting.FORMATS[format]}"

    def answering(self, name: str | None) -> Version | None:
        """The version with this `name`. Default: the promoted one, or None for the current model."""
        wanted = name if name is not None else self.registry.promoted
        return None if wanted in (None, NOW) else self.registry.get(str(wanted))

    def predict(self, version: Version, images: Sequence[bytes]) -> Predictions:
        """Predict images with a saved version, with today's class names. Raises RefusedVersion, ImageProblem."""
        from trainer.versions.predictor import in_todays_classes, several_in_todays_classes, standing

        classifier = self._classifier(version)
        if finds_boxes(version.description):
            return self._find(version, classifier, images)
        inputs = []
        with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="reading") as threads:
            opened = [threads.submit(classifier.preprocessing.read, data, self._limits) for data in images]
            for number, future in enumerate(opened, 1):
                try:
                    inputs.append(future.result())
                except ImageProblem as problem:
                    threads.shutdown(cancel_futures=True)
                    raise ImageProblem(f"(number {number}) {problem}") from None
        probabilities, limits = classifier.predict_proba(inputs), classifier.thresholds
        chosen = None if limits is None else probabilities >= limits
        with self._replica.lock:
            fold = self._replica.fold
            if self._replica.log_id is None:  # without a project, use the class names of the version
                names = [each.name for each in classifier.classes]
            else:
                try:
                    now = standing(classifier.classes, fold)
                    if limits is None:
                        ids, probabilities = in_todays_classes(probabilities, now)
                    else:
                        ids, probabilities, chosen = several_in_todays_classes(probabilities, limits, now)
                except ValueError as error:
                    raise RefusedVersion(f"Version {version.name!r} cannot predict. {error}") from None
                names = [fold.classes[int(k)].name for k in ids]
        return as_predictions(version.name, names, probabilities, chosen)

    def _find(self, version: Version, classifier: Classifier, images: Sequence[bytes]) -> Predictions:
        """Find boxes with a saved detector, from its threshold on. Raises RefusedVersion, ImageProblem."""
        from trainer.versions.detectors import SavedDetector, in_todays_boxes
        from trainer.whole_detector.networks import BoxNetwork

        assert isinstance(classifier.network, BoxNetwork)  # noqa: S101 - the learner is asked before
        detector = SavedDetector(classifier.network, classifier.needs, classifier.device)
        found = []
        for number, data in enumerate(images, 1):
            try:
                found.append(detector.detect(data, self._limits))
            except ImageProblem as problem:
                raise ImageProblem(f"(number {number}) {problem}") from None
        with self._replica.lock:
            fold = self._replica.fold if self._replica.log_id is not None else None
            try:
                return in_todays_boxes(version.name, classifier.classes, found, detector.threshold, fold)
            except ValueError as error:
                raise RefusedVersion(f"Version {version.name!r} cannot predict. {error}") from None

    def _classifier(self, version: Version) -> Classifier:
        from trainer.embeddings.backbones.torch_networks import device_named
        from trainer.versions.predictor import load_classifier, quicken

        self._check(version)
        with self._loading:
            if self._loaded is None or self._loaded[0] != version.description.sha256:
                device, own = device_named(self._settings.device), self._settings.model_fn
                classifier = load_classifier(version, self._backbones, model_fn=own, device=device)
                quicken(classifier, version, self._backbones)
                self._loaded = (version.description.sha256, classifier)
                give_back()  # the memory of the previous classifier
            return self._loaded[1]

    def _check(self, version: Version) -> None:
        from trainer.versions.predictor import check_project

        with self._replica.lock:
            log_id = str(self._replica.log_id) if self._replica.log_id is not None else None
            check_project(version, log_id, self._replica.fold)


def as_predictions(
    version: str,
    names: Sequence[str],
    probabilities: NDArray[np.float32],
    chosen: NDArray[np.bool_] | None = None,
) -> Predictions:
    """Probabilities (n, K) of the classes `names`, as a response. `chosen` (n, K) marks the predicted classes where an
    image can have several.
    """
    if chosen is not None:
        return Predictions(
            model_version=version,
            predictions=[_several(names, row, has) for row, has in zip(probabilities, chosen, strict=True)],
        )
    return Predictions(
        model_version=version,
        predictions=[
            Prediction(
                label=names[int(row.argmax())],
                confidence=float(np.clip(row.max(), 0, 1)),
                probabilities=dict(zip(names, row.tolist(), strict=True)),
            )
            for row in probabilities
        ],
    )


def _several(names: Sequence[str], row: NDArray[np.float32], has: NDArray[np.bool_]) -> Prediction:
    labels = [name for name, each in zip(names, has.tolist(), strict=True) if each]
    return Prediction(
        label=cell_of(labels),
        confidence=float(np.clip(np.where(has, row, 1 - row).prod(dtype=np.float64), 0, 1)),
        probabilities=dict(zip(names, row.tolist(), strict=True)),
        labels=labels,
    )


def _called(name: str) -> str:
    return "the current model" if name == NOW else f"version {name}"
