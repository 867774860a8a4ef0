"""The content of an export for each image, read from a workspace in batches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal, get_args

from labeler.errors import Invalid
from labeler.images.catalog import Catalog
from labeler.store.annotation_log import AnnotationLog
from labeler.store.database import Store
from labeler.trainer_link.predictions import Prediction
from labeler.transfer.rows.boxes import BOXES, json_of
from labeler.transfer.rows.several import ABSENT
from shared.log import Fold
from shared.tasks.task import Value
from shared.wire.fields import Split, Status
from shared.wire.images import ImageEntry
from shared.wire.imports import NamedBox
from shared.wire.log import Row

_BATCH = 500
Extra = Literal["annotators", "predictions", "history"]
EXTRAS: tuple[Extra, ...] = get_args(Extra)
EXTRAS_PATTERN = r"^\s*({0})?\s*(,\s*({0})?\s*)*$".format("|".join(EXTRAS))
"""Pattern of some of them, separated by commas."""
Extras = frozenset[str]
SEVERAL: Final = "several classes"
"""Marker among the extras of an export from a multi-label project: its labels are lists."""
BOXED: Final = "boxes"
"""Marker among the extras of an export from a detection project: its labels are boxes."""
Named = tuple[list[str], list[str]]
"""The names of the classes that an image has, and of those that it lacks."""
NamedBoxList = tuple[NamedBox, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A row of the log about the image; the class has its current name."""

    action: str
    label: str | None
    annotator: str
    at: datetime
    source: str | None
    reason: str | None
    note: str | None
    counts: bool  # whether it determines the image's label: not undone, late or replaced
    answer: Named | None = None  # in a multi-label project
    boxes: NamedBoxList | None = None  # in a detection project


@dataclass(frozen=True, slots=True)
class ExportRow:
    """One image. `answers` are those in force, `history` is every answer ever given. `read` returns the
    original bytes.
    """

    id: int
    uri: str
    sha256: str
    split: Split
    label: str | None  # in words
    status: Status
    width: int = 0
    height: int = 0
    answers: list[Answer] = field(default_factory=list)
    history: list[Answer] = field(default_factory=list)
    predicted: tuple[str, float] | None = None  # class and probability
    classes: frozenset[str] = frozenset()  # names of the classes in its label
    answer: Named | None = None  # its yes and no classes, in a multi-label project
    boxes: NamedBoxList | None = None  # the boxes of its label, in a detection project; empty: nothing is there
    read: Callable[[], bytes] = field(default=bytes, repr=False, compare=False)

    @property
    def present(self) -> list[str]:
        """The classes that the image has."""
        if self.answer is not None:
            return self.answer[0]
        return [] if self.label is None else [self.label]

    @property
    def named(self) -> list[str]:
        """The classes that its label names: those that the image has, then those that it lacks."""
        return self.present if self.answer is None else [*self.answer[0], *self.answer[1]]

    @property
    def annotators(self) -> list[str]:
        """Annotators with an answer in force. Those who agree with the label come first."""
        agreeing = [each.annotator for each in self.answers if each.label == self.label]
        return list(dict.fromkeys([*agreeing, *(each.annotator for each in self.answers)]))

    @property
    def labeled_at(self) -> datetime | None:
        """Time of the latest answer that counts."""
        return next((each.at for each in reversed(self.answers) if each.counts), None)

    def record(self, extras: Extras) -> dict[str, Any]:
        """Column → value, as in tables; the same columns for every image."""
        record: dict[str, Any] = {
            "id": self.id,
            "uri": self.uri,
            "sha256": self.sha256,
            "split": self.split,
            "label": self.label,
        }
        if SEVERAL in extras:
            record |= _lists(self.answer)
        if BOXED in extras:
            del record["label"]
            record |= {"width": self.width, "height": self.height, BOXES: json_of(self.boxes)}
        if "annotators" in extras:
            record["annotators"] = self.annotators
        record |= {"labeled_at": self.labeled_at.isoformat() if self.labeled_at else None, "status": self.status}
        if "predictions" in extras:
            name, probability = self.predicted or (None, None)
            record |= {"prediction": name, "prediction_confidence": probability}
        if "history" in extras:
            record["history"] = [_told(each, extras) for each in self.history]
        return record


def _told(answer: Answer, extras: Extras) -> dict[str, Any]:
    told: dict[str, Any] = {"action": answer.action, "label": answer.label}
    if SEVERAL in extras:
        told |= _lists(answer.answer)
    if BOXED in extras:
        del told["label"]
        told[BOXES] = json_of(answer.boxes)
    told["at"] = answer.at.isoformat()
    told["counts"] = answer.counts
    if "annotators" in extras:
        told["annotator"] = answer.annotator
    more = {"source": answer.source, "reason": answer.reason, "note": answer.note}
    return told | {name: value for name, value in more.items() if value is not None}


def _lists(answer: Named | None) -> dict[str, list[str] | None]:
    return {"label": answer and answer[0], ABSENT: answer and answer[1]}


@dataclass(frozen=True)
class Wanted:
    """Which images to export. None matches everything. `annotator`: the author of the answer in force."""

    split: Split | None = None
    label: str | None = None
    annotator: str | None = None
    status: Status | None = None

    def holds(self, row: ExportRow) -> bool:
        """Whether the image matches."""
        return (
            self.split in (None, row.split)
            and (self.label in (None, row.label) or self.label in row.classes)
            and self.status in (None, row.status)
            and (self.annotator is None or self.annotator in row.annotators)
        )


