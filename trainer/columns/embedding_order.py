"""The order in which images get their vectors.

The questions come from train images, so these come first, in the random order of their hashes. Images that have a label
already take turns with them: an import of thousands of labels must not keep the first questions waiting. After a
beginning, every fourth image is a held-out one if the accuracy is measured. In a large pool, it is one in any case.

Nothing here depends on what an image shows. So the order of an import, which is often sorted by class, has no say. To
begin with thumbnails that cover the pool is no better, or worse (docs/measurements/experiments.md), and all images
would have to be fetched for it, also those in a store.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trainer.columns.id_index import Ids
from trainer.columns.images import TRAIN, Images
from trainer.columns.pending import Pending

TURN = 3
"""Train images before each held-out one."""
BEGINNING = 200
"""Train images with a vector, before which no held-out image takes a turn. The first questions need them most."""
ENOUGH = 1_000
"""Train images with a vector, from which on held-out images take turns even if none has a label: an active test chooses
among them long before the end of a large pool."""


class EmbeddingOrder:
    """Images without a vector. One thread uses it; any thread may use `in` and `len`."""

    def __init__(self) -> None:
        self._train, self._held = Pending(), Pending()
        self._count = 0  # told to other threads; while an image moves, both parts have it

    def __len__(self) -> int:
        return self._count

    def __contains__(self, image_id: object) -> bool:
        return any(image_id in each for each in (self._train, self._held, self._train))  # it may move meanwhile

    def __iter__(self) -> Iterator[int]:
        yield from self._train
        yield from self._held

    def add(self, images: Images) -> None:
        """Add these images; those that wait already may have another split now."""
        train = images.splits == TRAIN
        for some, joined, left in ((train, self._train, self._held), (~train, self._held, self._train)):
            joined.add(images[some])  # before it leaves the other: another thread finds it all the time
            left.discard(images.ids[some])
        self._recount()

    def discard(self, image_ids: Ids) -> None:
        """Remove these images."""
        self._train.discard(image_ids)
        self._held.discard(image_ids)
        self._recount()

    def _recount(self) -> None:
        self._count = len(self._train) + len(self._held)

    def all(self) -> Ids:
        """All of them."""
        return np.concatenate([each.first(len(each)) for each in (self._train, self._held)])

    def first(self, count: int, labeled: Ids, *, embedded: int, measured: bool) -> Ids:
        """The next images, each once: `count` to twice as many, if so many wait.

        `labeled` are images with a label, and `embedded` is the number of train images with a vector. `measured`:
        a held-out image has a vector and a label.
        """
        train = _in_turn(self._train.among(labeled, count), self._train.first(count), 1)
        held = self._held.among(labeled, count)
        joins = embedded >= (BEGINNING if measured or len(held) else ENOUGH)
        held = _in_turn(held, self._held.first(count), 1)  # those without a label make the accuracy more precise
        return _in_turn(train, held, TURN if joins else max(len(train), 1))[: 2 * count]


def _in_turn(many: Ids, few: Ids, turn: int) -> Ids:
    """`turn` of `many`, one of `few`, and so on; each image once, at its first place."""
    turns = np.concatenate([np.arange(len(many)) // turn, np.arange(len(few))])
    both = np.concatenate([many, few])[np.argsort(turns, kind="stable")]
    _, firsts = np.unique(both, return_index=True)
    ordered: Ids = both[np.sort(firsts)]
    return ordered
