"""Doubtful boxes: objects that nobody boxed, boxes of the wrong class, and boxes that fit badly.

The labeled train images are split into two halves. A detector fitted on one half judges the other, so that no image is
judged by a detector that has seen its answer. A confident detection that nobody drew is a missing box. If it has
another class than the box in its place, the class is in doubt. If it lies elsewhere than the box of the same object,
the place is in doubt. The total number of wrong boxes is not estimated. Boxes that the detector does not find are
listed apart: they show what it has not learned yet, and give no reason to doubt the boxes.

Judging takes a bounded time: at most `MOST` images, and `SECONDS` for each of the two detectors.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shared.images.opening import ImageProblem
from shared.tasks.detection import Boxes
from shared.tasks.iou import iou
from shared.wire.review import DoubtKind, LabelIssue, Place
from trainer.evaluation.box_matching import Placed, pairing
from trainer.live_detector.live_detector import LEAST_IMAGES, placed
from trainer.live_detector.pictures import Pictures
from trainer.review.label_issues import settled
from trainer.review.label_noise import Errors
from trainer.sync.snapshot import Snapshot

if TYPE_CHECKING:  # torch takes seconds to import
    from trainer.detection.detector import Detector

HALVES = 2
MOST = 400
"""Maximum number of images that are judged, drawn at random."""
STEPS = 200
"""Steps of each detector."""
SECONDS = 45.0
SURE = 0.55
"""Minimum score at which an object that nobody boxed is a missing box."""
ANOTHER = 0.5
"""Minimum score at which another class in the same place is a doubt. A box is missed if nothing near it reaches it."""
LOOSE = 0.65
"""IoU below which the same object in another place is a doubt, if its score is at least `SURE`."""
APART = 0.3
"""A missing box overlaps every box of the image less than this."""

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class BoxesOutOfFold:
    """The answers `values` of the images `ids` (n,), and the boxes that a detector `found` without having seen the
    answers; None where an image cannot be read."""

    ids: Ids
    values: list[Boxes]
    found: list[Placed | None]


@dataclass(frozen=True)
class BoxDoubt:
    """One doubt about image `row`: the class and place proposed, and those drawn; `at` is None for a missing box."""

    row: int
    kind: DoubtKind
    quality: float
    confidence: float
    label: int
    proposed: int
    box: tuple[float, ...]
    at: tuple[float, ...] | None


@dataclass(frozen=True)
class BoxDoubts:
    """All doubts, the worst first, and the missed boxes, those with the lowest scores first."""

    doubts: list[BoxDoubt]
    errors: Errors
    missed: list[BoxDoubt] = field(default_factory=list)


class BoxJudge:
    """Judges boxes in images, read through `pictures`. See `trainer.review.reviewer.Judge`."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures
        self.closing = Event()  # set when the trainer ends: judging gives up

    def lacking(self, values: Sequence[Boxes]) -> int:
        """Requires five images in each half, and boxes in both."""
        boxed = sum(len(each) > 0 for each in values)
        return max(HALVES * LEAST_IMAGES - len(values), HALVES * 2 - boxed, 0)

    def trusted(self, ids: Ids, snapshot: Snapshot) -> NDArray[np.bool_]:
        """Mask (n,) of the settled images."""
        return settled(ids, snapshot)

    def judge(
        self,
        ids: Ids,
        rows: NDArray[np.float32],
        values: Sequence[Boxes],
        trusted: NDArray[np.bool_],
        *,
        seed: int,
        progress: Callable[[float], None],
    ) -> BoxesOutOfFold | None:
        """The boxes that the other half's detector finds in each image; None if there are too few images."""
        if self.lacking(values) > 0:
            return None
        draws = np.random.default_rng(seed)
        some = np.sort(draws.permutation(len(ids))[:MOST])
        half = draws.permutation(len(some)) % HALVES
        chosen, given = ids[some], [values[k] for k in some]
        found: list[Placed | None] = [None] * len(chosen)
        for number in range(HALVES):
            learned = {int(chosen[k]): given[k] for k in np.flatnonzero(half != number)}
            detector = self._fitted(learned, seed, partial(_tell, progress, number))
            if detector is None:
                return None
            for k in np.flatnonzero(half == number):
                if self.closing.is_set():
                    return None
                found[k] = self._look(detector, int(chosen[k]))
            progress((number + 1) / HALVES)
        return BoxesOutOfFold(chosen, given, found)

    def doubts(
        self,
        known: BoxesOutOfFold,
        now: Sequence[Boxes | None],
        trusted: NDArray[np.bool_],
        before: Sequence[Boxes | None],
    ) -> BoxDoubts:
        """Compare all answers with the found boxes. A settled answer may still have another doubtful box."""
        both = [
            (row, placed(value), found)
            for row, (value, found) in enumerate(zip(now, known.found, strict=True))
            if value is not None and found is not None
        ]
        doubts = sorted((doubt for each in both for doubt in doubts_of(*each)), key=lambda each: each.quality)
        missed = sorted((doubt for each in both for doubt in missed_of(*each)), key=lambda each: each.confidence)
        return BoxDoubts(doubts, Errors(np.empty(0), 0, 0, 0, enough=False), missed)

    def told(
        self,
        known: BoxesOutOfFold,
        found: BoxDoubts,
        now: Sequence[Boxes | None],
        names: Mapping[int, str],
        limit: int,
    ) -> list[LabelIssue]:
        """The worst doubts about classes that still exist."""
        return self._issues(known, found.doubts, names)[:limit]

    def missed(self, known: BoxesOutOfFold, found: BoxDoubts, names: Mapping[int, str], limit: int) -> list[LabelIssue]:
        """The boxes that the other half's detector does not find."""
        return self._issues(known, found.missed, names)[:limit]

    def _issues(self, known: BoxesOutOfFold, doubts: Sequence[BoxDoubt], names: Mapping[int, str]) -> list[LabelIssue]:
        return [
            LabelIssue(
                image_id=int(known.ids[each.row]),
                label=each.label,
                label_name=names[each.label],
                proposed=each.proposed,
                proposed_name=names[each.proposed],
                quality=each.quality,
                confidence=each.confidence,
                confident=False,  # a place cannot be accepted unseen, so a person checks each
                agreeing=0,
                neighbours=0,
                evidence=[],
                kind=each.kind,
                box=_place(each.box),
                at=None if each.at is None else _place(each.at),
            )
            for each in doubts
            if each.label in names and each.proposed in names
        ]

    def _fitted(self, lessons: Mapping[int, Boxes], seed: int, progress: Callable[[float], None]) -> Detector | None:
        from trainer.detection.detector import Example
        from trainer.detection.learning import fit

        began, asked = time.monotonic(), 0

        def over() -> bool:
            nonlocal asked
            asked += 1
            progress(min(asked / STEPS, 1.0))
            return self.closing.is_set() or time.monotonic() - began > SECONDS

        examples = []
        for image_id, boxes in lessons.items():
            sha256, drawn = self._pictures.hash_of(image_id), placed(boxes)
            if sha256 is not None:
                examples.append(Example(sha256, drawn.places.astype(np.float32), drawn.classes))
        if not any(len(each.labels) for each in examples):
            return None
        detector = fit(examples, self._pictures.maps, previous=None, steps=STEPS, seed=seed, should_stop=over)
        return detector if detector.steps else None

    def _look(self, detector: Detector, image_id: int) -> Placed | None:
        sha256 = self._pictures.hash_of(image_id)
        if sha256 is None:
            return None
        try:
            found = detector.detect(self._pictures.maps_of(detector.size).plain(sha256))
        except ImageProblem:
            return None
        return Placed(found.classes, found.boxes.astype(np.float64), found.scores.astype(np.float64))


