"""The interface of a task: how to check, store, merge, count and write its answers.

A project has one task. The log, the counts, the pages and the formats handle its values without looking inside.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from typing import Any, ClassVar, Literal, Protocol

from shared.class_names import Spellings, key
from shared.wire.imports import ImportedAnswer, NamedAnswer, NamedBoxes
from shared.wire.log import Annotation
from shared.wire.review import Agreement, LabelIssue

Value = Any
"""One answer, for instance a class id. It is hashable and immutable, and only its task can interpret it."""
Live = Callable[[int | None], int | None]
"""Returns the live class for a class id, following merges; None if the class was deleted or never existed."""
NameOf = Callable[[int], str]
Size = Callable[[], tuple[int, int]]
"""Returns width and height of the upright original in pixels. Called only by tasks that need them."""


class ClassBook(Protocol):
    """The classes of a project, by id and by name."""

    def named(self, name: str) -> int | None:
        """The live class with this current or former name."""

    def resolve(self, class_id: int | None) -> int | None:
        """The live class for this id, following merges."""

    def names_of(self, class_id: int) -> Collection[str]:
        """All names that the class has or had."""

    def unknown(self, name: int | str) -> str:
        """A sentence that says that the class does not exist, and suggests a similar one."""


class HoldsValue(Protocol):
    """A row of the log, or a row that is to become one."""

    @property
    def label(self) -> int | None:
        """A class id."""

    @property
    def answer(self) -> Any:
        """JSON."""


def majority(values: Iterable[Hashable]) -> Any:
    """The most frequent value; None for a tie or without values."""
    most = Counter(values).most_common(2)
    return most[0][0] if most and (len(most) == 1 or most[0][1] > most[1][1]) else None


def in_order(class_id: int) -> tuple[bool, int]:
    """Sort key for class ids in order of creation. Classes that a dry run would add, whose ids are negative,
    come last.
    """
    return class_id < 0, abs(class_id)


class AnswerRefusedError(ValueError):
    """An answer is invalid. The message completes the sentence "image 7 was not labeled: …"."""


class Task(ABC):
    """Everything in a project that depends on the kind of label."""

    name: ClassVar[str]
    title: ClassVar[str | None] = None  # the task in words, for a page; None for one class per image, the usual one
    which_classes: ClassVar[str | None] = "that you want to tell apart"
    """Completes "Name the classes …" where a project begins. None if answers name no classes."""
    metric: ClassVar[Literal["accuracy", "macro_f1", "map_50"]] = "accuracy"
    """The field of an evaluation that a goal and a comparison are about, also of the project."""
    metric_name: ClassVar[str] = "Accuracy"
    counted: ClassVar[str] = "label"
    """What is counted where answers are."""
    own_metrics: ClassVar[Mapping[str, str]] = {}
    """Metric in `Evaluation.metrics` → its name on a page, the most telling first. If there are any, pages show these
    instead of an accuracy."""
    by_class: ClassVar[bool] = False  # whether an answer says yes or no to each class by itself
    by_box: ClassVar[bool] = False  # whether an answer is boxes, each of which can be doubted by itself

    # ------------------------------------------------------------ one answer

    @abstractmethod
    def check(self, answer: object, classes: ClassBook) -> Value:
        """The value that `answer` (JSON) means. Raises AnswerRefusedError with the reason."""

    @abstractmethod
    def is_same(self, value: Value, answer: object, classes: ClassBook) -> bool:
        """Whether `answer` (JSON) meant `value` when it was written. Class names may have changed since."""

    def fit(self, value: Value, size: Size) -> Value:
        """Adapt the value to the size of the image. Raises AnswerRefusedError with the reason."""
        return value

    @abstractmethod
    def to_row(self, value: Value) -> dict[str, Any]:
        """The fields of a log row that hold `value`: `label` (a class id) or `answer` (JSON)."""

    @abstractmethod
    def of_row(self, row: HoldsValue) -> Value | None:
        """The value in a log row, or None."""

    @abstractmethod
    def resolve(self, value: Value, live: Live) -> Value | None:
        """The value after merges and deletions of classes; None if nothing remains."""

    def answer_in(self, annotation: Annotation) -> object:
        """The answer in an annotation, as JSON, or None."""
        return annotation.label if annotation.answer is None else annotation.answer

    def completes(self, answer: object) -> bool:
        """Whether `answer` changes only a part of the person's earlier answer."""
        return False

    def complete(self, earlier: Value, value: Value) -> Value:
        """The earlier answer, updated with `value`."""
        return value

    # ------------------------------------------------------------ several people

    def merge(self, values: Iterable[Value]) -> Value | None:
        """Combine several people's answers: the most frequent one. None for a tie or without answers."""
        return majority(values)

    def differ(self, values: Iterable[Value]) -> bool:
        """Whether people disagree."""
        return len(set(values)) > 1

    def tied(self, values: Iterable[Value]) -> Collection[int]:
        """Where classes are answered one by one: those to which equally many people say yes and no."""
        return ()

    @abstractmethod
    def agreement(self, votes: Iterable[Mapping[str, Value]], names: Mapping[int, str]) -> Agreement:
        """Annotator agreement. `votes` has one mapping per image, from annotator to value."""

    # ------------------------------------------------------------ doubts

    def is_doubted(self, value: Value | None, issue: LabelIssue, live: Live) -> bool:
        """Whether the issue is still valid: the image has the doubted label, and the proposed one still exists."""
        proposed = live(issue.proposed)
        return self.shown_class(value) == live(issue.label) and proposed not in (None, live(issue.label))

    def corrected(self, value: Value, issue: LabelIssue, live: Live) -> Value | None:
        """The image's label with the proposed change, if issues are about parts of a label; else None."""
        return None

    def proposal(self, issue: LabelIssue) -> dict[str, Any]:
        """The fields of an annotation that accepts the issue's proposal."""
        return {"label": issue.proposed}

    # ------------------------------------------------------------ counts and words

    def says(self, value: Value | None, class_id: int) -> bool | None:
        """Whether an image with this label has the class; None if that is unknown."""
        return None if value is None else class_id in self.classes_in(value)

    def shown_class(self, value: Value | None) -> int | None:
        """The class that a page shows for a value: its only one, or None."""
        found = () if value is None else self.classes_in(value)
        return next(iter(found)) if len(found) == 1 else None

    @abstractmethod
    def classes_in(self, value: Value) -> Collection[int]:
        """The class ids that an image with this value counts for."""

    def strata(self, labels: Mapping[int, Value]) -> dict[int, int]:
        """Image → the class that stratifies its split: the rarest class of the image; 0 for none."""
        counts = Counter(each for value in labels.values() for each in self.classes_in(value))
        return {
            image_id: min(self.classes_in(value), key=lambda each: (counts[each], each), default=0)
            for image_id, value in labels.items()
        }

    @abstractmethod
    def text(self, value: Value, name_of: NameOf) -> str:
        """The value in words: in a sentence, or as a cell of a table."""

    @abstractmethod
    def read(self, text: str, class_of: Callable[[str], int | None]) -> Value | None:
        """Parse a cell of a table. Returns None if it names a class that does not exist.

        Raises AnswerRefusedError for text that cannot be a class name.
        """

    def read_answer(self, named: NamedAnswer, class_of: Callable[[str], int | None]) -> Value | None:
        """The value that an imported answer means, by class names. Raises AnswerRefusedError."""
        says = "has boxes" if isinstance(named, NamedBoxes) else "says yes and no to classes"
        raise AnswerRefusedError(f"{says}, and an image has one class here: give a label")

    @abstractmethod
    def class_names(self, text: str) -> Collection[str]:
        """The class names in a cell of a table, so that an import can add them."""

    def by_name(self) -> ByName:
        """The reader and writer of answers outside a project."""
        return ByName(self)


