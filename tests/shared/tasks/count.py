"""A toy task, to show that a new kind of label needs code in `tasks/` alone: how many objects an image shows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Any

from shared.tasks import registry
from shared.tasks.task import AnswerRefusedError, ClassBook, HoldsValue, Live, NameOf, Task
from shared.wire.review import Agreement


class Count(Task):
    """An integer per image. Several people's answers become their median if it is one of them."""

    name = "count"
    title = "Objects per image"
    which_classes = None
    metric_name = "Mean error"
    own_metrics = {"mean_error": "Mean error", "within_one": "Share within one"}  # noqa: RUF012 - never changed

    def check(self, answer: object, classes: ClassBook) -> int:
        if isinstance(answer, bool) or not isinstance(answer, int) or answer < 0:
            raise AnswerRefusedError("a count is a whole number from 0 on")
        return answer

    def is_same(self, value: int, answer: object, classes: ClassBook) -> bool:
        return value == answer

    def to_row(self, value: int) -> dict[str, Any]:
        return {"answer": value}

    def of_row(self, row: HoldsValue) -> int | None:
        return None if row.answer is None else int(row.answer)

    def resolve(self, value: int, live: Live) -> int:
        return value

    def merge(self, values: Iterable[int]) -> int | None:
        said = list(values)
        middle = median(said) if said else None
        return int(middle) if middle in said else None

    def agreement(self, votes: Iterable[Mapping[str, int]], names: Mapping[int, str]) -> Agreement:
        several = [each for each in votes if len(each) > 1]
        agreed = sum(len(set(each.values())) == 1 for each in several) / len(several) if several else None
        return Agreement(measure=None, images=len(several), agreed=agreed, kappa=None, pairs=[], classes=[])

    def classes_in(self, value: int) -> tuple[int, ...]:
        return ()

    def text(self, value: int, name_of: NameOf) -> str:
        return str(value)

    def read(self, text: str, class_of: Callable[[str], int | None]) -> int:
        if not text.isdecimal():
            raise AnswerRefusedError(f"is counted as {text!r}: a count is a whole number from 0 on")
        return int(text)

    def class_names(self, text: str) -> Collection[str]:
        return ()


COUNT = Count()


@contextmanager
def registered() -> Iterator[Count]:
    """Projects can have the task meanwhile."""
    registry.register(COUNT)
    try:
        yield COUNT
    finally:
        del registry.TASKS[COUNT.name]
