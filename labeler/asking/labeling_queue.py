"""The queue: the order in which images are asked, and which page gets which image.

First come images named by a pushed list: the newest list first, in its own order. Then come images that no list has
named, in the order of their salted hash: random, but fixed. This holds for open images of the train split. Test and
validation images are ordered only by hash, and `held_out_schedule` inserts them. If several people answer each image
(`overlap`), images begun by others come before all of these. A push only changes positions: images that it does not
name keep their order behind it, and an image leased by a page (`leases`) stays with that page.

The order is stored in the tables `query` and `push`, and in memory as plain lists, to answer in under a millisecond.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, delete, select

from labeler.asking.held_out_schedule import due_test_images, due_validation_images
from labeler.asking.kept_leases import KeptLeases
from labeler.asking.leases import Leases
from labeler.asking.packed_boxes import NO_BOXES, PackedBoxes
from labeler.asking.random_order import BEHIND_LISTS, FIRST, HashOrder, Key
from labeler.errors import Conflict
from labeler.store.annotation_log import AnnotationLog
from labeler.store.counts import Counts
from labeler.store.database import Store
from labeler.store.tables import PUSH, RANKED
from shared.settings.services import LabelerSettings
from shared.wire.fields import Split
from shared.wire.project import ImageCounts
from shared.wire.queries import Purpose, Query, QueryPush, QueryReceipt, SuggestedBox, Suggestion

PURPOSES: dict[Split, Purpose] = {"train": "query", "validation": "validation", "test": "test"}
_CHUNK = 500  # ids in one SQL statement


@dataclass(frozen=True, slots=True)
class Place:
    """An image's position in the newest list that names it, with the list's score, reason, suggestions, boxes."""

    version: int
    position: int
    score: float
    reason: str | None
    suggestions: tuple[Suggestion, ...]
    boxes: PackedBoxes = NO_BOXES

    @property
    def key(self) -> tuple[int, int]:
        """Sort key of places: newest list first, then the list's order."""
        return (-self.version, self.position)


@dataclass(frozen=True, slots=True)
class Pick:
    """An image to ask about. `place` is None if the model did not choose it."""

    image_id: int
    split: Split
    place: Place | None


