"""Answers in each task, for `flywheel merge`: their value, the spelling of their classes, and their columns.

Values are those of the project's task, with their own class ids, so that the task can combine answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from shared.class_names import Spellings, key
from shared.settings.services import SettingsError
from shared.tasks.classification import CLASSIFICATION
from shared.tasks.detection import DETECTION, Box, Boxes
from shared.tasks.multilabel import MULTILABEL, Classes
from shared.tasks.task import Task, Value
from shared.wire.imports import ImportedAnswer, NamedBox, NamedBoxes, NamedClasses

_ROW: Final = ("annotator", "status", "labeled_at", "history")


class Kind:
    """One class per image: its name is the value."""

    task: Task = CLASSIFICATION
    held: tuple[str, ...] = ("label",)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the merged table."""
        return ("uri", "split", *self.held, *_ROW)

    def value(self, answer: ImportedAnswer) -> Value | None:
        """The value of an answer; None for a skip or flag. Raises SettingsError for an answer of another task."""
        if answer.answer is not None:
            raise SettingsError("An answer has several classes or boxes: name the task with --task.")
        return answer.label

    def answered(self, answer: ImportedAnswer, value: Value) -> ImportedAnswer:
        """The answer with this value instead of its own."""
        return answer.model_copy(update={"label": value})

    def cells(self, value: Value | None) -> dict[str, Any]:
        """Column → cell, for the columns that hold a value."""
        return {"label": value}

    def spelled(self, answer: ImportedAnswer, spellings: Spellings) -> ImportedAnswer:
        """The answer with the first spelling of each class."""
        label = answer.label and spellings.of(answer.label)
        return answer if label == answer.label else answer.model_copy(update={"label": label})

    def merge(self, values: Iterable[Value]) -> Value | None:
        """The combination of the values."""
        return self.task.merge(values)

    def differ(self, one: Value | None, other: Value | None) -> bool:
        """Whether two values contradict each other. None contradicts nothing."""
        return one is not None and other is not None and self.task.differ([one, other])


class _Numbered(Kind):
    """Values with class ids, given by name in the order of occurrence."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._names: dict[int, str] = {}

    def _id(self, name: str) -> int:
        number = self._ids.setdefault(key(name), len(self._ids) + 1)
        self._names.setdefault(number, name)
        return number


class ClassesKind(_Numbered):
    """Several classes per image."""

    task = MULTILABEL
    held = ("label", "absent")

    def value(self, answer: ImportedAnswer) -> Classes | None:
        """The classes that the image has and lacks."""
        if answer.label is not None:
            return Classes([self._id(answer.label)])
        if not isinstance(answer.answer, NamedClasses):
            return None
        yes, no = ({self._id(name) for name in side} for side in (answer.answer.yes, answer.answer.no))
        return Classes(yes, no - yes)

    def answered(self, answer: ImportedAnswer, value: Classes) -> ImportedAnswer:
        """The answer with these classes."""
        cells = self.cells(value)
        named = NamedClasses(yes=tuple(cells["label"]), no=tuple(cells["absent"]))
        return answer.model_copy(update={"label": None, "answer": named})

    def cells(self, value: Classes | None) -> dict[str, Any]:
        """The names of both sides."""
        if value is None:
            return {"label": None, "absent": None}
        return {
            "label": [self._names[each] for each in sorted(value.yes)],
            "absent": [self._names[each] for each in sorted(value.no)],
        }

    def spelled(self, answer: ImportedAnswer, spellings: Spellings) -> ImportedAnswer:
        """The answer with the first spelling of each class."""
        given = answer.answer
        if not isinstance(given, NamedClasses):
            return super().spelled(answer, spellings)
        yes, no = (tuple(dict.fromkeys(map(spellings.of, side))) for side in (given.yes, given.no))
        return answer.model_copy(update={"answer": NamedClasses(yes=yes, no=no)})


class BoxesKind(_Numbered):
    """Boxes."""

    task = DETECTION
    held = ("boxes",)

    def value(self, answer: ImportedAnswer) -> Boxes | None:
        """The boxes. Raises SettingsError for boxes that need the size of their image."""
        given = answer.answer
        if answer.label is not None:
            raise SettingsError(f"An answer says {answer.label!r} without a box: merge files with boxes.")
        if not isinstance(given, NamedBoxes):
            return None
        if given.unit != "pixel":
            raise SettingsError(
                "A file says where boxes are in shares of the image, which a merge cannot compare: import both sides "
                "into a project instead."
            )
        try:
            return Boxes(Box(self._id(box.label), box.x, box.y, box.w, box.h, box.origin) for box in given.boxes)
        except ValueError as problem:
            raise SettingsError(f"An answer cannot be merged: {problem}. Correct the file first.") from None

    def answered(self, answer: ImportedAnswer, value: Boxes) -> ImportedAnswer:
        """The answer with these boxes."""
        boxes = tuple(NamedBox(**each) for each in self.cells(value)["boxes"])
        return answer.model_copy(update={"answer": NamedBoxes(boxes=boxes)})

    def cells(self, value: Boxes | None) -> dict[str, Any]:
        """The boxes as objects."""
        if value is None:
            return {"boxes": None}
        return {"boxes": [box._asdict() | {"label": self._names[box.label]} for box in value.boxes]}

    def spelled(self, answer: ImportedAnswer, spellings: Spellings) -> ImportedAnswer:
        """The answer with the first spelling of each class."""
        given = answer.answer
        if not isinstance(given, NamedBoxes):
            return answer
        boxes = tuple(box.model_copy(update={"label": spellings.of(box.label)}) for box in given.boxes)
        return answer.model_copy(update={"answer": given.model_copy(update={"boxes": boxes})})


ONE_CLASS: Final = Kind()
KINDS: Final[dict[str, type[Kind]]] = {
    CLASSIFICATION.name: Kind,
    MULTILABEL.name: ClassesKind,
    DETECTION.name: BoxesKind,
}


def kind_of(task: str) -> Kind:
    """The kind of answers of a task. Raises SettingsError for an unknown task."""
    if task not in KINDS:
        raise SettingsError(f"--task is one of {', '.join(KINDS)}, not {task!r}.")
    return KINDS[task]()
