"""The meaning of the annotation log: a pure fold over its rows, written once and used by both services.

The log is the only source of truth. An image's current label follows from the rows alone:

- an undone row no longer counts, whatever came after it;
- an annotator's latest standing `label`, `skip` or `flag` is that annotator's answer;
- the last standing `settle` decides; one without a label flags the image, which then has no label;
- without a `settle`, the majority of the answers that are labels decides (classification: a tie is unlabeled);
- a reviewer's `skip` means that the reviewer could not tell: all answers stand, including the reviewer's own;
- an answer that came after its lease had expired and another annotator had answered (`source: late`) counts only while
  no other answer stands, so that it never overrides anyone;
- a merged class counts as the class it was merged into, a deleted class as no answer at all;
- the project's task (`shared.tasks`) decides how the answers of several people combine;
- a removed image is ignored until a `split_changed` row puts it back into a split; it then has its answers again.

`Fold.apply` takes rows one at a time and in order. The state after n rows does not depend on how they were batched (a
property test compares it with a fold from scratch). Applying a row takes time in proportion to the rows of its image,
not of the log. The exceptions are class merges and deletions, which are rare and recompute every image.
"""

from __future__ import annotations

import struct
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from shared.logged_classes import LoggedClasses
from shared.tasks.classification import CLASSIFICATION
from shared.tasks.task import Interned, Live, Task, Value
from shared.wire.fields import Split, Status
from shared.wire.log import Row
from shared.wire.review import REVIEW

ANSWERS = frozenset({"label", "skip", "flag"})
LATE = "late"
IMPORT = "import"
"""The source of imported answers: nobody was asked for them here."""
UNSURE = "unsure"


class Entry(NamedTuple):
    """The part of a row that an image's state depends on."""

    id: bytes
    action: str
    value: Value | None
    annotator: str
    late: bool = False


# Entries are kept packed, in a ninth of the memory that objects take, because a log may have a million.
_PACKED = struct.Struct("<16sBiI?")  # id, number of the action, number of the value, number of the annotator, late
_ACTIONS = ("label", "skip", "flag", "settle", UNSURE)


@dataclass(frozen=True, slots=True)
class ImageState:
    """The state of one image. `answered` has the annotators whose answer stands; they need not be asked again."""

    label: Value | None = None  # a value of the task: in classification, the class id
    status: Status = "unlabeled"
    answered: frozenset[str] = frozenset()
    settled: bool = False
    disputed: bool = False  # the answers that are labels tie

    @property
    def begun(self) -> bool:
        """Whether anybody has answered or settled it."""
        return bool(self.answered) or self.settled

    def finished(self, overlap: int) -> bool:
        """Whether nobody needs to be asked: settled, or `overlap` annotators have answered."""
        return self.settled or len(self.answered) >= overlap


UNLABELED = ImageState()