class LabelingQueue:
    """The order and the leases of one workspace. Hold the store's lock during every call."""

    def __init__(
        self, store: Store, log: AnnotationLog, tally: Counts, leases: Leases, settings: LabelerSettings
    ) -> None:
        self._store = store
        self._log = log
        self._tally = tally
        self._leases = leases
        self._kept_leases = KeptLeases(store, leases)
        self._settings = settings
        self._orders: dict[Split, HashOrder] = {split: HashOrder() for split in PURPOSES}
        self._places: dict[int, Place] = {}
        self._ranked: list[int] = []  # by place; may contain finished images, which are skipped
        self._rests: Callable[[int], bool] = lambda _: False
        self._begun: dict[int, None] = {}  # open images with fewer than `overlap` answers, oldest first
        self.version = 0
        self.acked_seq = 0
        self.model_version: str | None = None
        self.strategy: str | None = None
        self._load()

    def close(self) -> None:
        """Close the queue's own connections."""
        self._kept_leases.close()

    @property
    def remaining(self) -> int:
        """The number of images that are not finished yet."""
        return sum(len(order) for order in self._orders.values())

    def moved(self, image_id: int, before: Split | None, split: Split | None, place: float) -> None:
        """Update the order: the image is in another split, or was removed (None). `place` in [0, 1) is its
        salted hash.
        """
        if before is None and split is not None and image_id not in self._log.fold.images:  # new, as most are
            self._orders[split].add(image_id, place)
            self._orders[split].open(image_id)
            return
        for other, order in self._orders.items():
            if other != split:
                order.close(image_id)
        if split is not None:
            self._orders[split].add(image_id, place)
        self.refresh(image_id)

    def refresh(self, image_id: int) -> None:
        """Recompute whether the image still needs an answer, after a new log row about it."""
        split = self._tally.splits.get(image_id)
        state = self._log.fold.state(image_id)
        finished = state.finished(self._settings.overlap)
        if split is None or finished or not state.answered:
            self._begun.pop(image_id, None)
        else:
            self._begun.setdefault(image_id)
        for each, order in self._orders.items():
            if each == split and not finished:
                order.open(image_id)
            else:
                order.close(image_id)

    def hold_back(self, rests: Callable[[int], bool]) -> None:
        """Skip images for which `rests` returns True, because they cannot be shown now."""
        self._rests = rests

    def place_test(self, image_id: int, place: float) -> None:
        """Move a test image to another position in the order."""
        self._orders["test"].add(image_id, place)

    def refresh_all(self) -> None:
        """Refresh every image, after `overlap` changed."""
        for image_id in self._tally.splits:
            self.refresh(image_id)

    def ranked(self) -> Iterator[int]:
        """Open train images in the order in which they will be asked."""
        train = self._orders["train"]
        for image_id in self._ranked:
            if image_id in train:
                yield image_id
        for image_id in train:
            if image_id not in self._places:
                yield image_id

    def ranked_after(self, key: Key, count: int, version: int) -> list[tuple[int, Key]]:
        """The next `count` images of `ranked` behind `key` (FIRST: from the start), each with its own key.

        `version` is the queue version when the caller began. Images that a later list names come last: some occur a
        second time, but none is left out.
        """
        train, found = self._orders["train"], list[tuple[int, Key]]()
        if key[0] < 0:  # among the images of lists
            key_of = _key_in_lists(self._places)
            start = bisect_right(self._ranked, key, key=key_of) if key != FIRST else 0
            lists = islice(self._ranked, start, None)
            there = (each for each in lists if each in train and self._places[each].version <= version)
            found = [(image_id, key_of(image_id)) for image_id in islice(there, count)]
            key = BEHIND_LISTS
        while len(found) < count and (some := train.after(key, count - len(found))):
            key = some[-1]
            found += [
                (image_id, (place, image_id))
                for place, image_id in some
                if (named := self._places.get(image_id)) is None or named.version > version
            ]
        return found

    def train_counts(self) -> ImageCounts:
        """Train images by status."""
        return self._tally.counts("train")

    def asks(self, image_id: int) -> bool:
        """Whether `ranked` contains the image."""
        return image_id in self._orders["train"]

    def begun(self) -> list[int]:
        """Open images with fewer answers than `overlap`, oldest first."""
        return list(self._begun)

    def held_out(self, split: Split) -> Iterator[int]:
        """Open images of the split, in the order of their hash."""
        return iter(self._orders[split])

    def push(self, push: QueryPush) -> QueryReceipt:
        """Merge a ranked list into the order; returns the new queue version.

        Raises Conflict for another workspace's list, and if its model had seen less of the log than the current
        list's, or more than there is.
        """
        known = self._pushed(push.id)
        if known is not None:
            return QueryReceipt(query_version=known)
        self._check(push)
        version = self.version + 1
        train = self._orders["train"]
        named = [query for query in _first_of_each(push.queries) if query.image_id in train]
        places = {
            query.image_id: Place(
                version, position, query.score, query.reason, tuple(query.suggestions), PackedBoxes.of(query.boxes)
            )
            for position, query in enumerate(named)
        }
        self._write(push, version, places)
        self._places |= places
        self._ranked = list(places) + [image_id for image_id in self._ranked if image_id not in places]
        self.version, self.acked_seq = version, push.acked_seq
        self.model_version, self.strategy = push.model_version, push.strategy
        return QueryReceipt(query_version=version)

    def serve(self, annotator: str, session: str, limit: int, keep: Sequence[int] = ()) -> list[Pick]:
        """Lease up to `limit` images to the session: first those of `keep` that it may hold, then the next in order.

        Ends the session's other leases. Never gives an image that the annotator has answered or that others hold.
        """
        kept = [image_id for image_id in dict.fromkeys(keep) if self.may_hold(image_id, annotator, session)][:limit]
        self._leases.free(session, keep=kept)
        for image_id in kept:
            self._take(image_id, annotator, session)
        picks = [self.pick(image_id) for image_id in kept]
        picks += self._next(annotator, session, limit - len(kept), set(kept))
        held = [pick.image_id for pick in picks]
        self._kept_leases.hold(held, session, annotator, self._settings.lease_seconds, only=True)
        return picks

    def lease(self, image_id: int, annotator: str, session: str) -> None:
        """Lease this image to the session, in addition to its other leases."""
        self._take(image_id, annotator, session)
        self._kept_leases.hold([image_id], session, annotator, self._settings.lease_seconds, only=False)

    def _take(self, image_id: int, annotator: str, session: str) -> None:
        self._leases.take(image_id, session, annotator, self._settings.lease_seconds)

    def pick(self, image_id: int) -> Pick:
        """The image with what the page is told about it: for a held-out image, nothing from the model."""
        split = self._tally.splits.get(image_id, "train")
        return Pick(image_id, split, self._places.get(image_id) if split == "train" else None)

    def leased(self) -> list[int]:
        """Train images held by a page."""
        return [image_id for image_id in self._leases.leased() if self._tally.splits.get(image_id) == "train"]

    def _next(self, annotator: str, session: str, count: int, chosen: set[int]) -> list[Pick]:
        def free(image_ids: Iterator[int]) -> Iterator[int]:
            return (each for each in image_ids if each not in chosen and self.may_hold(each, annotator, session))

        # Images begun by others come first: newer lists do not name them, and would push them far behind.
        begun = free(iter(self.begun()))
        sources = {
            "train": free(self.ranked()),
            "validation": free(self.held_out("validation")),
            "test": free(self.held_out("test")),
        }
        asked = self._asked(session)
        share = self._validation_share()
        picks: list[Pick] = []
        while len(picks) < count:
            total = sum(asked.values()) + 1
            order = ["train", "validation", "test"]
            if asked["validation"] < due_validation_images(total, share, self._settings):
                order.insert(0, "validation")
            if asked["test"] < due_test_images(total, self._settings):
                order.insert(0, "test")
            in_turn = (begun, *(sources[name] for name in order))
            image_id = next((found for source in in_turn for found in source), None)
            if image_id is None:
                break
            chosen.add(image_id)
            self._take(image_id, annotator, session)
            picks.append(self.pick(image_id))
            asked[picks[-1].split] += 1
        return picks

    def _asked(self, session: str) -> dict[Split, int]:
        """Number of images asked so far per split, including those on screens.

        Train images on other screens do not count, because a page that was closed would bring the first test images
        forward.
        """
        asked = {split: self._tally.asked[split] for split in PURPOSES}
        for image_id in self._leases.leased():
            split = self._tally.splits.get(image_id)
            if split == "train" and not self._leases.holds(image_id, session):
                continue
            if split is not None and not self._log.fold.state(image_id).answered:
                asked[split] += 1
        return asked

    def _validation_share(self) -> float:
        total = self._tally.counts().total
        return self._tally.counts("validation").total / total if total else 0.0

    def may_hold(self, image_id: int, annotator: str, session: str) -> bool:
        """Whether the image is open, not answered by the annotator, and on fewer other screens than it needs answers.
        The annotator's own pages from before a restart count as closed.
        """
        split = self._tally.splits.get(image_id)
        if split is None or image_id not in self._orders[split]:
            return False
        answered = self._log.fold.state(image_id).answered
        if annotator in answered or self._rests(image_id):
            return False
        others = [
            lease
            for lease in self._leases.on(image_id)
            if lease.session != session and not (lease.restored and lease.annotator == annotator)
        ]
        if any(lease.annotator == annotator for lease in others):
            return False
        return len(others) < self._settings.overlap - len(answered)

    def _check(self, push: QueryPush) -> None:
        if push.log_id != self._log.log_id:
            raise Conflict(
                f"The list is for log {push.log_id}, but this workspace's log is {self._log.log_id}. Use its log.",
                log_id=str(self._log.log_id),
            )
        for limit, wrong, what in (
            (self.acked_seq, push.acked_seq < self.acked_seq, "but the current list knows it up to"),
            (self._log.last_seq, push.acked_seq > self._log.last_seq, "but the log ends at"),
        ):
            if wrong:
                raise Conflict(
                    f"The list knows the log up to {push.acked_seq}, {what} {limit}. Send a new ranking.",
                    acked_seq=limit,
                    query_version=self.version,
                )

    def _pushed(self, push_id: UUID) -> int | None:
        with self._store.read() as connection:
            found = connection.execute(select(PUSH.c.query_version).where(PUSH.c.id == push_id)).scalar()
        return None if found is None else int(found)

    def _write(self, push: QueryPush, version: int, places: dict[int, Place]) -> None:
        ids = list(places)
        with self._store.write() as connection:
            connection.execute(
                PUSH.insert().values(
                    query_version=version,
                    created_at=datetime.now(UTC),
                    **push.model_dump(include={"id", "log_id", "acked_seq", "model_version", "strategy"}),
                )
            )
            for start in range(0, len(ids), _CHUNK):
                connection.execute(delete(RANKED).where(RANKED.c.image_id.in_(ids[start : start + _CHUNK])))
            if places:
                connection.execute(
                    RANKED.insert(), [_stored(image_id, place, push) for image_id, place in places.items()]
                )

    def _load(self) -> None:
        with self._store.read() as connection:
            newest = connection.execute(select(PUSH).order_by(PUSH.c.query_version.desc()).limit(1)).mappings().first()
            stored = select(RANKED).order_by(RANKED.c.query_version.desc(), RANKED.c.position)
            for row in connection.execute(stored).mappings():
                self._places[row["image_id"]] = _place(row)
                self._ranked.append(row["image_id"])
        if newest is not None:
            self.version = newest["query_version"]
            # After an older log is restored, it may end before rows that the last list's model has seen.
            self.acked_seq = newest["acked_seq"] if newest["log_id"] == self._log.log_id else 0
            self.model_version, self.strategy = newest["model_version"], newest["strategy"]


def _key_in_lists(places: dict[int, Place]) -> Callable[[int], Key]:
    return lambda image_id: (-float(places[image_id].version), places[image_id].position)


def _first_of_each(queries: Sequence[Query]) -> list[Query]:
    first: dict[int, Query] = {}
    for query in queries:
        first.setdefault(query.image_id, query)
    return list(first.values())


def _stored(image_id: int, place: Place, push: QueryPush) -> dict[str, Any]:
    return {
        "image_id": image_id,
        "query_version": place.version,
        "position": place.position,
        "score": place.score,
        "reason": place.reason,
        "suggestions": [suggestion.model_dump() for suggestion in place.suggestions],
        "boxes": [box.model_dump() for box in place.boxes] or None,
        "model_version": push.model_version,
    }


def _place(row: RowMapping) -> Place:
    suggestions = tuple(Suggestion.model_construct(**each) for each in row["suggestions"])
    boxes = PackedBoxes.of(SuggestedBox.model_construct(**each) for each in row["boxes"] or ())
    return Place(row["query_version"], row["position"], row["score"], row["reason"], suggestions, boxes)