def doubts_of(row: int, drawn: Placed, found: Placed) -> list[BoxDoubt]:
    """The doubts about one image."""
    sure = found.confident(min(SURE, ANOTHER))
    pairs = pairing(drawn, sure, 0.5)

    def doubt(kind: DoubtKind, quality: float, other: int, one: int | None) -> BoxDoubt:
        proposed, at = int(sure.classes[other]), None if one is None else tuple(drawn.places[one].tolist())
        label = proposed if one is None else int(drawn.classes[one])
        score, box = float(np.clip(sure.scores[other], 0, 1)), tuple(sure.places[other].tolist())
        return BoxDoubt(row, kind, quality, score, label, proposed, box, at)

    told = [doubt("class", 1 - float(sure.scores[other]), other, one) for one, other in pairs.confused]
    for other in pairs.extra:
        near = iou(sure.places[[other]], drawn.places).max(initial=0.0)
        if sure.scores[other] >= SURE and near < APART:
            told.append(doubt("missing", 1 - float(sure.scores[other]), other, None))
    for one, other in pairs.same:
        overlap = float(iou(drawn.places[[one]], sure.places[[other]])[0, 0])
        if overlap < LOOSE and sure.scores[other] >= SURE:
            told.append(doubt("place", (1 + overlap) / 2, other, one))
    return told


def missed_of(row: int, drawn: Placed, found: Placed) -> list[BoxDoubt]:
    """The drawn boxes that no suggestion of any class is near, each with the score that its class reaches there."""
    sure = found.confident(ANOTHER)
    near = iou(drawn.places, sure.places).max(axis=1, initial=0.0) >= APART
    overlap = iou(drawn.places, found.places)
    told = []
    for one in np.flatnonzero(~near):
        there = (overlap[one] >= 0.5) & (found.classes == drawn.classes[one])
        score = float(np.clip(found.scores[there].max(initial=0.0), 0, 1))
        label, place = int(drawn.classes[one]), tuple(drawn.places[one].tolist())
        told.append(BoxDoubt(row, "missed", 1.0, score, label, label, place, place))
    return told


def _tell(progress: Callable[[float], None], half: int, share: float) -> None:
    progress((half + 0.8 * share) / HALVES)


def _place(box: Sequence[float]) -> Place:
    return Place(**dict(zip("xywh", (round(each, 2) for each in box), strict=True)))
