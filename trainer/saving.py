"""What a saved version holds: the model's arrays, how it came about, and every label that it stands on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared.messages import Evaluation, Saved
from shared.models import Description, ModelClass
from shared.settings import TrainerSettings
from trainer.embeddings.backbones import Backbone
from trainer.embeddings.own_vectors import OwnVectors
from trainer.registry import Registry
from trainer.replica import Replica
from trainer.rounds import Model
from trainer.serving import TRAINED_ON

HOW_TO_USE = (
    "Embed with the backbone, subtract mean, scale to unit length; multiply by axes, scale to unit length again; "
    "logits are exp(-0.4 * squared distance to each of anchors) @ weights + bias."
)
CONFIG = ("backbone", "backbone_weights", "input_size", "model_fn", "embeddings", "query_strategy", "seed")
"""Settings without which the version would be another one."""


def save_version(
    name: str,
    registry: Registry,
    model: Model,
    replica: Replica,
    *,
    backbone: Backbone | OwnVectors | None,
    backbones: Path,
    settings: TrainerSettings,
    evaluation: Evaluation | None,
    seconds: float | None,
    reason: str,
    parent: str | None = None,
    trained_on: str | None = None,
) -> Saved:
    """Write `model` and the labels that it was fitted on as version `name`, and its backbone under `backbones`.

    Labels that came since are not the version's.

    `trained_on` is the version with whose labels that was trained, if it was.

    Raises ValueError for a bad name, FileExistsError for one that is taken.
    """
    snapshot, architecture, needs = model.snapshot, "vectors", None
    if backbone is not None and not isinstance(backbone, OwnVectors):
        from trainer.embeddings import frozen  # torch takes seconds, which vectors from a file need not pay

        architecture, needs = frozen.describe(backbone)
        frozen.freeze(backbone, backbones)
    description = Description(
        parent=parent,
        learner="head",
        architecture=architecture,
        config={**settings.model_dump(mode="json", include=set(CONFIG)), TRAINED_ON: trained_on},
        classes=[ModelClass(id=int(k), name=snapshot.names.get(int(k), str(k))) for k in model.head.classes],
        input=needs,
        embeddings=backbone.key if backbone is not None else None,
        log_id=str(snapshot.log_id),
        acked_seq=snapshot.acked_seq,
        labels=len(model.rows),
        labels_by_class=count_classes(model.classes.tolist(), snapshot.names),
        metrics=evaluation,
        seconds=seconds,
        reason=reason,
        how_to_use=HOW_TO_USE,
    )
    tensors = {**model.head.to_tensors(), "mean": model.projection.mean, "axes": model.projection.axes}
    saved = registry.save(name, tensors, description, dataset(model, replica))
    return Saved(
        model=str(saved.model_file),
        dataset=str(saved.folder / "dataset.csv"),
        model_version=name,
        reason=reason,
        at=datetime.now(UTC),
    )


def count_classes(given: list[int], names: Mapping[int, str]) -> dict[str, int]:
    """Labels of each class, by name."""
    return {names.get(label, str(label)): count for label, count in sorted(Counter(given).items())}


def dataset(model: Model, replica: Replica) -> list[dict[str, Any]]:
    """Every label that there was when `model` was fitted, as the rows of a version's dataset.csv.

    What it has learned from is in the train split, whatever split the catalogue has given it since.
    """
    snapshot = model.snapshot
    splits = {**snapshot.splits, **dict.fromkeys(model.images.tolist(), "train")}
    with replica.lock:
        catalog = replica.catalog
        return [
            {
                "image_id": image_id,
                "uri": catalog[image_id].uri,
                "sha256": catalog[image_id].sha256,
                "split": splits.get(image_id, catalog[image_id].split),
                "label": snapshot.names.get(label, str(label)),
                "class_id": label,
            }
            for image_id, label in sorted(snapshot.labels.items())
            if image_id in catalog
        ]
