"""Which images are there, and in which split: the owner of both answers.

The image table remembers the split that an image was drawn into; the log says what happened since. An image is removed
when the last row of the log about its presence is `image_removed` (`Fold.removed`), and a `split_changed` row brings it
back. Every other meaning follows from that: an image is there exactly when `splits` contains it. A missing file removes
no image that somebody answered; the catalogue lists it as missing instead.

What else depends on the split, such as the counts and the queue, follows this object and is told of each change.
"""

from __future__ import annotations

from collections.abc import Callable

from shared.log import Fold
from shared.wire.fields import Split
from shared.wire.log import Row

Follower = Callable[[int, Split | None, Split | None, float], None]
"""Called with an image, its split before and now (None: not there), and its salted hash in [0, 1)."""


class PresentImages:
    """The images of one workspace. Not locked: callers hold the store's lock."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold
        self._places: dict[int, float] = {}  # of every image of the catalogue, removed ones too
        self._followers: list[Follower] = []
        self.splits: dict[int, Split] = {}

    def follow(self, follower: Follower) -> None:
        """Tell the follower of each change from now on, after those that asked before it."""
        self._followers.append(follower)

    def take_in(self, image_id: int, drawn: Split, place: float) -> None:
        """An image of the catalogue, new or read from disk. The log decides whether it is there, and in which split."""
        self._places[image_id] = place
        removed = image_id in self._fold.removed
        self._put(image_id, None if removed else self._fold.splits.get(image_id, drawn))

    def place(self, image_id: int) -> float:
        """The salted hash of an image of the catalogue."""
        return self._places[image_id]

    def observe(self, row: Row) -> None:
        """Follow a row of the log that is folded in already."""
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
