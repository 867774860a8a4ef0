"""The metrics of a task on test images, and their conversion to an `Evaluation`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from shared.wire.evaluation import Evaluation, Interval


def not_measured() -> Interval:
    """The interval 0 to 1: what no images tell about a metric. Tasks without an accuracy use it as their accuracy."""
    return Interval(value=0.0, low=0.0, high=1.0, n=0)


@dataclass(frozen=True)
class Measured:
    """The metrics of one model.

    `lower_bounds` are the lower ends of the 95 % intervals that may stop training, by metric. `metrics` are those
    without a field of their own in `Evaluation`. `details` are other fields of the `Evaluation`.
    """

    lower_bounds: Mapping[str, float]
    accuracy: Interval = field(default_factory=not_measured)
    metrics: Mapping[str, Interval] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    def evaluation(
        self, *, log_id: UUID, acked_seq: int, model_version: str, labels: int, spent: int, **more: Any
    ) -> Evaluation:
        """The record that is sent and stored. `more` are fields that do not follow from the figures."""
        return Evaluation.model_validate(
            {
                "id": uuid4(),
                "log_id": log_id,
                "acked_seq": acked_seq,
                "model_version": model_version,
                "round": 0,
                "labels": labels,
                "spent": spent,
                "created_at": datetime.now(UTC),
                "accuracy": self.accuracy,
                "metrics": dict(self.metrics),
                "macro_f1": None,
                "log_loss": None,
                **self.details,
                **more,
            }
        )
