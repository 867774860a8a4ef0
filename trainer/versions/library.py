"""What can be done with saved versions: look at them, promote one, roll back, delete, and let one answer.

The promoted version answers `POST /predict`; while none is, the current model does, which learns on with every batch.
Queries always come from the current model. It knows nothing of HTTP, and of learning only what a version says of
itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shared.images.opening import ImageLimits, ImageProblem
from shared.settings.services import TrainerSettings
from shared.web import audit
from shared.wire.evaluation import Interval
from shared.wire.models import ModelList, ModelVersion, Prediction, Predictions, Pruned
from trainer.sync.replica import Replica
from trainer.versions.promotion import warning
from trainer.versions.registry import NOW, RefusedVersion, Registry, StillNeeded, Version

if TYPE_CHECKING:  # torch takes seconds, which somebody whose images are compared by their pixels need not pay at start
    from trainer.versions.predictor import Classifier

FILES = {"safetensors": "model.safetensors", "json": "model.json", "csv": "dataset.csv"}
"""Format → file of a version's folder, as it lies there."""


class Versions:
    """The registry of one trainer, with what its versions mean for the project in `replica`.

    `also_needed` says what else needs versions: name → sentence; `measured` is how good the current model is.
    """

    def __init__(
        self,
        registry: Registry,
        replica: Replica,
        settings: TrainerSettings,
        backbones: Path,
        also_needed: Callable[[], dict[str, str]],
        measured: Callable[[], Interval | None],
    ) -> None:
        self.registry = registry
        self._replica = replica
        self._settings = settings
        self._backbones = backbones
        self._also_needed = also_needed
        self._measured = measured
        self._limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
        self._loading = Lock()
        self._loaded: tuple[str, Classifier] | None = None  # hash and classifier of the version that was asked last

    def list(self) -> ModelList:
        """All versions, oldest first."""
        found, refused = self.registry.list()
        promoted = self.registry.promoted
        return ModelList(
            models=[self._told(version, promoted) for version in found], promoted=promoted, unreadable=refused
        )

    def show(self, name: str) -> ModelVersion:
        """One version. Raises UnknownVersion, RefusedVersion."""
        return self._told(self.registry.get(name), self.registry.promoted)

    def promote(self, name: str, *, confirmed: bool = True) -> ModelList:
        """Let a version answer predictions, or `now` the current model. Raises UnknownVersion, RefusedVersion.

        The version is built first, so that one which cannot answer is never in use. What speaks against it is in the
        answer; unless `confirmed`, it is then not promoted.
        """
        if name != NOW:
            self._classifier(self.registry.get(name))
        used = self.registry.promoted or NOW
        against = None
        if name != used:
            against = warning(_called(name), self._accuracy(name), _called(used), self._accuracy(used))
        if confirmed or against is None:
            self.registry.promote(None if name == NOW else name)
            audit.note("version promoted", version=name, instead_of=used)
        return self.list().model_copy(update={"warning": against})

    def _accuracy(self, name: str) -> Interval | None:
        """As measured when it was saved, or of the current model."""
        if name == NOW:
            return self._measured()
        metrics = self.registry.get(name).description.metrics
        return metrics.accuracy if metrics is not None else None

    def _told(self, version: Version, promoted: str | None) -> ModelVersion:
        more = {"promoted": version.name == promoted, "all_bytes": version.all_bytes(self._backbones)}
        return version.description.model_copy(update=more)

    def roll_back(self) -> ModelList:
        """Go back to what was promoted before. Raises ValueError when nothing was."""
        self.registry.roll_back()
        return self.list()

    def delete(self, name: str) -> None:
        """Delete a version. Raises UnknownVersion, and StillNeeded while something needs it."""
        self.registry.delete(name, also_needed=self._also_needed())
        audit.note("version deleted", version=name)

    def prune(self, *, dry_run: bool = False) -> Pruned:
        """Delete every version that nothing needs, or with `dry_run` only say which those are."""
        deleted: list[str] = []
        kept: dict[str, str] = {}
        for version in reversed(self.registry.list()[0]):  # children first, so that their parents may go too
            needed = {**self.registry.needed(without=deleted), **self._also_needed()}.get(version.name)
            try:
                if not needed and not dry_run:
                    self.delete(version.name)
            except StillNeeded as error:  # since a moment ago
                needed = str(error)
            if needed:
                kept[version.name] = needed
            else:
                deleted.append(version.name)
        return Pruned(deleted=deleted, kept=kept)

    def checked(self, name: str) -> Version:
        """A version that may answer for this project. Raises UnknownVersion, RefusedVersion."""
        version = self.registry.get(name)
        self._check(version)
        version.shapes()  # which refuses a file that is none
        return version

    def export(self, name: str, format: str) -> tuple[Path, str]:
        """A version as a file in a format, and what to call it.

        Raises UnknownVersion, RefusedVersion, and ValueError for a format that there is not.
        """
        if format in FILES:
            return self.registry.get(name).folder / FILES[format], f"{name}-{FILES[format]}"
        from trainer.versions import exporting  # torch takes seconds

        if format not in exporting.FORMATS:
            formats = ", ".join([*FILES, *exporting.FORMATS])
            raise ValueError(f"There is no export format {format!r}; it can be {formats}.")
        exports = self.registry.folder.parent / "exports"
        path = exporting.export(self.registry, name, format, self._settings, exports)
        return path, f"{name}.{exporting.FORMATS[format]}"

    def answering(self, name: str | None) -> Version | None:
        """The version that answers when `name` is asked: the promoted one by default; None is the current model."""
        wanted = name if name is not None else self.registry.promoted
        return None if wanted in (None, NOW) else self.registry.get(str(wanted))

    def predict(self, version: Version, images: Sequence[bytes]) -> Predictions:
        """What a saved version says of images, under the class names of now. Raises RefusedVersion, ImageProblem."""
        from trainer.versions.predictor import in_todays_classes, standing

        classifier = self._classifier(version)
        inputs = []
        for number, data in enumerate(images, 1):
            try:
                inputs.append(classifier.preprocessing.read(data, self._limits))
            except ImageProblem as problem:
                raise ImageProblem(f"(number {number}) {problem}") from None
        probabilities = classifier.predict_proba(inputs)
        with self._replica.lock:
            fold = self._replica.fold
            if self._replica.log_id is None:  # no project to take names from: those of the version
                names = [each.name for each in classifier.classes]
            else:
                try:
                    ids, probabilities = in_todays_classes(probabilities, standing(classifier.classes, fold))
                except ValueError as error:
                    raise RefusedVersion(f"Version {version.name!r} cannot answer. {error}") from None
                names = [fold.classes[int(k)].name for k in ids]
        return as_predictions(version.name, names, probabilities)

    def _classifier(self, version: Version) -> Classifier:
        from trainer.embeddings.backbones.torch_networks import device_named
        from trainer.versions.predictor import load_classifier

        self._check(version)
        with self._loading:
            if self._loaded is None or self._loaded[0] != version.description.sha256:
                device, own = device_named(self._settings.device), self._settings.model_fn
                classifier = load_classifier(version, self._backbones, model_fn=own, device=device)
                self._loaded = (version.description.sha256, classifier)
            return self._loaded[1]

    def _check(self, version: Version) -> None:
        from trainer.versions.predictor import check_project

        with self._replica.lock:
            log_id = str(self._replica.log_id) if self._replica.log_id is not None else None
            check_project(version, log_id, self._replica.fold)


def as_predictions(version: str, names: Sequence[str], probabilities: NDArray[np.float32]) -> Predictions:
    """Probabilities (n, K) of the classes `names` as they are told."""
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


def _called(name: str) -> str:
    return "the current model" if name == NOW else f"version {name}"
