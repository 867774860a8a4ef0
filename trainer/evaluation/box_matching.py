"""Matches found boxes with true boxes as COCO does: one to one, most confident first.

Arrays in and out. Boxes are rows x, y, w, h in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.tasks.iou import iou

THRESHOLDS: NDArray[np.float64] = np.linspace(0.5, 0.95, 10)
"""The IoUs over which COCO averages: at each, boxes match if they overlap at least that much."""
SAME_PLACE = 0.7
"""Two boxes with at least this IoU are the same object, whatever their classes."""
MOST_FOUND = 100
"""Maximum number of found boxes per image and class that count, as in COCO."""

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Placed:
    """Boxes of one image: `classes` (m,), `places` (m, 4), and for found boxes `scores` (m,), in any order."""

    classes: Ids
    places: Floats
    scores: Floats

    @classmethod
    def of(cls, boxes: Sequence[tuple[int, float, float, float, float]], scores: Sequence[float] = ()) -> Placed:
        """Convert boxes (class id, x, y, w, h). Without `scores`, all scores are 1."""
        return cls(
            np.array([box[0] for box in boxes], np.int64),
            np.array([box[1:5] for box in boxes], np.float64).reshape(-1, 4),
            np.array(scores, np.float64) if len(scores) else np.ones(len(boxes)),
        )

    def __len__(self) -> int:
        return len(self.classes)

    def suggested(self, threshold: float) -> Placed:
        """The boxes to suggest to a person: those whose worth (`worths`) is at least this. Of several boxes in one
        place, only the most confident.
        """
        kept = distinct(self.places, self.scores) & (worths(self.places, self.classes, self.scores) >= threshold)
        return Placed(self.classes[kept], self.places[kept], self.scores[kept])

    def confident(self, score: float) -> Placed:
        """The boxes with at least this score. Of several boxes in one place, only the most confident."""
        kept = distinct(self.places, self.scores) & (self.scores >= score)
        return Placed(self.classes[kept], self.places[kept], self.scores[kept])


def distinct(places: Floats, scores: Floats) -> Bools:
    """Mark the boxes (m, 4) that no box with a higher score (m,) covers. An object has one class, and a second box for
    it would cost a person a click.
    """
    shared = iou(places, places) >= SAME_PLACE
    kept = np.asarray(shared.sum(axis=1) <= 1)  # no other box in this place
    for each in np.argsort(-scores, kind="stable"):
        if not kept[each]:
            kept[each] = not (shared[each] & kept).any()
    return kept


def worths(places: Floats, classes: Ids, scores: NDArray[np.floating]) -> NDArray[np.floating]:
    """How much a suggestion of each box (m, 4) would save a person: the mean of two probabilities, that there is an
    object of this class and that there is one of any class. The second is the sum of the classes' best scores there.

    If the box is right, the person need not draw it, which saves an action. If only its class is wrong, the person
    changes the class instead of drawing, which costs the same. If there is nothing, deleting it costs an action. So
    suggesting a box saves P(this class) - (1 - P(any class)) actions on average: more than 0 if the mean is above 0.5.
    """
    shared = iou(places, places) >= SAME_PLACE
    np.fill_diagonal(shared, True)  # a box without an area, too
    total = np.zeros_like(scores)
    for class_id in np.unique(classes):
        mine = classes == class_id
        total += np.where(shared[:, mine], scores[mine], 0).max(axis=1, initial=0)
    return (scores + np.minimum(total, 1)) / 2


def matched(true: Floats, found: Floats, thresholds: Floats = THRESHOLDS) -> Ids:
    """The index of the true box that matches each found box of the same class, at each IoU (T, m); -1 for none.

    `found` (m, 4) are sorted, the most confident first, and each takes the free true box that it overlaps most.
    """
    said = np.full((len(thresholds), len(found)), -1, np.int64)
    if not len(true) or not len(found):
        return said
    overlap = iou(found, true)
    limits = np.minimum(thresholds, 1 - 1e-10)
    free = np.ones((len(thresholds), len(true)), np.bool_)
    for each in np.flatnonzero(overlap.max(axis=1) >= limits.min()):
        near = np.where(free, overlap[each], -1.0)
        best = near.argmax(axis=1)
        is_match = near.max(axis=1) >= limits
        said[is_match, each] = best[is_match]
        free[is_match, best[is_match]] = False
    return said


@dataclass(frozen=True)
class Pairing:
    """The comparison of one image at one IoU: pairs (true box, found box) of the same class; from the remaining boxes,
    pairs of different classes; and `missed` and `extra` boxes, which are in no pair.
    """

    same: list[tuple[int, int]]
    confused: list[tuple[int, int]]
    missed: list[int]
    extra: list[int]


def pairing(true: Placed, found: Placed, threshold: float) -> Pairing:
    """Pair the `found` boxes of an image with the `true` ones."""
    order = np.argsort(-found.scores, kind="stable")
    limit = np.array([threshold])
    same: list[tuple[int, int]] = []
    for class_id in np.unique(found.classes):
        mine, theirs = order[found.classes[order] == class_id], np.flatnonzero(true.classes == class_id)
        said = matched(true.places[theirs], found.places[mine], limit)[0]
        same += [(int(theirs[each]), int(mine[k])) for k, each in enumerate(said) if each >= 0]
    left = np.setdiff1d(np.arange(len(true)), [one for one, _ in same])
    others = np.array([each for each in order if each not in {other for _, other in same}], np.int64)
    said = matched(true.places[left], found.places[others], limit)[0]
    confused = [(int(left[each]), int(others[k])) for k, each in enumerate(said) if each >= 0]
    taken = {one for one, _ in confused}, {other for _, other in confused}
    return Pairing(
        same,
        confused,
        [int(each) for each in left if int(each) not in taken[0]],
        [int(each) for each in others if int(each) not in taken[1]],
    )
