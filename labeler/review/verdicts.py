"""The reviewers' verdicts, read only from the log: which doubts they have judged, and how often they found an error.

A verdict is a row with `source: review`: a `settle` for keep, fix and remove, or a `skip` for unsure. `source:
accepted` is a fix that was accepted in bulk, unseen. A verdict holds until it is undone. A judged doubt comes back only
if it proposes a class that was not considered for that image yet: neither given, nor proposed, nor chosen. Where
classes are answered one by one, a verdict is about one class of an image, and the others are judged by themselves. Of
boxes, a fix is about one box; a verdict that leaves them as they are is about the whole image.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from uuid import UUID

from shared.log import Fold
from shared.wire.log import Row
from shared.wire.review import ACCEPTED, REVIEW

RECENT = 50  # verdicts that show whether continuing is worthwhile
_KEPT = 1_000  # newest verdicts, so that enough remain when many are undone
FOUND = frozenset({"fix", "remove"})


@dataclass(frozen=True, slots=True)
class _Judged:
    id: UUID
    image_id: int
    error: bool
    weighed: tuple[int | None, int | None]  # (class chosen, class proposed)


class Verdicts:
    """The verdicts of one workspace. Has no lock of its own: callers hold the store's lock."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold
        self._by_image: dict[int, list[_Judged]] = {}
        self._newest: deque[_Judged] = deque(maxlen=_KEPT)

    def observe(self, row: Row) -> None:
        """Process a row of the log."""
        if row.source not in (REVIEW, ACCEPTED) or row.image_id is None or row.action not in ("settle", "skip"):
            return
        task = self._fold.task
        chosen = None if task.by_class else task.shown_class(task.of_row(row))
        judged = _Judged(row.id, row.image_id, row.reason in FOUND, (chosen, row.proposed))
        self._by_image.setdefault(row.image_id, []).append(judged)
        if row.source == REVIEW:  # unseen proposals say nothing about the quality of the order
            self._newest.append(judged)

    def is_open(self, image_id: int, proposed: int) -> bool:
        """Whether a doubt that proposes this class is still to be judged."""
        standing = self._standing(image_id)
        if not standing:
            return True
        if self._fold.task.by_box:  # whoever kept the boxes, or was unsure, has seen all of them
            return all(judged.error for judged in standing)
        weighed = {self._fold.resolve(label) for judged in standing for label in judged.weighed}
        task, votes = self._fold.task, self._fold.votes(image_id).values()
        given = set() if task.by_class else {each for value in votes for each in task.classes_in(value)}
        return self._fold.resolve(proposed) not in weighed | given

    def counts(self) -> tuple[int, int]:
        """The number of judged images, or of judged classes of images, and of errors among them."""
        by_class, by_box = self._fold.task.by_class, self._fold.task.by_box
        latest = {
            (image_id, judged.weighed[1] if by_class else judged.id if by_box else None): judged
            for image_id in self._by_image
            for judged in self._standing(image_id)
        }.values()
        return len(latest), sum(judged.error for judged in latest)

    def recent(self) -> tuple[int, int]:
        """The number of recent valid verdicts, up to RECENT, and of errors among them."""
        standing = [judged for judged in self._newest if judged.id in self._fold.standing(judged.image_id)][-RECENT:]
        return len(standing), sum(judged.error for judged in standing)

    def _standing(self, image_id: int) -> list[_Judged]:
        judged = self._by_image.get(image_id)
        if not judged:
            return []
        ids = set(self._fold.standing(image_id))
        return [each for each in judged if each.id in ids]
