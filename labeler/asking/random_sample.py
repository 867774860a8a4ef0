"""Tells whether the test images asked so far are a random sample of all test images.

If so, the trainer can correct the accuracy with the model's confidence on those not asked yet. The queue asks test
images in the order of their salted hash, which does not depend on their content. So the asked images are a random
sample as long as every test image had the same chance to come before the last of them. That is not so if

- splits were drawn again, or an import or a person chose the split of an image;
- an imported label made an image a labeled test image that nobody was asked about;
- images were passed over: photos that were added later, or because somebody opened an image out of turn.

An image that a page holds is not passed over, because its answer comes later. If hard test images come more often, the
order is that of the `TestClock`, and the same conditions apply to it. Callers hold the store's lock.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import chain

from labeler.asking.leases import Leases
from labeler.asking.test_clock import TestClock
from labeler.images.split_draw import Drawing
from labeler.store.present import PresentImages
from shared.log import Fold
from shared.wire.fields import Split

TOLERATED = 50
"""One in this many asked images may be passed over, because an answer was undone or a page closed."""

LAST_ID = 2**63
"""Larger than every id."""


class RandomSample:
    """Follows the test images of one workspace."""

    def __init__(self, fold: Fold, present: PresentImages, leases: Leases, drawing: Drawing, clock: TestClock) -> None:
        self._fold = fold
        self._leases = leases
        self._clock = clock
        self._share = drawing.test  # 0: all test images are in a folder of their own
        self._places: dict[int, float] = {}  # of the test images
        self._line: list[tuple[float, int]] | None = None  # all test images, in the order in which they come
        self._asked: set[int] = set()
        self._brought: set[int] = set()  # test images that are labeled, but were never asked
        self._chosen: set[int] = set()  # test images whose split is not the drawn one
        for image_id, split in present.splits.items():
            self.moved(image_id, None, split, present.place(image_id))
        present.follow(self.moved)

    def moved(self, image_id: int, before: Split | None, split: Split | None, place: float) -> None:
        """Update: the image is in another split, or was removed (None)."""
        if before is None and split != "test" and place >= self._share:
            return  # few of a million images concern the test split
        if split == "test":
            self._places[image_id], self._line = place, None
        elif self._places.pop(image_id, None) is not None:
            self._line = None
        chosen = split == "test" and image_id in self._fold.splits
        if self._share:
            chosen = split is not None and (split == "test") != (place < self._share)
        (self._chosen.add if chosen else self._chosen.discard)(image_id)
        self.refresh(image_id)

    def refresh(self, image_id: int) -> None:
        """Re-examine the image after a new log row about it."""
        tested = image_id in self._places
        asked = tested and image_id in self._fold.answered_here
        brought = tested and not asked and self._fold.state(image_id).label is not None
        (self._asked.add if asked else self._asked.discard)(image_id)
        (self._brought.add if brought else self._brought.discard)(image_id)

    @property
    def holds(self) -> bool:
        """Whether the asked images are a random sample."""
        if self._chosen or self._brought:
            return False
        if not self._asked:
            return True
        last = max(self.due(image_id) for image_id in self._asked)
        passed = bisect_right(self._in_line(), (last, LAST_ID)) - len(self._asked)
        held = (image_id for image_id in self._leases.leased() if image_id in self._places)
        passed -= sum(image_id not in self._asked and self.due(image_id) <= last for image_id in held)
        return passed <= len(self._asked) // TOLERATED

    def due(self, image_id: int) -> float:
        """When the test image comes: by the clock, or by its hash while the clock is not used."""
        place = self._places[image_id]
        return self._clock.due(image_id, place) if self._clock.used else place

    @property
    def images(self) -> list[int]:
        """The test images."""
        return list(self._places)

    @property
    def now(self) -> float:
        """The clock's time: that of the next image that nobody was asked about; infinite if there is none."""
        held = set(self._leases.leased())
        waiting = (image_id for _, image_id in self._in_line() if image_id not in self._asked and image_id not in held)
        image_id = next(waiting, None)
        return math.inf if image_id is None else self._clock.due(image_id, self._places[image_id])

    @property
    def last(self) -> float:
        """The clock's time at the last image that somebody was asked about."""
        held = (image_id for image_id in self._leases.leased() if image_id in self._places)
        came = (self._clock.due(image_id, self._places[image_id]) for image_id in chain(self._asked, held))
        return max(came, default=0.0)

    def chances(self) -> dict[int, float]:
        """For each image that was asked, the probability that it has come by now; empty while all are equal."""
        if not self._clock.used:
            return {}
        now = self.now
        return {image_id: self._clock.chance(image_id, now) for image_id in self._asked}

    def order_again(self) -> None:
        """Re-sort, because the clock has new rates."""
        self._line = None

    def _in_line(self) -> list[tuple[float, int]]:
        if self._line is None:
            self._line = sorted((self.due(image_id), image_id) for image_id in self._places)
        return self._line
