"""What reviewers decided, read from the log alone: which doubts they have weighed, and how often they found an error.

A verdict is a row with `source: review`: a `settle` for keep, fix and remove, a `skip` for unsure; `source: accepted`
is a fix that was taken with many others, unseen. It holds as long as it is not taken back. A doubt that was judged
comes back only when it proposes a class that nobody weighed for that image: neither given, nor proposed, nor chosen
before.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from uuid import UUID

from shared.log import Fold
from shared.wire.log import Row
from shared.wire.review import ACCEPTED, REVIEW

RECENT = 50  # verdicts by which one says whether going on is worth it
_KEPT = 1_000  # of the newest, so that some are left when many are taken back
FOUND = frozenset({"fix", "remove"})


@dataclass(frozen=True, slots=True)
class _Judged:
    id: UUID
    image_id: int
    error: bool
    weighed: tuple[int | None, int | None]  # the class chosen, the class proposed


class Verdicts:
    """Those of one workspace. Not locked: whoever calls holds the store's lock."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold
        self._by_image: dict[int, list[_Judged]] = {}
        self._newest: deque[_Judged] = deque(maxlen=_KEPT)

    def observe(self, row: Row) -> None:
        """Take note of a row."""
        if row.source not in (REVIEW, ACCEPTED) or row.image_id is None or row.action not in ("settle", "skip"):
            return
        judged = _Judged(row.id, row.image_id, row.reason in FOUND, (row.label, row.proposed))
        self._by_image.setdefault(row.image_id, []).append(judged)
        if row.source == REVIEW:  # what nobody looked at says nothing about how good the order is
            self._newest.append(judged)

    def is_open(self, image_id: int, proposed: int) -> bool:
        """Whether a doubt that proposes this class waits to be judged."""
        standing = self._standing(image_id)
        if not standing:
            return True
        weighed = {self._fold.resolve(label) for judged in standing for label in judged.weighed}
        return self._fold.resolve(proposed) not in weighed | set(self._fold.votes(image_id).values())

    def counts(self) -> tuple[int, int]:
        """Images judged, and those of them that were found to be wrong."""
        latest = [standing[-1] for image_id in self._by_image if (standing := self._standing(image_id))]
        return len(latest), sum(judged.error for judged in latest)

    def recent(self) -> tuple[int, int]:
        """Of the last verdicts that stand, at most RECENT: how many there are, and how many found an error."""
        standing = [judged for judged in self._newest if judged.id in self._fold.standing(judged.image_id)][-RECENT:]
        return len(standing), sum(judged.error for judged in standing)

    def _standing(self, image_id: int) -> list[_Judged]:
        judged = self._by_image.get(image_id)
        if not judged:
            return []
        ids = set(self._fold.standing(image_id))
        return [each for each in judged if each.id in ids]
