"""The labels of train images as a learner reads them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.columns.id_index import as_ids
from trainer.columns.images import TEST
from trainer.embeddings.space import ImagePool, Space
from trainer.sync.snapshot import Snapshot
from trainer.tasks.registry import task_named
from trainer.tasks.task import Targets


def train_targets(pool: ImagePool | Space, snapshot: Snapshot) -> tuple[NDArray[np.int64], Targets]:
    """Labeled rows of the train matrix, ascending, and the target of each."""
    row_of, held_out = pool.train.row_of, moved_out(snapshot)
    given = [image for image in snapshot.labels if image not in held_out] if held_out else list(snapshot.labels)
    rows = row_of.of(as_ids(given))
    order = np.argsort(rows, kind="stable")[int((rows < 0).sum()) :]
    values = [snapshot.labels[given[place]] for place in order.tolist()]
    return rows[order], task_named(snapshot.task).targets(values)


def test_rows(pool: ImagePool, snapshot: Snapshot) -> NDArray[np.int64]:
    """Rows of the held-out matrix that are test images, ascending: by the pool, and by the log since."""
    tested = pool.held_splits() == TEST
    moved = np.array([image for image, split in snapshot.splits.items() if split != "test"], np.int64)
    tested[pool.held.row_of.known(moved)] = False
    return np.flatnonzero(tested)


def moved_out(snapshot: Snapshot) -> set[int]:
    """Images that were moved out of the train split, whether or not the pool knows it yet."""
    return {image for image, split in snapshot.splits.items() if split != "train"}
