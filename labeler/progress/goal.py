"""How far it is to what labeling heads for: the label budget, or the accuracy that the forecast counts labels to."""

from __future__ import annotations

from shared.wire.evaluation import Evaluation
from shared.wire.project import Target
from shared.wire.trainer import TrainerStatus


def target(
    status: TrainerStatus | None, latest: Evaluation | None, *, labeled: int, given: int, pace: float
) -> Target | None:
    """The nearer of both, with `labeled` images, `given` of them here, at `pace` answers a minute; None without either.

    The budget is the trainer's, so there is none while that is away; the forecast is that of the `latest` evaluation.
    """
    ahead: list[tuple[int, float | None]] = []
    if status is not None and status.label_budget:
        ahead.append((max(0, status.label_budget - given), None))
    needed = latest.advice.needed if latest is not None and latest.advice is not None else None
    if latest is not None and needed is not None and needed.labels is not None:
        ahead.append((max(0, latest.spent + needed.labels - labeled), needed.goal))
    if not ahead:
        return None
    labels, accuracy = min(ahead, key=lambda each: each[0])
    return Target(accuracy=accuracy, labels=labels, minutes=labels / pace if pace else None)
