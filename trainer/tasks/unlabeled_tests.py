"""The test images beside the labeled ones: the random sample whose confidence makes the accuracy more precise.

No strategy and no learner sees these rows. Which of them are asked and labeled is read here; an image's label is read
only where it is one of the measured ones.
"""

from __future__ import annotations

import numpy as np

from trainer.embeddings.space import ImagePool
from trainer.evaluation.prediction_powered import MOST, Unlabeled
from trainer.sync.snapshot import Snapshot


def unlabeled(pool: ImagePool, snapshot: Snapshot) -> Unlabeled | None:
    """Rows of the embedded test images without a label; None if the labeled ones are no random sample of all.

    The labeler knows whether it asked at random. Beyond that, no label may be one that only an import gave. While
    images are still being embedded, those that are here are a random sample too, because neither the order of questions
    nor that of embedding depends on what they show. Labeled images are embedded first, though. So until the other
    images that were asked are here as well, there are no rows, and the accuracy is that of the labeled images alone.

    In an active test, it is all the same with the order of the labeler's clock instead of a random one, and the labeler
    tells with which chance each image came.
    """
    here = frozenset(snapshot.here)
    at_random = snapshot.test_at_random
    chances = snapshot.test_chances
    labeled: list[int] = []
    passed: list[int] = []
    asked: list[int] = []
    still_open: list[tuple[int, int]] = []  # image id and row
    for image_id, row in pool.held.row_of.items():
        if pool.split_of(image_id) != "test" or snapshot.splits.get(image_id, "test") != "test":
            continue
        if image_id in snapshot.labels:
            at_random = at_random and image_id in here
            labeled.append(image_id)
        elif image_id in snapshot.passed_over:
            asked.append(row)
            passed.append(image_id)
        else:
            still_open.append((image_id, row))
    if not at_random and (asked or still_open):
        return None
    if chances and not chances.keys() >= {*labeled, *passed}:
        return None
    size = len(labeled) + len(asked) + len(still_open)
    if not pool.complete and any(image_id not in pool for image_id in snapshot.passed_over):
        asked, passed, still_open = [], [], []
    if len(still_open) > MOST:  # the same ones each time
        still_open.sort()
        some = np.random.default_rng(0).choice(len(still_open), MOST, replace=False)
        still_open = [still_open[place] for place in some]
    rows = pool.held.rows
    return Unlabeled(
        rows[np.array(asked, np.int64)],
        rows[np.array([row for _, row in still_open], np.int64)],
        size,
        np.array([chances[image_id] for image_id in labeled]) if chances else None,
        np.array([chances[image_id] for image_id in passed]) if chances else None,
    )
