"""Several classes in one row, for multi-label projects: lists, cells such as `cat;dog`, and a column per class.

A plain list names the classes that the image has. It is a no to the other classes that occur anywhere in the file
(`NamedClasses.rest`), and leaves classes that never occur in the file unknown. A row that also lists the `absent`
classes, or that has a column for each class, is taken exactly as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from labeler.transfer.rows.past_answers import adding_up
from labeler.transfer.rows.texts import class_name, parsed, python
from shared.class_names import Spellings
from shared.figures import many
from shared.tasks.multilabel import MULTILABEL, Classes, names_in_cell
from shared.wire.imports import ImportIssue, ImportRow, NamedClasses

ABSENT: Final = "absent"
"""The column with the classes that an image lacks."""
CLASS: Final = "class:"
"""Prefix of a class's header if its name would be taken for another column."""
YES: Final = frozenset({"1", "1.0", "true", "yes", "y", "t"})
_SHOWN: Final = 20  # maximum number of classes named in the report
NO: Final = frozenset({"0", "0.0", "false", "no", "n", "f"})


def names_in(value: Any) -> list[str] | None:
    """The classes in a value; [] for an empty list, None if there is no answer. Raises ValueError."""
    if isinstance(value, str):
        value = parsed(value)
        if isinstance(value, str):
            return names_in_cell(value) or None
    value = python(value)
    if value is None:
        return None
    if isinstance(value, list):
        return list(dict.fromkeys(filter(None, map(class_name, value))))
    name = class_name(value)
    return [name] if name else None


def answer_of(label: Any, absent: Any, *, exact: bool) -> NamedClasses | None:
    """The answer in a row, from the values of its columns. `exact` if the file lists absent classes. Raises
    ValueError.
    """
    yes, no = names_in(label), names_in(absent)
    if exact:
        return NamedClasses(yes=tuple(yes or ()), no=tuple(no or ())) if yes or no else None
    return None if yes is None else NamedClasses(yes=tuple(yes), rest=True)


def one_hot(cells: Mapping[str, str]) -> tuple[NamedClasses | None, list[str]]:
    """The answer in a row with a column for each class, and the columns that hold neither 1, 0 nor nothing."""
    told = {name: cell.strip().lower() for name, cell in cells.items()}
    yes = tuple(name for name, cell in told.items() if cell in YES)
    no = tuple(name for name, cell in told.items() if cell in NO)
    odd = [name for name, cell in told.items() if cell and cell not in YES | NO]
    return (NamedClasses(yes=yes, no=no) if yes or no else None), odd


def is_one_hot(cells: Sequence[str]) -> bool:
    """Whether these cells of a column are 1, 0 or empty. A -1, which tools use for no or for uncertain, is reported as
    an invalid cell.
    """
    told = {cell.strip().lower() for cell in cells}
    return bool(told & (YES | NO)) and told <= YES | NO | {"", "-1", "-1.0"}


def answers_of(history: Any, answer: NamedClasses | None) -> list[dict[str, Any]]:
    """Fields of `ImportedAnswer`s from a history in an export; none unless they add up to `answer`."""
    numbers, spellings = dict[str, int](), Spellings()

    def classes(named: NamedClasses | None) -> Classes | None:
        if named is None:
            return None
        ids = [
            [numbers.setdefault(spellings.of(name), len(numbers)) for name in side] for side in (named.yes, named.no)
        ]
        return Classes(ids[0], set(ids[1]) - set(ids[0]))

    def read(told: Mapping[str, Any]) -> tuple[NamedClasses | None, Classes | None]:
        named = answer_of(told.get("label"), told.get(ABSENT), exact=True)
        return named, classes(named)

    return adding_up(history, read, MULTILABEL.merge, lambda value: value == classes(answer))


class Vocabulary:
    """Every class that occurs in the rows of a source, found by reading them once, and the meaning of its lists."""

    def __init__(self, rows: Callable[[], Iterable[ImportRow | ImportIssue]]) -> None:
        self._rows = rows
        self._lists = 0
        self._every: tuple[str, ...] = ()

    def __call__(self) -> tuple[str, ...]:
        """The class names, each once."""
        spellings, every = Spellings(), dict[str, None]()
        self._lists = 0
        for row in self._rows():
            said = (row.answer, *(each.answer for each in row.answers)) if isinstance(row, ImportRow) else ()
            for answer in (each for each in said if isinstance(each, NamedClasses)):
                self._lists += answer.rest
                every |= dict.fromkeys(map(spellings.of, answer.yes + answer.no))
        self._every = tuple(every)
        return self._every

    def told(self) -> list[str]:
        """A sentence on what lists mean for classes that they do not name, if there are lists."""
        if not self._lists:
            return []
        names = ", ".join(self._every[:_SHOWN]) + (", …" if len(self._every) > _SHOWN else "")
        lists = many(self._lists, "list")
        return [f"{lists} of classes: a class of the file ({names}) that is not in the list of an image is a no"]