class Fold(LoggedClasses):
    """The state after the rows applied so far, in a project with this `task`."""

    def __init__(self, rows: Iterable[Row] = (), task: Task = CLASSIFICATION) -> None:
        super().__init__()
        self.task = task
        self.last_seq = 0
        self.images: dict[int, ImageState] = {}  # only those that some row is about
        self.labels: dict[int, Value] = {}  # image id → label, only for labeled images
        self.splits: dict[int, Split] = {}  # only those that a split_changed row moved
        self.removed: set[int] = set()
        self.counts: Counter[Status] = Counter()  # of `images`, without removed ones
        self.answered_here: dict[int, None] = {}  # images ever answered other than by import, earliest first
        self._entries: dict[int, bytes] = {}  # packed, oldest first
        self._undone: dict[int, set[bytes]] = defaultdict(set)
        self._reviewed: dict[bytes, int] = {}  # settling row → the class that the reviewer was asked about
        self._values = Interned()
        self._annotators: dict[str, int] = {}  # name → number in `_entries`
        self._names: list[str] = []
        self._groups: dict[frozenset[str], frozenset[str]] = {}  # annotators who answered one image; few are distinct
        for row in rows:
            self.apply(row)

    def state(self, image_id: int) -> ImageState:
        """The image's current state."""
        return self.images.get(image_id, UNLABELED)

    def live(self, value: Value | None) -> Value | None:
        """A value of the task after classes were merged and deleted; None if nothing is left of it."""
        return None if value is None else self.task.resolve(value, self.resolve)

    def text(self, value: Value | None) -> str | None:
        """A value in words, with the current names of classes; None if nothing is left of it."""
        live = self.live(value)
        return None if live is None else self.task.text(live, self.name_of)

    def shown_class(self, value: Value | None) -> int | None:
        """The live class that a page shows for a value; None if it has none, or several."""
        return self.task.shown_class(self.live(value))

    def shown_answer(self, value: Value | None) -> Any:
        """A value as the JSON of an answer, with the current classes; None in classification, which has a class."""
        live = self.live(value)
        return None if live is None else self.task.to_row(live).get("answer")

    def standing(self, image_id: int) -> list[UUID]:
        """Ids of the image's rows that are not undone, oldest first."""
        return [UUID(bytes=entry.id) for entry in self._standing(image_id)]

    def annotators(self, image_id: int) -> set[str]:
        """Annotators whose answer stands, even if its class has been deleted."""
        return {entry.annotator for entry in self._standing(image_id)}

    def reviewed(self, image_id: int) -> set[int]:
        """The live classes that reviewers settled in the image, where classes are settled one by one."""
        said = (self._reviewed.get(entry.id) for entry in self._standing(image_id))
        return {live for each in said if each is not None and (live := self.resolve(each)) is not None}

    def votes(self, image_id: int) -> dict[str, Value]:
        """Annotator → value, of all labels that count as votes. A settling answer is no vote."""
        return {who: value for who, (_, value) in self.answers(image_id).items() if value is not None}

    def voted(self, image_id: int) -> Value | None:
        """The label that follows from the votes alone; None if they do not decide."""
        return self.task.merge(self.votes(image_id).values())

    def answers(self, image_id: int) -> dict[str, tuple[str, Value | None]]:
        """Annotator → action and value, for all answers that count except settling ones."""
        answers, _ = self._deciding(image_id)
        return {who: (entry.action, self.live(entry.value)) for who, entry in answers.items()}

    def deciding(self, image_id: int) -> set[UUID]:
        """Ids of the rows that determine the image's state: the answers that count, and the row that settled it."""
        answers, settled = self._deciding(image_id)
        return {UUID(bytes=entry.id) for entry in (*answers.values(), settled) if entry is not None}

    def ahead(
        self, image_id: int, more: Iterable[Entry], resolve: Live
    ) -> tuple[ImageState, dict[str, tuple[str, Value | None]]]:
        """The image's state and `answers` as they would be with `more` answers. `resolve` returns live classes."""

        def live(value: Value | None) -> Value | None:
            return None if value is None else self.task.resolve(value, resolve)

        answers, settled = _deciding([*self._standing(image_id), *more], live)
        said = {who: (entry.action, live(entry.value)) for who, entry in answers.items()}
        return _state(answers, settled, live, frozenset(answers), self.task), said

    def apply(self, row: Row) -> set[int]:
        """Apply the next row; returns the ids of the images whose state it may have changed.

        Raises ValueError when `row` is not the next one: the log is dense.
        """
        if row.seq != self.last_seq + 1:
            raise ValueError(f"row {row.seq} does not follow row {self.last_seq}")
        self.last_seq = row.seq
        match row.action:
            case "label" | "skip" | "flag" | "settle":
                return self._answer(row)
            case "undo":
                return self._undo(row)
            case "split_changed":
                if row.image_id is not None and row.split is not None:
                    self.splits[row.image_id] = row.split
                    self._restore(row.image_id)
                    return {row.image_id}
            case "image_removed":
                if row.image_id is not None:
                    self._remove(row.image_id)
                    return {row.image_id}
            case _:
                return self._refresh_all() if self.change(row) else set()
        return set()

    def _answer(self, row: Row) -> set[int]:
        if row.image_id is None:
            return set()
        if row.source != IMPORT:
            self.answered_here.setdefault(row.image_id)
        unsure = row.source == REVIEW and row.action == "skip"
        action = _ACTIONS.index(UNSURE if unsure else row.action)
        annotator = self._annotators.setdefault(row.annotator, len(self._names))
        if annotator == len(self._names):
            self._names.append(row.annotator)
        value = self._values.number(self.task.of_row(row))
        if row.action == "settle" and row.proposed is not None:
            self._reviewed[row.id.bytes] = row.proposed
        entry = _PACKED.pack(row.id.bytes, action, value, annotator, row.source == LATE)
        self._entries[row.image_id] = self._entries.get(row.image_id, b"") + entry
        self._refresh(row.image_id)
        return {row.image_id}

    def _standing(self, image_id: int) -> Iterator[Entry]:
        """The image's entries that are not undone, oldest first."""
        undone = self._undone.get(image_id, ())
        for row_id, action, value, annotator, late in _PACKED.iter_unpack(self._entries.get(image_id, b"")):
            if row_id not in undone:
                yield Entry(row_id, _ACTIONS[action], self._values.value(value), self._names[annotator], late)

    def _undo(self, row: Row) -> set[int]:
        if row.image_id is None or row.target is None:
            return set()
        self._undone[row.image_id].add(row.target.bytes)
        self._refresh(row.image_id)
        return {row.image_id}

    def _remove(self, image_id: int) -> None:
        if image_id not in self.removed:
            self.removed.add(image_id)
            if image_id in self.images:
                self.counts[self.images[image_id].status] -= 1
        self.labels.pop(image_id, None)

    def _restore(self, image_id: int) -> None:
        if image_id in self.removed:
            self.removed.discard(image_id)
            if image_id in self.images:
                self.counts[self.images[image_id].status] += 1
                if (label := self.images[image_id].label) is not None:
                    self.labels[image_id] = label

    def _refresh_all(self) -> set[int]:
        changed = set(self._entries)
        for image_id in changed:
            self._refresh(image_id)
        return changed

    def _refresh(self, image_id: int) -> None:
        before = self.images.get(image_id)
        after = self._compute(image_id)
        self.images[image_id] = after
        if image_id in self.removed:
            return
        if before is not None:
            self.counts[before.status] -= 1
        self.counts[after.status] += 1
        if after.label is None:
            self.labels.pop(image_id, None)
        else:
            self.labels[image_id] = after.label

    def _deciding(self, image_id: int) -> tuple[dict[str, Entry], Entry | None]:
        return _deciding(self._standing(image_id), self.live)

    def _compute(self, image_id: int) -> ImageState:
        answers, settled = self._deciding(image_id)
        answered = self._groups.setdefault(names := frozenset(answers), names)
        return _state(answers, settled, self.live, answered, self.task)


