"""Near copies that cause trouble: labeled differently, or one in train and one held out.

Of a pair across splits only the train image is named, because nobody should see held-out images; removing it from the
train split solves the problem. Near copies are close in the pool's space (`cross_validation.NEAR_DUPLICATE`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from shared.tasks.task import Value
from shared.wire.review import NearDuplicates
from trainer.embeddings.nearest import pairs_above
from trainer.embeddings.space import Rows as Matrix
from trainer.embeddings.space import Space
from trainer.evaluation.cross_validation import NEAR_DUPLICATE, REFERENCE

Ids = NDArray[np.int64]
Rows = NDArray[np.float32]


def near_duplicates(
    space: Space,
    labels: Mapping[int, Value],
    limit: int,
    *,
    seed: int,
    differ: Callable[[Sequence[Value]], bool] = lambda both: both[0] != both[1],
) -> NearDuplicates:
    """The `limit` nearest pairs of each kind, among at most `REFERENCE` train images and as many held-out ones.

    `differ` says whether two labels contradict each other.
    """
    train, rows = _some(space.train, seed)
    held, held_rows = _some(space.held, seed)
    given = [labels.get(int(image)) for image in train]
    known = np.array([row for row, value in enumerate(given) if value is not None], np.int64)
    differing = [
        (cosine, int(train[known[a]]), int(train[known[b]]))
        for a, b, cosine in pairs_above(rows[known], rows[known], NEAR_DUPLICATE)
        if a < b and differ((given[known[a]], given[known[b]]))
    ]
    across: dict[int, tuple[float, int]] = {}
    for a, b, cosine in pairs_above(held_rows, rows, NEAR_DUPLICATE):
        across[int(train[b])] = max((cosine, int(held[a])), across.get(int(train[b]), (0.0, 0)))
    nearest = sorted(across.items(), key=lambda each: -each[1][0])[:limit]
    return NearDuplicates(
        differing=[(one, other) for _, one, other in sorted(differing, reverse=True)[:limit]],
        across={image: space.split_of(copy) for image, (_, copy) in nearest},
    )


def _some(matrix: Matrix, seed: int) -> tuple[Ids, Rows]:
    ids, rows = matrix.view()
    if len(ids) <= REFERENCE:
        return ids, rows[:]
    chosen = np.sort(np.random.default_rng(seed).choice(len(ids), REFERENCE, replace=False))
    return ids[chosen], rows[chosen]
