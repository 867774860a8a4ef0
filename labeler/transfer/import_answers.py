"""Turns the rows of one import into answers: decides which are written, and how contradictions are resolved.

An imported row may differ from an earlier answer, given here or imported. The person who imports chooses which one
counts (`shared.wire.imports.Conflicts`), and the receipt lists each such row with its outcome. Contradicting rows
within one import leave the image open, because nobody knows which one is right.

A row is judged after all rows before it (`import_plan`), no matter how rows are divided into posts.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal
from uuid import UUID

from labeler.store.annotation_log import AnnotationLog, Draft
from labeler.transfer.import_plan import Answers, ImportPlan
from labeler.transfer.rows.imported import UNLABELED
from labeler.transfer.rows.past_answers import decided
from shared.log import IMPORT, Entry, ImageState
from shared.tasks.task import Value
from shared.wire.imports import ImportedAnswer, ImportIssue, ImportReceipt, ImportRow, NamedAnswer
from shared.wire.log import Action, Row

Outcome = Literal["write", "keep", "overwrite", "reopen"]


@dataclass(slots=True)
class Given:
    """A row whose image and answers are known. `values` maps each label to its value."""

    row: ImportRow
    image_id: int
    values: dict[str | NamedAnswer, Value]

    def value(self, given: str | NamedAnswer | None) -> Value | None:
        """The value of a label."""
        return None if given is None else self.values[given]


class ImportAnswers:
    """The answers of one post: `drafts` are to be written. The caller holds the store's lock."""

    def __init__(self, log: AnnotationLog, plan: ImportPlan, receipt: ImportReceipt, known: Collection[UUID]) -> None:
        self._log = log
        self._plan = plan
        self._receipt = receipt
        self._known = known
        self._task = log.fold.task
        self._written: dict[UUID, Row] | None = None  # the known rows, once one is asked for
        self.drafts: list[Draft] = []

    def take(self, each: Given, ids: Sequence[UUID]) -> None:
        """Process a row. Its answers get these ids."""
        if each.row.answers:
            self._votes(each, ids)
        elif each.row.action != "open":  # an open row only has a split
            self._answer(each, ids[0])

    # ------------------------------------------------------------ one answer

    def _answer(self, each: Given, row_id: UUID) -> None:
        row, image_id = each.row, each.image_id
        annotator, label = row.annotator or IMPORT, each.value(row.given)
        if self._is_known(image_id, Entry(row_id.bytes, row.action, label, annotator)):
            self._receipt.known += 1
            return
        if row.action != "label" and self._is_answered(each):
            return
        outcome: Outcome = "write"
        settles = False
        if row.action == "label":
            full = self._with_earlier(image_id, annotator, label)
            # What was decided about a settled image counts, not what the annotator said before.
            told = label if full is not label and self._plan.state(image_id).settled else full
            outcome, reason = self._rule(each, annotator, told)
            self._tell(each, outcome, reason)
            if outcome == "keep":
                return
            label = told if outcome == "overwrite" else full
        if outcome == "overwrite":
            state = self._plan.state(image_id)
            settles = state.settled or bool(state.answered - {annotator})
            if state.label is not None:
                label = self._task.complete(state.label, label)
        elif outcome == "reopen":
            annotator = self._free(image_id, annotator)
        self._receipt.labels += 1
        action: Action = "settle" if settles else "label" if row.action == "open" else row.action
        self._plan.said.add(image_id, Entry(row_id.bytes, action, label, annotator), overwrites=outcome == "overwrite")
        if not self._plan.dry_run:
            self.drafts.append(
                Draft(
                    action=action,
                    id=row_id,
                    image_id=image_id,
                    annotator=annotator,
                    source=IMPORT,
                    confidence=row.confidence,
                    created_at=row.labeled_at,
                    **self._held(label),
                )
            )

    def _is_known(self, image_id: int, entry: Entry) -> bool:
        """Whether an earlier row gave this answer. An answer from an earlier import is then counted for this
        one, too.
        """
        if self._plan.said.has(image_id, entry.id):
            return True
        row_id = UUID(bytes=entry.id)
        if row_id in self._known:
            if self._task.by_class:
                entry = self._stored(row_id, entry)
            self._plan.said.add(image_id, entry, known=True)
            return True
        return False

    def _stored(self, row_id: UUID, entry: Entry) -> Entry:
        """A known answer as it was written, completed with what was known of other classes. Later rows must meet it as
        they did the first time.
        """
        if self._written is None:
            self._written = self._log.find(self._known)
        row = self._written[row_id]
        value = self._log.fold.live(self._task.of_row(row))
        return entry if value is None else entry._replace(action=row.action, value=value)

    def _free(self, image_id: int, annotator: str) -> str:
        """An unused name for one more vote of an annotator who already has an answer."""
        taken = self._plan.state(image_id).answered | {entry.annotator for entry, _ in self._plan.said.about(image_id)}
        names = (f"{annotator} ({n})" if n > 1 else annotator for n in count(1))
        return next(name for name in names if name not in taken)

    def _rule(self, each: Given, annotator: str, label: Value | None) -> tuple[Outcome, str]:
        """The outcome of a label, and the reason if something contradicts it."""
        here = self._log.fold.state(each.image_id)
        if (
            label is not None
            and (here.label == label or not here.begun)
            and self._plan.said.agrees(each.image_id, label)
        ):
            return "write", ""
        state, name = self._plan.state(each.image_id), self._name(each)
        if state.status == "labeled" and self._says_nothing_new(state.label, label):
            return "write", ""
        said = self._plan.said.about(each.image_id)
        other = next((entry.value for entry, _ in said if self._differ(entry.value, label)), None)
        if other is not None:
            if state.settled or any(overwrites for _, overwrites in said) or self._overwrote(each.image_id, said):
                return "keep", f"has another label in an earlier row: {name} is skipped"
            return "reopen", self._opens(each, annotator, label, repr(self._plan.text(other)))
        if state.status == "unlabeled" and not state.disputed:
            return "write", ""
        if state.label is not None and not state.settled and not self._differ(state.label, label):
            return "write", ""  # adds information and contradicts nothing
        by_hand = state.settled or each.image_id in self._log.fold.answered_here
        if not by_hand and state.disputed and annotator not in state.answered:
            return "write", ""  # one more vote
        if not by_hand and state.label is None and state.answered <= {entry.annotator for entry, _ in said}:
            return "write", ""  # an earlier row skipped or flagged it
        has = self._has(state)
        if not by_hand and state.status in ("labeled", "unlabeled"):
            vote = each.row.annotator is not None and annotator not in state.answered
            if vote or self._is_of_this_import(each.image_id):
                return "reopen", self._opens(each, annotator, label, has)
        if self._plan.policy == "overwrite":
            return "overwrite", f"was {has} here: replaced by {name}"
        if self._plan.policy == "review" and self._would_tie(each.image_id, state, label, by_hand=by_hand):
            return "reopen", self._opens(each, annotator, label, has)
        return "keep", f"is {has} here: that is kept, {name} is skipped"

    def _with_earlier(self, image_id: int, annotator: str, label: Value | None) -> Value | None:
        """The label combined with the annotator's answers for other classes, because each row may be about one
        class.
        """
        if not self._task.by_class or label is None:
            return label
        _, given = self._plan.now(image_id)[1].get(annotator, ("", None))
        return label if given is None or self._differ(given, label) else self._task.complete(given, label)

    def _says_nothing_new(self, here: Value | None, label: Value | None) -> bool:
        """Whether an image's label says all that this one says, which may be about fewer classes."""
        if here is None or label is None or self._differ(here, label):
            return here == label
        return bool(self._task.complete(here, label) == here)

    def _differ(self, one: Value | None, other: Value | None) -> bool:
        return one is not None and other is not None and self._task.differ([one, other])

    def _overwrote(self, image_id: int, said: Sequence[tuple[Entry, bool]]) -> bool:
        """Whether one of these rows replaced another label when this file was imported before. Then it does so
        again.
        """
        if not self._plan.said.knew(image_id):
            return False  # avoids database queries on a first import
        rows = self._log.rows_about([image_id]).get(image_id, [])
        said_before = {UUID(bytes=entry.id) for entry, _ in said}
        return any(
            (before.action, before.annotator) == ("label", row.annotator)
            and self._task.of_row(before) != self._task.of_row(row)
            for at, row in enumerate(rows)
            if row.id in said_before
            for before in rows[:at]
        )

    def _opens(self, each: Given, annotator: str, label: Value | None, has: str) -> str:
        """The result of a contradicting vote, as the end of a sentence."""
        vote = Entry(b"", "label", label, self._free(each.image_id, annotator))
        after = self._plan.now(each.image_id, [vote])[0]
        votes = [said for action, said in self._plan.now(each.image_id, [vote])[1].values() if action == "label"]
        decided_by_most = after.label is not None and not self._task.tied(votes)
        ends = f"most say {self._plan.text(after.label)!r}" if decided_by_most else "open until somebody decides"
        return f"is labeled {self._name(each)} in this row, but already {has}: {ends}"

    def _would_tie(self, image_id: int, state: ImageState, label: Value | None, *, by_hand: bool) -> bool:
        """Whether one more vote reopens the image. It does not if the image is settled or a majority remains."""
        if state.settled:
            return False
        if state.label is None:
            return state.disputed and not by_hand
        votes = [said for action, said in self._plan.now(image_id)[1].values() if action == "label"]
        return self._task.merge([*votes, label]) is None or bool(self._task.tied([*votes, label]))

    def _is_of_this_import(self, image_id: int) -> bool:
        """Whether all answers for the image were imported since this import began."""
        if self._plan.began is None:
            return False
        rows = self._log.answers_about([image_id]).get(image_id, [])
        return bool(rows) and all(row.source == IMPORT and row.seq > self._plan.began for row in rows)

    def _is_answered(self, each: Given) -> bool:
        """Whether a skip or flag comes too late. Reported unless the image already has that status."""
        state = self._plan.state(each.image_id)
        if not state.answered and not state.settled:
            return False
        if UNLABELED.get(state.status) == each.row.action:
            self._receipt.known += 1
        else:
            self._tell(
                each, "keep", f"has a {each.row.action} in this row, but is already answered: that answer is kept"
            )
        return True

    # ------------------------------------------------------------ answers of several people

    def _votes(self, each: Given, ids: Sequence[UUID]) -> None:
        """Write each annotator's answer, unless a different answer or a settling answer here is to be kept."""
        plan, image_id = self._plan, each.image_id
        state, here = plan.now(image_id)
        settled = ("settle", state.label) if state.settled else None
        given_here = image_id in self._log.fold.answered_here and state.begun
        stays: list[str] = []
        written: list[tuple[UUID, ImportedAnswer]] = []
        for answer, row_id in zip(each.row.answers, ids, strict=True):
            label = each.value(answer.given)
            now = settled if answer.action == "settle" else here.get(answer.annotator)
            against = given_here and answer.action in ("label", "settle") and label != state.label
            entry = Entry(row_id.bytes, answer.action, label, answer.annotator)
            if self._is_known(image_id, entry) or now == (answer.action, label):
                self._receipt.known += 1
            elif plan.policy != "overwrite" and (now is not None or (against and plan.policy == "keep")):
                stays.append(answer.annotator)
            else:
                written.append((row_id, answer))
        self._receipt.labels += len(written)
        for row_id, answer in written:
            self._write(each, row_id, answer)
        if stays:
            self._tell(each, "keep", f"already has another answer by {', '.join(stays)}: that is kept")
        elif written and given_here:
            self._tell_changed(each, state, here, written)

    def _tell_changed(
        self, each: Given, state: ImageState, here: Answers, written: Sequence[tuple[UUID, ImportedAnswer]]
    ) -> None:
        """Report a row that changes an answer given here, and overwrite the answer if requested."""
        wanted = each.value(each.row.given)
        after = here | {answer.annotator: (answer.action, each.value(answer.given)) for _, answer in written}
        now = decided(after.values(), self._task.merge)
        if self._plan.policy == "overwrite" and wanted != state.label:
            if wanted is not None and (state.settled or now != wanted):
                row_id, last = written[-1]
                row = each.row
                said = ImportedAnswer(action="settle", label=row.label, answer=row.answer, annotator=IMPORT, at=last.at)
                self._write(each, UUID(int=row_id.int ^ 1), said, overwrites=True)
            self._tell(each, "overwrite", f"was {self._has(state)} here: replaced by {self._name(each)}")
        elif not state.settled and now != state.label:
            self._tell(
                each, "reopen", f"was {self._has(state)} here, but annotators now disagree: open until somebody decides"
            )

    def _write(self, each: Given, row_id: UUID, answer: ImportedAnswer, *, overwrites: bool = False) -> None:
        label = each.value(answer.given)
        entry = Entry(row_id.bytes, answer.action, label, answer.annotator)
        self._plan.said.add(each.image_id, entry, overwrites=overwrites)
        if not self._plan.dry_run:
            self.drafts.append(
                Draft(
                    **answer.model_dump(exclude={"label", "answer", "at"}),
                    id=row_id,
                    image_id=each.image_id,
                    source=IMPORT,
                    created_at=answer.at,
                    **self._held(label),
                )
            )

    def _held(self, value: Value | None) -> dict[str, Any]:
        """The fields of a row that hold `value`."""
        return {} if value is None else self._task.to_row(value)

    # ------------------------------------------------------------ words

    def _name(self, each: Given) -> str:
        """The row's label in words."""
        value = each.value(each.row.given)
        return repr(each.row.label or (None if value is None else self._plan.text(value)))

    def _has(self, state: ImageState) -> str:
        if state.label is not None:
            return f"{'settled as' if state.settled else 'labeled'} {self._plan.text(state.label)!r}"
        return "labeled differently by several people" if state.disputed else state.status

    def _tell(self, each: Given, outcome: Outcome, reason: str) -> None:
        if not reason:
            return
        receipt = self._receipt
        receipt.conflicts.append(ImportIssue(line=each.row.line, uri=each.row.uri, reason=reason))
        receipt.kept += outcome == "keep"
        receipt.overwritten += outcome == "overwrite"
        receipt.reopened += outcome == "reopen"


def content(image_id: int | None, answer: ImportRow | ImportedAnswer) -> str:
    """The content of an answer, from which its id is derived."""
    said = answer.label or (answer.answer.model_dump_json() if answer.answer is not None else "")
    if answer.action != "label":
        said = f"\0{answer.action}{said}"  # no class has such a name
    return f"{image_id}\0{answer.annotator}\0{said}"