_LiveValue = Callable[[Value | None], Value | None]


def _deciding(entries: Iterable[Entry], live: _LiveValue) -> tuple[dict[str, Entry], Entry | None]:
    """Each annotator's answer that counts, and the entry that settled the image: on a live class, or on none."""
    standing: list[Entry] = []
    settled: Entry | None = None
    for entry in entries:
        value = live(entry.value)
        if entry.action == "settle":
            settled = entry if entry.value is None or value is not None else settled
        elif entry.action != UNSURE and (entry.action != "label" or value is not None):
            standing.append(entry)
    in_time = [entry for entry in standing if not entry.late]
    return {entry.annotator: entry for entry in in_time or standing}, settled


def _state(
    answers: dict[str, Entry], settled: Entry | None, live: _LiveValue, answered: frozenset[str], task: Task
) -> ImageState:
    if settled is not None:
        value = live(settled.value)
        return ImageState(value, "flagged" if value is None else "labeled", answered, settled=True)
    votes = [live(entry.value) for entry in answers.values() if entry.action == "label"]
    value = task.merge(votes)
    if value is not None:
        return ImageState(value, "labeled", answered)
    actions = {entry.action for entry in answers.values()}
    status: Status = "flagged" if "flag" in actions else "skipped" if "skip" in actions else "unlabeled"
    return ImageState(None, status, answered, disputed=bool(votes))
