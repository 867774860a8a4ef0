"""Counts of images by split and status, kept up to date row by row, so that showing them never walks the catalogue."""

from __future__ import annotations

from collections import Counter

from labeler.store.pace import Pace
from labeler.store.present import PresentImages
from shared.log import ANSWERS, IMPORT, Fold
from shared.tasks.task import Value
from shared.wire.fields import Split, Status
from shared.wire.log import Row
from shared.wire.project import ImageCounts

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class Counts:
    """The existing images and counts of them. Has no lock of its own: callers hold the store's lock."""

    def __init__(self, fold: Fold, present: PresentImages) -> None:
        self._fold = fold
        self.splits = present.splits
        present.follow(self.moved)
        self.asked: Counter[Split] = Counter()  # images that somebody answered here, by split
        self._totals: Counter[Split] = Counter()
        self._counted: dict[int, tuple[Split, Status, bool]] = {}  # answered images; the flag: whether answered here
        self._counts: Counter[tuple[Split, Status]] = Counter()
        self._labels: dict[int, Value] = {}  # image id → label, for existing images
        self._per_class: Counter[int] = Counter()
        self.labeled_here = 0  # labeled images that somebody answered here, not only in an import
        self._imported: set[int] = set()
        self.pace = Pace()
        self.shared: set[int] = set()  # images that more than one annotator answered

    def moved(self, image_id: int, before: Split | None, split: Split | None, _place: float) -> None:
        """Update the counts: the image is in another split now, or was removed (None)."""
        if before is not None:
            self._totals[before] -= 1
        if split is not None:
            self._totals[split] += 1
        if before is not None or image_id in self._fold.images:  # a new image has no rows, and there may be a million
            self.refresh(image_id)

    def refresh(self, image_id: int) -> None:
        """Recount the image by its current state."""
        self._uncount(image_id)
        self._relabel(image_id)
        split, state = self.splits.get(image_id), self._fold.state(image_id)
        status = state.status
        if split is not None and len(state.answered) > 1:
            self.shared.add(image_id)
        else:
            self.shared.discard(image_id)
        if split is not None and status != "unlabeled":
            counted = (split, status, image_id in self._fold.answered_here)
            self._counted[image_id] = counted
            self._add(image_id, *counted, 1)

    def observe(self, row: Row) -> None:
        """Process a row, before its image is refreshed."""
        if row.image_id is None or row.action not in ANSWERS:
            return
        self._uncount(row.image_id)
        if row.source == IMPORT:
            self._imported.add(row.image_id)
        else:
            self.pace.observe(row)

    def counts(self, split: Split | None = None) -> ImageCounts:
        """Images of one split, or of all, by status."""
        splits = SPLITS if split is None else (split,)
        labeled, skipped, flagged = (
            sum(self._counts[each, status] for each in splits) for status in ("labeled", "skipped", "flagged")
        )
        total = sum(self._totals[each] for each in splits)
        unlabeled = total - labeled - skipped - flagged
        return ImageCounts(total=total, labeled=labeled, skipped=skipped, flagged=flagged, unlabeled=unlabeled)

    def labels_of(self, class_id: int) -> int:
        """Number of images labeled with the class."""
        return self._per_class[class_id]

    def _uncount(self, image_id: int) -> None:
        before = self._counted.pop(image_id, None)
        if before is not None:
            self._add(image_id, *before, -1)

    def _relabel(self, image_id: int) -> None:
        before = self._labels.pop(image_id, None)
        if before is not None:
            self._per_class.subtract(self._fold.task.classes_in(before))
        label = self._fold.state(image_id).label if image_id in self.splits else None
        if label is not None:
            self._labels[image_id] = label
            self._per_class.update(self._fold.task.classes_in(label))

    def _add(self, image_id: int, split: Split, status: Status, here: bool, by: int) -> None:
        self._counts[split, status] += by
        self.labeled_here += by * (status == "labeled" and here)
        if image_id not in self._imported:
            self.asked[split] += by
