"""The labels of train images as a learner reads them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.embeddings.space import ImagePool, Space
from trainer.sync.snapshot import Snapshot
from trainer.tasks.registry import task_named
from trainer.tasks.task import Targets


def train_targets(pool: ImagePool | Space, snapshot: Snapshot) -> tuple[NDArray[np.int64], Targets]:
    """Labeled rows of the train matrix, ascending, and the target of each."""
    row_of, held_out = pool.train.row_of, moved_out(snapshot)
    labeled = [image for image in snapshot.labels if image in row_of and image not in held_out]
    rows = np.array([row_of[image] for image in labeled], np.int64)
    order = np.argsort(rows, kind="stable")
    values = [snapshot.labels[labeled[place]] for place in order]
    return rows[order], task_named(snapshot.task).targets(values)


def moved_out(snapshot: Snapshot) -> set[int]:
    """Images that were moved out of the train split, whether or not the pool knows it yet."""
    return {image for image, split in snapshot.splits.items() if split != "train"}
