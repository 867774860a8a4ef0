"""Classification: each image has one class. An answer is a class id; in requests and files it may be a class name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from shared.class_names import key
from shared.tasks.task import AnswerRefusedError, ClassBook, HoldsValue, Live, NameOf, Task
from shared.wire.review import Agreement


class Classification(Task):
    """One class per image."""

    name = "classification"

    def check(self, answer: object, classes: ClassBook) -> int:
        """Accept a class id, or a current or former class name."""
        if isinstance(answer, bool) or not isinstance(answer, int | str):
            raise AnswerRefusedError("its label is no class id and no class name")
        found = self._meant(answer, classes)
        if found is None:
            raise AnswerRefusedError(classes.unknown(answer))
        return found

    def is_same(self, value: int, answer: object, classes: ClassBook) -> bool:
        """Whether `answer` means the class `value`, by an id or a name that may have changed since."""
        if isinstance(answer, bool) or not isinstance(answer, int | str):
            return False
        meant = self._meant(answer, classes)
        if meant is not None and meant == classes.resolve(value):
            return True
        if isinstance(answer, int):
            return answer == value
        return key(answer) in {key(name) for name in classes.names_of(value)}

    def to_row(self, value: int) -> dict[str, Any]:
        """The class id as `label`."""
        return {"label": value}

    def of_row(self, row: HoldsValue) -> int | None:
        """The row's `label`."""
        return row.label

    def resolve(self, value: int, live: Live) -> int | None:
        """The live class: the one that `value` was merged into, if it was merged."""
        return live(value)

    def agreement(self, votes: Iterable[Mapping[str, int]], names: Mapping[int, str]) -> Agreement:
        """Percent agreement, Cohen's κ and Krippendorff's α."""
        from shared.tasks.agreement import measure_agreement  # numpy takes a tenth of a second to import

        return measure_agreement(list(votes), names)

    def classes_in(self, value: int) -> tuple[int, ...]:
        """The one class."""
        return (value,)

    def text(self, value: int, name_of: NameOf) -> str:
        """The class's name."""
        return name_of(value)

    def read(self, text: str, class_of: Callable[[str], int | None]) -> int | None:
        """The class of this name."""
        return class_of(text)

    def class_names(self, text: str) -> Collection[str]:
        """The text is the name."""
        return (text,)

    @staticmethod
    def _meant(answer: int | str, classes: ClassBook) -> int | None:
        return classes.named(answer) if isinstance(answer, str) else classes.resolve(answer)


CLASSIFICATION = Classification()
