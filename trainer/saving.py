"""What a saved version holds: the model's arrays, how it came about, and every label that it stands on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from shared.messages import Evaluation, Saved
from shared.settings import TrainerSettings
from trainer.registry import Registry
from trainer.replica import Replica
from trainer.rounds import Model, Snapshot

HOW_TO_USE = (
    "Embed with the backbone, subtract mean, scale to unit length; multiply by axes, scale to unit length again; "
    "logits are exp(-0.4 * squared distance to each of anchors) @ weights + bias."
)
BACKBONE_SETTINGS = ("backbone", "backbone_mean", "backbone_std", "input_size", "model_fn")


def save_version(
    name: str,
    registry: Registry,
    model: Model,
    snapshot: Snapshot,
    replica: Replica,
    *,
    backbone: str,
    settings: TrainerSettings,
    evaluation: Evaluation | None,
    reason: str,
) -> Saved:
    """Write `model` and the labels of `snapshot` as version `name`.

    Raises ValueError for a bad name, FileExistsError for one that is taken.
    """
    description: dict[str, Any] = {
        "learner": "head",
        "model_version": model.version,
        "classes": [{"id": int(k), "name": snapshot.names.get(int(k), str(k))} for k in model.head.classes],
        "backbone": backbone,
        "backbone_settings": {key: getattr(settings, key) for key in BACKBONE_SETTINGS},
        "dim": len(model.projection.mean),
        "log_id": str(snapshot.log_id),
        "acked_seq": snapshot.acked_seq,
        "labels": len(model.rows),
        "reason": reason,
        "metrics": evaluation.model_dump(mode="json") if evaluation is not None else None,
        "how_to_use": HOW_TO_USE,
    }
    tensors = {**model.head.to_tensors(), "mean": model.projection.mean, "axes": model.projection.axes}
    saved = registry.save(name, tensors, description, _dataset(snapshot, replica))
    return Saved(
        model=str(saved.folder / "model.safetensors"),
        dataset=str(saved.folder / "dataset.csv"),
        model_version=name,
        reason=reason,
        at=datetime.now(UTC),
    )


def _dataset(snapshot: Snapshot, replica: Replica) -> list[dict[str, Any]]:
    with replica.lock:
        catalog, splits = replica.catalog, replica.fold.splits
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
