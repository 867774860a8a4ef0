"""Saves the live model as a version: its arrays, its description, and every label it was fitted on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared.settings.services import TrainerSettings
from shared.settings.traits import RECORDED, settings_with
from shared.wire.models import Description, ModelInput
from shared.wire.trainer import Saved
from trainer.embeddings.backbones.backbone import Backbone
from trainer.embeddings.precomputed import OwnVectors
from trainer.live_detector.pictures import Pictures
from trainer.loop.live_model import LiveModel
from trainer.loop.rounds import Model
from trainer.sync.replica import Replica
from trainer.tasks.registry import task_named
from trainer.versions.active_backbone import TRAINED_ON
from trainer.versions.registry import Registry


class Saver:
    """Saves the live model to `registry`, with the labels of `replica`. Backbones go to `backbones`. `pictures` has the
    frozen network of detectors."""

    def __init__(
        self,
        registry: Registry,
        replica: Replica,
        backbones: Path,
        settings: TrainerSettings,
        pictures: Pictures | None = None,
    ) -> None:
        self._pictures = pictures
        self._registry = registry
        self._replica = replica
        self._backbones = backbones
        self._settings = settings

    def save(
        self,
        live: LiveModel,
        name: str,
        *,
        reason: str,
        seconds: float | None = None,
        parent: str | None = None,
        trained_on: str | None = None,
    ) -> Saved:
        """Write the live model and the labels that it was fitted on as version `name`.

        Later labels are not included. `parent` defaults to the version that brought the embeddings; `trained_on` to the
        version whose labels trained them. `seconds` defaults to the duration of the fit.

        Raises ValueError without a model or for a bad name, FileExistsError for a taken name.
        """
        model, serving, latest = live.model, live.serving, live.latest
        if model is None or model.snapshot.log_id != self._replica.log_id:
            raise ValueError(task_named(self._replica.fold.task.name).no_model)
        if serving is not None:
            parent, trained_on = parent or serving.version, trained_on or serving.trained
        needs: ModelInput | None
        if model.task.learns_from_images and self._pictures is not None:
            from trainer.versions import detectors  # torch takes seconds to import

            architecture, needs, key = detectors.keep(self._pictures.maps_of(model.head.size).pyramid, self._backbones)
            parent = trained_on = None
        else:
            key = live.embedder.key
            architecture, needs = self._describe(live.embedder.backbone)
        task, snapshot, recorded = model.task, model.snapshot, set(settings_with(RECORDED, TrainerSettings))
        chosen = self._settings.model_dump(mode="json", include=recorded)
        description = Description(
            parent=parent,
            learner=task.learner.name,
            architecture=architecture,
            config={**chosen, TRAINED_ON: trained_on},
            classes=task.saved_outcomes(model.head, snapshot.names),
            input=needs,
            embeddings=key,
            log_id=str(snapshot.log_id),
            acked_seq=snapshot.acked_seq,
            labels=len(model.rows),
            labels_by_class=task.counts([snapshot.labels[image] for image in model.images.tolist()], snapshot.names),
            metrics=latest if latest is not None and latest.model_version == model.version else None,
            seconds=seconds or model.seconds,
            reason=reason,
            how_to_use=task.learner.how_to_use,
        )
        tensors = dict(task.learner.save(model.head))
        if not task.learns_from_images:
            tensors |= {"mean": model.projection.mean, "axes": model.projection.axes}
        saved = self._registry.save(name, tensors, description, dataset(model, self._replica))
        return Saved(
            model=str(saved.model_file),
            dataset=str(saved.folder / "dataset.csv"),
            model_version=name,
            reason=reason,
            at=datetime.now(UTC),
        )

    def _describe(self, backbone: Backbone | OwnVectors | None) -> tuple[str, ModelInput | None]:
        """The name and the input of a backbone, which is on disk on return. Vectors from a file have neither."""
        if backbone is None or isinstance(backbone, OwnVectors):
            return "vectors", None
        from trainer.embeddings.backbones import (
            saved_backbone,  # torch takes seconds to import; vectors from a file do not need it
        )

        saved_backbone.freeze(backbone, self._backbones)
        return saved_backbone.describe(backbone)


def dataset(model: Model, replica: Replica) -> list[dict[str, Any]]:
    """Every label at the time `model` was fitted, as the rows of a version's dataset.csv.

    It learned from images of the train split, even if they have moved to another split since.
    """
    snapshot = model.snapshot
    splits = {**snapshot.splits, **dict.fromkeys(model.images.tolist(), "train")}
    with replica.lock:
        return [
            {
                "image_id": entry.id,
                "uri": entry.uri,
                "sha256": entry.sha256,
                "split": splits.get(entry.id, entry.split),
                **model.task.cells(snapshot.labels[entry.id], snapshot.names),
            }
            for entry in replica.catalog.some(sorted(snapshot.labels))
        ]
