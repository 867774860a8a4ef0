"""Suggests to the labeler, for an active test, how often to ask about each test image.

The suggestion follows from the confidence of the live model. Nothing is learned from test images: the model only
predicts them, labeled or not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shared.wire.queries import MAX_TEST_RATES, TestRate, TestRates
from trainer.embeddings.space import ImagePool
from trainer.evaluation.active_sample import rates
from trainer.sync.snapshot import Snapshot
from trainer.tasks.targets import held_out
from trainer.tasks.task import Task

GROWN = 1.15
"""Factor by which the train labels grow until the next suggestion: by then, the model has changed."""


def due(labels: int, last: int) -> bool:
    """Whether a model with this many train labels should suggest rates again, after one with `last` labels."""
    return labels >= GROWN * last


def suggested(pool: ImagePool, snapshot: Snapshot, task: Task, head: Any, version: str) -> TestRates | None:
    """Rates of the embedded test images by the model `head`, or of a random sample of many; None if there are none."""
    rows = held_out(pool, "test", snapshot.splits)
    if not len(rows):
        return None
    ids = pool.held.ids[rows]
    order = np.argsort(ids)
    if len(order) > MAX_TEST_RATES:  # the same ones each time
        order = order[np.random.default_rng(0).choice(len(order), MAX_TEST_RATES, replace=False)]
    Z = pool.held.rows[rows[order]]
    wanted = rates(task.probabilities(head, Z).max(axis=1))
    return TestRates(
        log_id=snapshot.log_id,
        model_version=version,
        rates=[
            TestRate(image_id=image_id, rate=float(rate))
            for image_id, rate in zip(ids[order].tolist(), wanted, strict=True)
        ],
    )
