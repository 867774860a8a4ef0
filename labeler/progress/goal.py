"""The distance to the goal of labeling: the label budget, or the accuracy for which the forecast counts labels."""

from __future__ import annotations

from shared.wire.evaluation import Evaluation
from shared.wire.project import ImageCounts, Target
from shared.wire.trainer import TrainerStatus


def target(
    status: TrainerStatus | None,
    latest: Evaluation | None,
    *,
    given: int,
    images: ImageCounts,
    train: ImageCounts,
    pace: float,
    train_pace: float,
) -> Target | None:
    """The closer of label budget and forecast goal; None if there is neither, or too few images for both.

    The budget counts all labels `given` here, the forecast only those of `train` images. `pace` is images labeled per
    minute, and `train_pace` how many of them are train images. The budget is unknown while the trainer (`status`) is
    away; the forecast is that of the `latest` evaluation.
    """
    ahead: list[Target] = []
    if status is not None and status.label_budget:
        labels = max(0, status.label_budget - given)
        if labels <= images.unlabeled:
            ahead.append(Target(accuracy=None, labels=labels, minutes=labels / pace if pace else None))
    needed = latest.advice.needed if latest is not None and latest.advice is not None else None
    if latest is not None and needed is not None and needed.labels is not None:
        labels = max(0, needed.labels - learned_since(latest, train))
        if labels <= train.unlabeled:
            ahead.append(
                Target(accuracy=needed.goal, labels=labels, minutes=labels / train_pace if train_pace else None)
            )
    return min(ahead, key=lambda each: each.labels, default=None)


def learned_since(latest: Evaluation, train: ImageCounts) -> int:
    """Labels for the model to learn from, given since its `latest` evaluation."""
    return max(0, train.labeled - latest.labels)
