"""Descriptions of saved versions."""

from __future__ import annotations

from typing import Any

from shared.wire.models import Description, ModelClass, ModelInput
from tests.trainer.logs import LOG

NEEDS = ModelInput(size=8, preparation="squeezed", mean=[0.0] * 3, std=[1.0] * 3)


def description(**more: Any) -> Description:
    """A head with two classes on pixels."""
    given: dict[str, Any] = {
        "learner": "head",
        "architecture": "pixels",
        "classes": [ModelClass(id=1, name="red"), ModelClass(id=2, name="blue")],
        "input": NEEDS,
        "log_id": str(LOG),
        "acked_seq": 10,
        "labels": 8,
        **more,
    }
    return Description(**given)
