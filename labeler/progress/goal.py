"""The distance to the goal of labeling: the label budget, or the accuracy for which the forecast counts labels."""

from __future__ import annotations

from shared.wire.evaluation import Evaluation
from shared.wire.project import Target
from shared.wire.trainer import TrainerStatus


def target(
    status: TrainerStatus | None,
    latest: Evaluation | None,
    *,
    labeled: int,
    given: int,
    pace: float,
    left: int | None = None,
) -> Target | None:
    """The closer of label budget and forecast goal; None if there is neither, or too few images for both.

    `labeled` images have a label, `given` of them here, and `left` have none; `pace` is images per minute. The budget
    is unknown while the trainer (`status`) is away; the forecast is that of the `latest` evaluation.
    """
    ahead: list[tuple[int, float | None]] = []
    if status is not None and status.label_budget:
        ahead.append((max(0, status.label_budget - given), None))
    needed = latest.advice.needed if latest is not None and latest.advice is not None else None
    if latest is not None and needed is not None and needed.labels is not None:
        ahead.append((max(0, latest.spent + needed.labels - labeled), needed.goal))
    ahead = [each for each in ahead if left is None or each[0] <= left]
    if not ahead:
        return None
    labels, accuracy = min(ahead, key=lambda each: each[0])
    return Target(accuracy=accuracy, labels=labels, minutes=labels / pace if pace else None)
