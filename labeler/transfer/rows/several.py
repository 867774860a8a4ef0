"""Several classes in one row, for multi-label projects: lists, cells such as `cat;dog`, and 1 / 0 / empty a class.

A plain list names the classes that the image has. Of the other classes that the file names anywhere, it has none
(`NamedClasses.rest`); about classes that the file never names, it says nothing. A row that also lists the classes that
are `absent`, or that has a column for each class, says exactly what it holds.
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
"""Begins the header of a class whose name would be taken for another column."""
YES: Final = frozenset({"1", "1.0", "true", "yes", "y", "t"})
_SHOWN: Final = 20  # classes named in the report
NO: Final = frozenset({"0", "0.0", "false", "no", "n", "f"})


def names_in(value: Any) -> list[str] | None:
    """The classes that a value names; [] for an empty list, None if it says nothing. Raises ValueError."""
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
    """What a row says, from the values of its columns; `exact` if the file lists absent classes. Raises ValueError."""
    yes, no = names_in(label), names_in(absent)
    if exact:
        return NamedClasses(yes=tuple(yes or ()), no=tuple(no or ())) if yes or no else None
    return None if yes is None else NamedClasses(yes=tuple(yes), rest=True)


def one_hot(cells: Mapping[str, str]) -> tuple[NamedClasses | None, list[str]]:
    """What a row with a column for each class says, and the columns that hold neither 1, 0 nor nothing."""
    told = {name: cell.strip().lower() for name, cell in cells.items()}
    yes = tuple(name for name, cell in told.items() if cell in YES)
    no = tuple(name for name, cell in told.items() if cell in NO)
    odd = [name for name, cell in told.items() if cell and cell not in YES | NO]
    return (NamedClasses(yes=yes, no=no) if yes or no else None), odd


def is_one_hot(cells: Sequence[str]) -> bool:
    """Whether these cells of a column say 1, 0 or nothing. A -1, which tools use for no or for doubtful, is told as an
    odd cell."""
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
    """Every class that the rows of a source name anywhere, found by reading them once; and what their lists mean."""

    def __init__(self, rows: Callable[[], Iterable[ImportRow | ImportIssue]]) -> None:
        self._rows = rows
        self._lists = 0
        self._every: tuple[str, ...] = ()

    def __call__(self) -> tuple[str, ...]:
        """The names, each once."""
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
        """What a list says about the classes that it does not name, if there is one."""
        if not self._lists:
            return []
        names = ", ".join(self._every[:_SHOWN]) + (", …" if len(self._every) > _SHOWN else "")
        lists = many(self._lists, "list")
        return [f"{lists} of classes: a class of the file ({names}) that is not in the list of an image is a no"]
