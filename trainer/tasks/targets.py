"""Which labels a model learns from, and which images measure it. An image that was moved to another split leaves
the old one at once, even if the pool does not know it yet.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from shared.wire.fields import Split
from trainer.columns.id_index import as_ids
from trainer.columns.images import NUMBER_OF
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


def held_out(pool: ImagePool | Space, split: Split, moved: Mapping[int, Split]) -> NDArray[np.int64]:
    """Rows of the held-out matrix in this split, ascending. Takes into account images `moved` by the log since."""
    splits = pool.held_splits() if isinstance(pool, ImagePool) else pool.splits
    chosen = splits == NUMBER_OF[split]
    left = np.array([image for image, now in moved.items() if now != split], np.int64)
    chosen[pool.held.row_of.known(left)] = False
    return np.flatnonzero(chosen)


def moved_out(snapshot: Snapshot) -> set[int]:
    """Images that were moved out of the train split, even if the pool does not know it yet."""
    return {image for image, split in snapshot.splits.items() if split != "train"}
