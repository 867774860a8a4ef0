"""Whether the test images asked so far are a random sample of all test images.

The trainer may then correct the accuracy by the model's confidence on those not asked yet. The queue asks test images
in the order of their salted hash, which knows nothing of their content. So those asked are a random sample as long as
every test image had the same chance to come before the last of them. That is not so if

- splits were drawn again, or an import or somebody else chose the split of an image;
- an imported label makes an image a labeled test image that nobody was asked about;
- images were passed over: those of photos added later, or somebody opened an image out of turn.

A page that holds an image passes none over; its answer comes later. Callers hold the store's lock.
"""

from __future__ import annotations

from bisect import bisect_right

from labeler.asking.leases import Leases
from labeler.images.split_draw import Drawing
from labeler.store.present import PresentImages
from shared.log import Fold
from shared.wire.fields import Split

TOLERATED = 50
"""One of so many asked images may be passed over: an answer that was undone, or a page that was closed."""


class RandomSample:
    """Follows the test images of one workspace."""

    def __init__(self, fold: Fold, present: PresentImages, leases: Leases, drawing: Drawing) -> None:
        self._fold = fold
        self._leases = leases
        self._share = drawing.test  # 0: a folder of its own has all test images
        self._places: dict[int, float] = {}  # of the test images
        self._sorted: list[float] | None = None
        self._asked: set[int] = set()
        self._brought: set[int] = set()  # labeled, but never asked
        self._chosen: set[int] = set()  # their split is not the drawn one
        for image_id, split in present.splits.items():  # of a million, few have to do with the test split
            place = present.place(image_id)
            if split == "test" or place < self._share:
                self.moved(image_id, None, split, place)
        present.follow(self.moved)

    def moved(self, image_id: int, _before: Split | None, split: Split | None, place: float) -> None:
        """The image is in another split now, or there no more (None)."""
        if split == "test":
            self._places[image_id], self._sorted = place, None
        elif self._places.pop(image_id, None) is not None:
            self._sorted = None
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
        if self._sorted is None:
            self._sorted = sorted(self._places.values())
        last = max(self._places[image_id] for image_id in self._asked)
        passed = bisect_right(self._sorted, last) - len(self._asked)
        held = (image_id for image_id in self._leases.leased() if image_id not in self._asked)
        passed -= sum(self._places.get(image_id, 1.0) <= last for image_id in held)
        return passed <= len(self._asked) // TOLERATED
