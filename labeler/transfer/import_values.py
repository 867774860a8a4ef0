"""Interprets the labels of rows: finds their classes, which an import may add, and places their boxes.

An impossible row is rejected with the reason. So is a row with a box outside its image or smaller than a pixel: an
answer states that all objects are boxed, so no box is silently dropped. A box that is partly outside is clipped, and
the receipt says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

from labeler.images.catalog import Catalog
from labeler.images.file_registry import Root
from labeler.labeling.classes import Classes
from labeler.store.annotation_log import AnnotationLog
from labeler.transfer.import_plan import ImportPlan
from labeler.transfer.rows.box_places import placed
from shared.class_names import meant
from shared.log import IMPORT
from shared.tasks.task import AnswerRefusedError, Task, Value
from shared.wire.imports import (
    CellIssue,
    ImportedAnswer,
    ImportIssue,
    ImportReceipt,
    ImportRow,
    NamedAnswer,
    NamedBoxes,
    NamedClasses,
)


@dataclass(slots=True)
class Candidate:
    """A row with its file, image and values."""

    row: ImportRow
    root: Root = "images"
    uri: str = ""
    image_id: int | None = None
    values: dict[str | NamedAnswer, Value] = field(default_factory=dict)  # each of its labels → its value

    @property
    def said(self) -> Sequence[ImportRow | ImportedAnswer]:
        """Its answers: several people's, or its own."""
        return self.row.answers or [self.row]

    @property
    def labels(self) -> list[str | NamedAnswer]:
        """Its labels as given, each once."""
        return list(dict.fromkeys(given for each in self.said if (given := each.given) is not None))


class ImportValues:
    """Interprets the labels of rows."""

    def __init__(self, log: AnnotationLog, classes: Classes, catalog: Catalog) -> None:
        self._log = log
        self._classes = classes
        self._catalog = catalog

    def place(self, given: list[Candidate], receipt: ImportReceipt, plan: ImportPlan) -> None:
        """Convert the boxes of each row to pixels of its upright image. Rows whose boxes do not fit are rejected."""
        boxed = [each for each in given if any(isinstance(label, NamedBoxes) for label in each.labels)]
        if not boxed:
            return
        sizes = self._catalog.shapes([each.image_id for each in boxed if each.image_id is not None])
        rejected: set[int] = set()
        for each in boxed:
            size = None if each.image_id is None else sizes.get(each.image_id) or plan.size(each.image_id)
            notes: list[str] = []
            try:
                each.row = _placed(each.row, size or (0, 0), notes)
            except AnswerRefusedError as problem:
                receipt.rejected.append(ImportIssue(line=each.row.line, uri=each.row.uri, reason=str(problem)))
                rejected.add(id(each))
            for note in dict.fromkeys(notes):
                receipt.cells.append(CellIssue(line=each.row.line, uri=each.row.uri, reason=note))
        given[:] = [each for each in given if id(each) not in rejected]

    def name(self, given: list[Candidate], receipt: ImportReceipt, plan: ImportPlan) -> None:
        """Find the class of each row. Unknown classes are added if the import adds classes, else their rows are
        rejected. The caller holds the store's lock.
        """
        fold = self._log.fold
        task = fold.task
        ids: dict[str, int | None] = {}
        labels = [label for each in given for label in each.labels]
        named = {label: _names(label, task) for label in labels}
        lacked = [name for label in named if isinstance(label, NamedClasses) and plan.adding for name in label.no]
        counts = dict.fromkeys(lacked, 0) | Counter(name for label in labels for name in named[label])
        for name, rows in counts.items():
            known = plan.class_of(name)
            first = plan.spellings.of(name)
            if known is None and plan.adding:
                known = plan.would_add(first) if plan.dry_run else self._classes.add(first, IMPORT).id
                plan.added[known] = first
            if known is None or known in plan.added:
                new = first if known is None else plan.added[known]
                receipt.new_classes[new] = receipt.new_classes.get(new, 0) + rows
            if known is not None and plan.name(known) != name:
                receipt.counted_as[name] = plan.name(known)
            ids[name] = known
        class_of = cache(lambda name: ids[name] if name in ids else plan.class_of(name))
        for each in given:
            lacking = next((name for label in each.labels for name in named[label] if ids[name] is None), None)
            if lacking is None:
                self._read(each, class_of, receipt)
            else:
                like = meant(lacking, [known.name for known in fold.live_classes()])
                says = "has a box of" if any(isinstance(label, NamedBoxes) for label in each.labels) else "is labeled"
                reason = f"{says} {lacking!r}, which is not a class here: add it first{like}"
                receipt.rejected.append(ImportIssue(line=each.row.line, uri=each.row.uri, reason=reason))
        given[:] = [each for each in given if len(each.values) == len(each.labels)]

    def _read(self, each: Candidate, class_of: Callable[[str], int | None], receipt: ImportReceipt) -> None:
        """Interpret each of the row's labels. A row with an impossible label is rejected."""
        task, reason = self._log.fold.task, "says nothing about a class that exists here"
        for label in each.labels:
            try:
                value = task.read(label, class_of) if isinstance(label, str) else task.read_answer(label, class_of)
            except AnswerRefusedError as problem:
                value, reason = None, str(problem)
            if value is None:
                receipt.rejected.append(ImportIssue(line=each.row.line, uri=each.row.uri, reason=reason))
                return
            each.values[label] = value


def _names(label: str | NamedAnswer, task: Task) -> Sequence[str]:
    """The classes in a label that the image has; one with two boxes occurs twice."""
    if isinstance(label, NamedBoxes):
        return tuple(dict.fromkeys(label.names))
    return label.yes if isinstance(label, NamedClasses) else tuple(task.class_names(label))


def _placed(row: ImportRow, size: tuple[int, int], notes: list[str]) -> ImportRow:
    def fitted(answer: NamedAnswer | None) -> NamedAnswer | None:
        if not isinstance(answer, NamedBoxes):
            return answer
        boxes, said = placed(answer, size)
        notes.extend(said)
        return boxes

    answers = [each.model_copy(update={"answer": fitted(each.answer)}) for each in row.answers]
    return row.model_copy(update={"answer": fitted(row.answer), "answers": answers})