def count_rows(log: AnnotationLog, splits: Iterable[tuple[int, Split]], wanted: Wanted) -> tuple[int, int]:
    """Number of images that `export_rows` would yield from `splits`, and of labeled ones among them; from memory."""
    fold, images, labeled = log.fold, 0, 0
    for image_id, split in splits:
        state = fold.state(image_id)
        classes, label = _class_names(fold, state.label), fold.text(state.label)
        if (
            wanted.split in (None, split)
            and (wanted.label in (None, label) or wanted.label in classes)
            and wanted.status in (None, state.status)
            and (wanted.annotator is None or wanted.annotator in fold.annotators(image_id))
        ):
            images, labeled = images + 1, labeled + (label is not None)
    return images, labeled


EVERYTHING = Wanted()
USUAL: Extras = frozenset({"annotators"})


def extras_named(names: Collection[str]) -> Extras:
    """The extras with these names. Raises Invalid for unknown names."""
    unknown = set(names) - set(EXTRAS)
    if unknown:
        raise Invalid(f"An export can include {', '.join(EXTRAS)}, not {min(unknown)!r}.")
    return frozenset(name for name in EXTRAS if name in names)


def export_rows(
    store: Store,
    log: AnnotationLog,
    catalog: Catalog,
    read: Callable[[int], bytes],
    wanted: Wanted,
    predictions: Mapping[int, Prediction],
    fold: Fold | None = None,
) -> Iterator[ExportRow]:
    """Every matching image that still exists, by id. With `fold`, in the state of that earlier log."""
    after = 0
    while entries := catalog.entries(after, _BATCH):
        after = entries[-1].id
        present = [entry for entry in entries if not entry.removed]
        ids = [entry.id for entry in present]
        said, shapes = log.rows_about(ids), catalog.shapes(ids)
        with store.lock:
            if late := _answered_since(fold or log.fold, said, ids):
                said |= log.rows_about(late)
            drawn = catalog.drawn(ids) if fold is not None else {}
            rows = [
                _row(fold or log.fold, _as_of(entry, fold, drawn), said.get(entry.id, []), predictions.get(entry.id))
                for entry in present
            ]
        for row in filter(wanted.holds, rows):
            width, height = shapes[row.id]
            yield replace(row, width=width, height=height, read=partial(read, row.id))


def _answered_since(fold: Fold, said: Mapping[int, list[Row]], ids: Iterable[int]) -> list[int]:
    """The images of which an answer counts that is not among the rows, because it came after they were read."""
    return [each for each in ids if not {*fold.standing(each)} <= {row.id for row in said.get(each, [])}]


def _class_names(fold: Fold, value: Value | None) -> frozenset[str]:
    live = fold.live(value)
    return frozenset() if live is None else frozenset(map(fold.name_of, fold.task.classes_in(live)))


def _named(fold: Fold, value: Value | None) -> Named | None:
    """The yes and no classes of a value, by current names."""
    answer = fold.shown_answer(value) if fold.task.by_class else None
    return answer and ([*map(fold.name_of, answer["yes"])], [*map(fold.name_of, answer["no"])])


def _boxes(fold: Fold, value: Value | None) -> NamedBoxList | None:
    """The boxes of a value, with current class names."""
    live = fold.live(value) if fold.task.by_box else None
    if live is None:
        return None
    return tuple(NamedBox(**box._asdict() | {"label": fold.name_of(box.label)}) for box in live.boxes)


def _as_of(entry: ImageEntry, fold: Fold | None, drawn: Mapping[int, Split]) -> ImageEntry:
    if fold is None:
        return entry
    return entry.model_copy(update={"split": fold.splits.get(entry.id, drawn[entry.id])})


def _row(fold: Fold, entry: ImageEntry, said: list[Row], prediction: Prediction | None) -> ExportRow:
    said = [row for row in said if row.seq <= fold.last_seq]
    state, standing, deciding = fold.state(entry.id), set(fold.standing(entry.id)), fold.deciding(entry.id)

    def told(row: Row) -> Answer:
        given = (
            row.action,
            fold.text(fold.task.of_row(row)),
            row.annotator,
            row.created_at,
            row.source,
            row.reason,
            row.note,
        )
        value = fold.task.of_row(row)
        return Answer(*given, counts=row.id in deciding, answer=_named(fold, value), boxes=_boxes(fold, value))

    history = [(row.id, told(row)) for row in said]
    predicted = None if prediction is None else fold.resolve(prediction.label)
    probable = None if predicted is None else fold.name_of(predicted)
    return ExportRow(
        id=entry.id,
        uri=entry.uri,
        sha256=entry.sha256,
        split=entry.split,
        label=fold.text(state.label),
        status=state.status,
        classes=_class_names(fold, state.label),
        answer=_named(fold, state.label),
        boxes=_boxes(fold, state.label),
        answers=[answer for row_id, answer in history if row_id in standing],
        history=[answer for _, answer in history],
        predicted=None if prediction is None or probable is None else (probable, prediction.confidence),
    )
