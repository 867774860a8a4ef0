"""Whether the test images asked so far are a random sample of all test images.

The trainer may then correct the accuracy by the model's confidence on those not asked yet. The queue asks test images
in the order of their salted hash, which knows nothing of their content. So those asked are a random sample as long as
every test image had the same chance to come before the last of them. That is not so if

- splits were drawn again, or an import or somebody else chose the split of an image;
- an imported label makes an image a labeled test image that nobody was asked about;
- images were passed over: those of photos added later, or somebody opened an image out of turn.

A page that holds an image passes none over; its answer comes later. If hard test images are to come more often, the
order is that of the `TestClock`, and all of this holds for it. Callers hold the store's lock.
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
"""One of so many asked images may be passed over: an answer that was undone, or a page that was closed."""

LAST_ID = 2**63
"""Above every id."""


class RandomSample:
    """Follows the test images of one workspace."""

    def __init__(self, fold: Fold, present: PresentImages, leases: Leases, drawing: Drawing, clock: TestClock) -> None:
        self._fold = fold
        self._leases = leases
        self._clock = clock
        self._share = drawing.test  # 0: a folder of its own has all test images
        self._places: dict[int, float] = {}  # of the test images
        self._line: list[tuple[float, int]] | None = None  # all of them, in the order in which they come
        self._asked: set[int] = set()
        self._brought: set[int] = set()  # labeled, but never asked
        self._chosen: set[int] = set()  # their split is not the drawn one
        for image_id, split in present.splits.items():
            self.moved(image_id, None, split, present.place(image_id))
        present.follow(self.moved)

    def moved(self, image_id: int, before: Split | None, split: Split | None, place: float) -> None:
        """The image is in another split now, or there no more (None)."""
        if before is None and split != "test" and place >= self._share:
            return  # of a million, few have to do with the test split
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
        """Look at the image again, after a new log row about it."""
        tested = image_id in self._places
        asked = tested and image_id in self._fold.answered_here
        brought = tested and not asked and self._fold.state(image_id).label is not None
        (self._asked.add if asked else self._asked.discard)(image_id)
        (self._brought.add if brought else self._brought.discard)(image_id)

    @property
    def holds(self) -> bool:
        """Whether they are a random sample."""
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
        """When the test image comes: by the clock, or by its place while the clock is not used."""
        place = self._places[image_id]
        return self._clock.due(image_id, place) if self._clock.used else place

    @property
    def images(self) -> list[int]:
        """The test images."""
        return list(self._places)

    @property
    def now(self) -> float:
        """The clock's time: that of the next image which nobody was asked about; infinite if there is none."""
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
        """For each image that was asked, the chance that it has come by now; empty while all have the same."""
        if not self._clock.used:
            return {}
        now = self.now
        return {image_id: self._clock.chance(image_id, now) for image_id in self._asked}

    def order_again(self) -> None:
        """The clock has other rates now."""
        self._line = None

    def _in_line(self) -> list[tuple[float, int]]:
        if self._line is None:
            self._line = sorted((self.due(image_id), image_id) for image_id in self._places)
        return self._line
