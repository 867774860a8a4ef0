"""Tells which images exist, and in which split. This is the only place that decides both.

The image table stores the split that an image was drawn into; the log records later changes. An image is removed if the
last row of the log about its presence is `image_removed` (`Fold.removed`); a `split_changed` row restores it.
Everything else follows from that: an image exists exactly if `splits` contains it. A missing file does not remove an
image that somebody answered; the catalogue lists it as missing instead.

Other parts that depend on the split, such as the counts and the queue, follow this object and are told of each change.
"""

from __future__ import annotations

from collections.abc import Callable

from shared.log import Fold
from shared.wire.fields import Split
from shared.wire.log import Row

Follower = Callable[[int, Split | None, Split | None, float], None]
"""Called with an image, its old and new split (None: does not exist), and its salted hash in [0, 1)."""


class PresentImages:
    """The images of one workspace. Not thread-safe: callers hold the store's lock."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold
        self._places: dict[int, float] = {}  # of all catalogued images, including removed ones
        self._followers: list[Follower] = []
        self.splits: dict[int, Split] = {}

    def follow(self, follower: Follower) -> None:
        """Notify the follower of each change from now on, after the earlier followers."""
        self._followers.append(follower)

    def take_in(self, image_id: int, drawn: Split, place: float) -> None:
        """Add an image of the catalogue, new or read from disk. The log decides whether it exists, and in which
        split.
        """
        self._places[image_id] = place
        removed = image_id in self._fold.removed
        self._put(image_id, None if removed else self._fold.splits.get(image_id, drawn))

    def place(self, image_id: int) -> float:
        """The salted hash of a catalogued image."""
        return self._places[image_id]

    def observe(self, row: Row) -> None:
        """Process a log row that the fold already contains."""
        if row.image_id not in self._places:
            return
        if row.action == "image_removed":
            self._put(row.image_id, None)
        elif row.action == "split_changed":
            self._put(row.image_id, row.split)

    def _put(self, image_id: int, split: Split | None) -> None:
        before = self.splits.pop(image_id, None)
        if split is not None:
            self.splits[image_id] = split
        for follower in self._followers:
            follower(image_id, before, split, self._places[image_id])