class ByName:
    """Reads and writes answers outside a project, where classes have names but no ids.

    It numbers the classes in the order in which it meets their names, so that the task can combine answers. By default
    an answer is a text that `Task.read` reads.
    """

    held: ClassVar[tuple[str, ...]] = ("label",)  # the columns of a table that hold a value

    def __init__(self, task: Task) -> None:
        self.task = task
        self._ids: dict[str, int] = {}
        self._names: dict[int, str] = {}

    def value(self, answer: ImportedAnswer) -> Value | None:
        """The value of an answer; None for a skip or flag. Raises ValueError for an answer of another task."""
        if answer.answer is not None:
            raise ValueError("An answer has several classes or boxes: name the task with --task.")
        return None if answer.label is None else self.task.read(answer.label, self._id)

    def answered(self, answer: ImportedAnswer, value: Value) -> ImportedAnswer:
        """The answer with this value instead of its own."""
        return answer.model_copy(update={"label": self.task.text(value, self._name)})

    def cells(self, value: Value | None) -> dict[str, Any]:
        """Column → cell, for the columns in `held`."""
        return {"label": None if value is None else self.task.text(value, self._name)}

    def spelled(self, answer: ImportedAnswer, spellings: Spellings) -> ImportedAnswer:
        """The answer with the first spelling of each class."""
        label = answer.label and spellings.of(answer.label)
        return answer if label == answer.label else answer.model_copy(update={"label": label})

    def _id(self, name: str) -> int:
        number = self._ids.setdefault(key(name), len(self._ids) + 1)
        self._names.setdefault(number, name)
        return number

    def _name(self, class_id: int) -> str:
        return self._names[class_id]


class Interned:
    """Numbers for values. A log holds few distinct values, and a number takes less memory than an object."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._values: list[Value] = []

    def number(self, value: Value | None) -> int:
        """The number of `value`; -1 for None."""
        if value is None:
            return -1
        found = self._numbers.setdefault(value, len(self._values))
        if found == len(self._values):
            self._values.append(value)
        return found

    def value(self, number: int) -> Value | None:
        """The value with this number."""
        return None if number < 0 else self._values[number]
