"""The unlabeled test images, whose confidence makes the accuracy more precise.

No strategy and no learner sees these rows. This module reads which of them were asked and labeled, and never a label.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from trainer.columns.id_index import as_ids
from trainer.embeddings.space import ImagePool
from trainer.evaluation.prediction_powered import MOST, Unlabeled
from trainer.sync.snapshot import Snapshot
from trainer.tasks.targets import held_out


def unlabeled(pool: ImagePool, snapshot: Snapshot) -> Unlabeled | None:
    """Rows of the embedded test images without a label; None if the labeled ones are no random sample of all.

    The labeler reports whether it asked at random. In addition, no label may come from an import alone. While images
    are still being embedded, those embedded so far are a random sample too: neither the order of questions nor that of
    embedding depends on what they show. Labeled images come earlier, though. So until the other images that were
    asked are embedded as well, there are no rows, and the accuracy is that of the labeled images alone.

    An active test works the same way. It asks in the order of the labeler's clock instead of a random order, and the
    labeler reports the probability with which it asked about each image.
    """
    here = frozenset(snapshot.here)
    at_random = snapshot.test_at_random
    chances = snapshot.test_chances
    ids, tested = pool.held.ids, np.zeros(len(pool.held.ids), bool)
    tested[held_out(pool, "test", snapshot.splits)] = True
    size = int(tested.sum())
    told = [image_id for image_id in _in_order(pool, snapshot.labels) if tested[pool.held.row_of[image_id]]]
    over = [image_id for image_id in _in_order(pool, snapshot.passed_over) if tested[pool.held.row_of[image_id]]]
    labeled, passed = told, [image_id for image_id in over if image_id not in snapshot.labels]
    asked = pool.held.row_of.of(np.array(passed, np.int64))
    tested[asked] = tested[pool.held.row_of.of(np.array(labeled, np.int64))] = False
    still_open = np.flatnonzero(tested)
    if not (at_random and here.issuperset(labeled)) and (passed or len(still_open)):
        return None
    if chances and not chances.keys() >= {*labeled, *passed}:
        return None
    if not pool.complete and any(image_id not in pool for image_id in snapshot.passed_over):
        passed, asked, still_open = [], asked[:0], still_open[:0]
    if len(still_open) > MOST:  # the same ones each time
        still_open = still_open[np.argsort(ids[still_open])]
        still_open = still_open[np.random.default_rng(0).choice(len(still_open), MOST, replace=False)]
    rows = pool.held.rows
    return Unlabeled(
        rows[asked],
        rows[still_open],
        size,
        np.array([chances[image_id] for image_id in labeled]) if chances else None,
        np.array([chances[image_id] for image_id in passed]) if chances else None,
    )


def _in_order(pool: ImagePool, images: Collection[int]) -> list[int]:
    """The held-out ones among `images`, in the order of their rows."""
    rows: list[int] = np.sort(pool.held.row_of.known(as_ids(images))).tolist()
    return pool.held.ids[rows].tolist() if rows else []
