"""What every task says about its answers: how to check, store, merge, count and write them.

A project has one task. The log, the counts, the pages and the formats handle values of the task without looking inside.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from typing import Any, ClassVar, Protocol

from shared.wire.imports import NamedAnswer, NamedBoxes
from shared.wire.log import Annotation
from shared.wire.review import Agreement, LabelIssue

Value = Any
"""One answer, for instance a class id. It is hashable and never changes; only its task knows what it means."""
Live = Callable[[int | None], int | None]
"""The live class that a class id stands for after merges; None if the class was deleted or never existed."""
NameOf = Callable[[int], str]
Size = Callable[[], tuple[int, int]]
"""Width and height of the upright original in pixels, looked up only by a task that needs them."""


class ClassBook(Protocol):
    """The classes of a project, by id and by name."""

    def named(self, name: str) -> int | None:
        """The live class that goes by this name, or went by it before."""

    def resolve(self, class_id: int | None) -> int | None:
        """The live class that this id stands for."""

    def names_of(self, class_id: int) -> Collection[str]:
        """All names that the class has or had."""

    def unknown(self, name: int | str) -> str:
        """A sentence that says that there is no such class, and which one may have been meant."""


class HoldsValue(Protocol):
    """A row of the log, or a row that is about to become one."""

    @property
    def label(self) -> int | None:
        """A class id."""

    @property
    def answer(self) -> Any:
        """JSON."""


def majority(values: Iterable[Hashable]) -> Any:
    """The value that occurs most often; None for a tie, and for no value."""
    most = Counter(values).most_common(2)
    return most[0][0] if most and (len(most) == 1 or most[0][1] > most[1][1]) else None


def in_order(class_id: int) -> tuple[bool, int]:
    """Sorts class ids in the order in which the classes came; those that a dry run would add, which are negative, go
    last."""
    return class_id < 0, abs(class_id)


class AnswerRefusedError(ValueError):
    """An answer cannot be taken. The message completes the sentence "image 7 was not labeled: …"."""


class Task(ABC):
    """The part of a project that depends on the kind of label."""

    name: ClassVar[str]
    by_class: ClassVar[bool] = False  # whether an answer says yes or no to each class by itself
    by_box: ClassVar[bool] = False  # whether an answer is boxes, each of which can be doubted by itself

    # ------------------------------------------------------------ one answer

    @abstractmethod
    def check(self, given: object, classes: ClassBook) -> Value:
        """The value that a person or program means by `given` (JSON). Raises AnswerRefusedError with the reason."""

    @abstractmethod
    def is_same(self, value: Value, given: object, classes: ClassBook) -> bool:
        """Whether `given` (JSON) meant `value` when it was written, by names that may have changed since."""

    def fit(self, value: Value, size: Size) -> Value:
        """The value as it fits an image of this size. Raises AnswerRefusedError with the reason."""
        return value

    @abstractmethod
    def to_row(self, value: Value) -> dict[str, Any]:
        """The fields of a log row that hold `value`: `label` (a class id) or `answer` (JSON)."""

    @abstractmethod
    def of_row(self, row: HoldsValue) -> Value | None:
        """The value that a row holds; None if it holds none."""

    @abstractmethod
    def resolve(self, value: Value, live: Live) -> Value | None:
        """The value after classes were merged and deleted; None if nothing of it is left."""

    def given(self, annotation: Annotation) -> object:
        """What an annotation says, as JSON; None if it says nothing."""
        return annotation.label if annotation.answer is None else annotation.answer

    def completes(self, given: object) -> bool:
        """Whether `given` changes a part of the person's earlier answer, instead of replacing it."""
        return False

    def complete(self, earlier: Value, value: Value) -> Value:
        """The earlier answer with what `value` changes."""
        return value

    # ------------------------------------------------------------ several people

    def merge(self, values: Iterable[Value]) -> Value | None:
        """What several people's answers say together: the one that most gave. None for a tie, and for no answer."""
        return majority(values)

    def differ(self, values: Iterable[Value]) -> bool:
        """Whether people disagree."""
        return len(set(values)) > 1

    def tied(self, values: Iterable[Value]) -> Collection[int]:
        """The classes of which as many people say yes as no, where classes are answered one by one."""
        return ()

    @abstractmethod
    def agreement(self, votes: Iterable[Mapping[str, Value]], names: Mapping[int, str]) -> Agreement:
        """How far annotators agree. `votes` maps annotator to value, one mapping per image."""

    # ------------------------------------------------------------ doubts

    def is_doubted(self, value: Value | None, issue: LabelIssue, live: Live) -> bool:
        """Whether the image's label still is what the issue doubts, and what it proposes still exists."""
        proposed = live(issue.proposed)
        return self.shown_class(value) == live(issue.label) and proposed not in (None, live(issue.label))

    def corrected(self, value: Value, issue: LabelIssue, live: Live) -> Value | None:
        """The image's label with what the issue proposes, where an issue is about a part of it; else None."""
        return None

    def proposal(self, issue: LabelIssue) -> dict[str, Any]:
        """The fields of an annotation that accepts what the issue proposes."""
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
        """Image → the class by which it is dealt out to the splits: the rarest that it has; 0 for none."""
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
        """The value that a cell of a table means; None if it names a class that does not exist.

        Raises AnswerRefusedError for text that no class could be named by.
        """

    def read_answer(self, named: NamedAnswer, class_of: Callable[[str], int | None]) -> Value | None:
        """The value that an imported answer means, by class names. Raises AnswerRefusedError."""
        says = "has boxes" if isinstance(named, NamedBoxes) else "says yes and no to classes"
        raise AnswerRefusedError(f"{says}, and an image has one class here: give a label")

    @abstractmethod
    def class_names(self, text: str) -> Collection[str]:
        """The classes that a cell of a table names, so that an import can add them."""


class Interned:
    """Values by number: a log holds few distinct ones, and a number takes less memory than an object."""

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
