"""The rows of one import as answers: which are written, and what becomes of those that contradict another answer.

What somebody answered before, here or in an import, and an imported row may differ. Then whoever imports has said what
counts (`shared.messages.Conflicts`), and each such row is named in the receipt with what became of it. Rows of one and
the same import that contradict each other leave the image open: nobody knows which of them was meant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Literal
from uuid import UUID

from labeler.annotation_log import AnnotationLog, Draft
from labeler.formats.history import decided
from labeler.formats.records import UNLABELED
from shared.log import IMPORT, ImageState
from shared.messages import Conflicts, ImportedAnswer, ImportIssue, ImportReceipt, ImportRow

Place = int | tuple[str, str]
"""An image: its id, or where its file lies while it is new, in a dry run."""
Outcome = Literal["write", "keep", "overwrite", "reopen"]


@dataclass(slots=True)
class Given:
    """A row whose image and classes are known. `classes` has each name that it uses: its class, or in a dry run the
    name of one that would be added."""

    row: ImportRow
    place: Place
    classes: dict[str, int | str]

    @property
    def image_id(self) -> int | None:
        """None where the image is new, in a dry run."""
        return self.place if isinstance(self.place, int) else None

    def label(self, name: str | None) -> int | str | None:
        """The class that a name stands for."""
        return None if name is None else self.classes[name]


@dataclass(slots=True)
class _Said:
    """What this post says of one image so far: annotator → class."""

    votes: dict[str, int | str | None] = field(default_factory=dict)
    overwritten: bool = False


class ImportAnswers:
    """Those of one post. `began` is the log's end when its import began. Whoever calls holds the store's lock."""

    def __init__(
        self, log: AnnotationLog, receipt: ImportReceipt, known: Collection[UUID], policy: Conflicts, began: int
    ) -> None:
        self._log = log
        self._receipt = receipt
        self._known = known
        self._policy = policy
        self._began = began
        self._said: dict[Place, _Said] = {}
        self._seen: set[UUID] = set()
        self.drafts: list[Draft] = []

    def take(self, each: Given, ids: Sequence[UUID]) -> None:
        """Take a row, whose answers have these ids."""
        if each.row.answers:
            self._votes(each, ids)
        else:
            self._answer(each, ids[0])

    # ------------------------------------------------------------ one answer

    def _answer(self, each: Given, row_id: UUID) -> None:
        row, said = each.row, self._said.setdefault(each.place, _Said())
        if row.action == "open":
            return  # which tells its split alone
        if row_id in self._known or row_id in self._seen:
            self._receipt.known += 1
            return
        if row.action != "label" and self._is_answered(each, said):
            return
        annotator, label = row.annotator or IMPORT, each.label(row.label)
        outcome: Outcome = "write"
        if row.action == "label":
            outcome, reason = self._rule(each, annotator, label, said)
            self._tell(each, outcome, reason)
            if outcome == "keep":
                return
        self._seen.add(row_id)
        self._receipt.labels += 1
        settles = False
        if outcome == "overwrite":
            said.overwritten = True
            settles = self._state(each).settled or bool(self._state(each).answered - {annotator})
        elif outcome == "reopen":
            taken = self._state(each).answered | said.votes.keys()
            annotator = next(
                name for n in count(1) if (name := f"{annotator} ({n})" if n > 1 else annotator) not in taken
            )
        if row.action == "label":
            said.votes[annotator] = label
        if each.image_id is not None:
            self.drafts.append(
                Draft(
                    action="settle" if settles else row.action,
                    id=row_id,
                    image_id=each.image_id,
                    label=label if isinstance(label, int) else None,
                    annotator=annotator,
                    source=IMPORT,
                    confidence=row.confidence,
                    created_at=row.labeled_at,
                )
            )

    def _rule(self, each: Given, annotator: str, label: int | str | None, said: _Said) -> tuple[Outcome, str]:
        """What becomes of a label, and why where something contradicts it."""
        name = repr(each.row.label)
        if any(other != label for other in said.votes.values()):
            if said.overwritten:
                return "keep", f"is labeled otherwise in a row before it: {name} is left out"
            return (
                "reopen",
                f"is labeled {name} here and {self._name(said, label)} already: open until somebody decides",
            )
        state = self._state(each)
        same = state.label == label if state.status == "labeled" else state.status == "unlabeled" and not state.disputed
        by_hand = state.settled or each.image_id in self._log.fold.answered_here
        if not by_hand and state.disputed and annotator not in state.answered:
            same = True  # one more vote
        if same:
            return "write", ""
        has = self._has(state)
        open_now = f"is labeled {name} here and {has} already: open until somebody decides"
        if not by_hand and state.status in ("labeled", "unlabeled"):
            vote = each.row.annotator is not None and annotator not in state.answered
            if vote or self._is_of_this_import(each.image_id):
                return "reopen", open_now
        if self._policy == "overwrite":
            return "overwrite", f"was {has} here: {name} counts now"
        if self._policy == "review" and self._would_tie(each, state, label, said, by_hand=by_hand):
            return "reopen", open_now
        return "keep", f"is {has} here: that stays, {name} is left out"

    def _would_tie(
        self, each: Given, state: ImageState, label: int | str | None, said: _Said, *, by_hand: bool
    ) -> bool:
        """Whether one more vote opens the image again: not where it was settled, nor where most agree."""
        if state.settled or each.image_id is None:
            return False
        if state.label is None:
            return state.disputed and not by_hand
        votes: Counter[int | str | None] = Counter(self._log.fold.votes(each.image_id).values())
        votes.update(said.votes.values())
        return votes[state.label] == votes[label] + 1

    def _is_of_this_import(self, image_id: int | None) -> bool:
        """Whether all that is said of the image was imported since this import began."""
        rows = self._log.answers_about([image_id]).get(image_id, []) if image_id is not None else []
        return bool(rows) and all(row.source == IMPORT and row.seq > self._began for row in rows)

    def _is_answered(self, each: Given, said: _Said) -> bool:
        """Whether a skip or flag comes too late; told unless it says what the image is already."""
        state = self._state(each)
        if not state.answered and not state.settled and not said.votes:
            return False
        if UNLABELED.get(state.status) == each.row.action:
            self._receipt.known += 1
        else:
            self._tell(each, "keep", f"has a {each.row.action} here and was answered already: that answer stays")
        return True

    # ------------------------------------------------------------ answers of several people

    def _votes(self, each: Given, ids: Sequence[UUID]) -> None:
        """What one of them says otherwise here, or what was settled here, stays, unless it is to be overwritten."""
        state, said = self._state(each), self._said.setdefault(each.place, _Said())
        fold = self._log.fold
        here = fold.answers(each.image_id or 0) | {who: ("label", label) for who, label in said.votes.items()}
        settled = ("settle", state.label) if state.settled else None
        given_here = each.image_id in fold.answered_here and bool(state.answered or state.settled)
        stays: list[str] = []
        written: list[tuple[UUID, ImportedAnswer]] = []
        for answer, row_id in zip(each.row.answers, ids, strict=True):
            label = each.label(answer.label)
            now = settled if answer.action == "settle" else here.get(answer.annotator)
            against = given_here and answer.action in ("label", "settle") and label != state.label
            if row_id in self._known or row_id in self._seen or now == (answer.action, label):
                self._receipt.known += 1
            elif self._policy != "overwrite" and (now is not None or (against and self._policy == "keep")):
                stays.append(answer.annotator)
            else:
                written.append((row_id, answer))
        self._receipt.labels += len(written)
        for row_id, answer in written:
            self._seen.add(row_id)
            if answer.action != "settle":
                said.votes[answer.annotator] = each.label(answer.label)
            self._draft(each, row_id, answer)
        if stays:
            self._tell(each, "keep", f"has another answer of {', '.join(stays)} here already: that stays")
        elif written and given_here:
            self._tell_changed(each, state, here, written)

    def _tell_changed(
        self,
        each: Given,
        state: ImageState,
        here: dict[str, tuple[str, int | str | None]],
        written: Sequence[tuple[UUID, ImportedAnswer]],
    ) -> None:
        """Name a row that changes what was answered here, and see to it that an overwritten answer gives way."""
        wanted = each.label(each.row.label)
        after = here | {answer.annotator: (answer.action, each.label(answer.label)) for _, answer in written}
        now = decided((action, None if label is None else str(label)) for action, label in after.values())
        if self._policy == "overwrite" and wanted != state.label:
            if wanted is not None and (state.settled or now != str(wanted)):
                row_id, last = written[-1]
                said = ImportedAnswer(action="settle", label=each.row.label, annotator=IMPORT, at=last.at)
                self._draft(each, UUID(int=row_id.int ^ 1), said)
            self._tell(each, "overwrite", f"was {self._has(state)} here: {each.row.label!r} counts now")
        elif not state.settled and now != ("" if state.label is None else str(state.label)):
            self._tell(
                each, "reopen", f"was {self._has(state)} here, and people differ now: open until somebody decides"
            )

    def _draft(self, each: Given, row_id: UUID, answer: ImportedAnswer) -> None:
        if each.image_id is None:
            return
        label = each.label(answer.label)
        self.drafts.append(
            Draft(
                **answer.model_dump(exclude={"label", "at"}),
                id=row_id,
                image_id=each.image_id,
                label=label if isinstance(label, int) else None,
                source=IMPORT,
                created_at=answer.at,
            )
        )

    # ------------------------------------------------------------ words

    def _state(self, each: Given) -> ImageState:
        return self._log.fold.state(each.image_id or 0)

    def _has(self, state: ImageState) -> str:
        if state.label is not None:
            return f"{'settled as' if state.settled else 'labeled'} {self._log.fold.classes[state.label].name!r}"
        return "labeled as several things" if state.disputed else state.status

    def _name(self, said: _Said, label: int | str | None) -> str:
        other = next(each for each in said.votes.values() if each != label)
        return repr(self._log.fold.classes[other].name if isinstance(other, int) else other)

    def _tell(self, each: Given, outcome: Outcome, reason: str) -> None:
        if not reason:
            return
        receipt = self._receipt
        receipt.conflicts.append(ImportIssue(line=each.row.line, uri=each.row.uri, reason=reason))
        receipt.kept += outcome == "keep"
        receipt.overwritten += outcome == "overwrite"
        receipt.reopened += outcome == "reopen"
