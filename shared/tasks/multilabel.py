"""Multi-label classification: each image has any number of classes, or none.

An answer says yes or no to classes. A class that it does not name is unknown, which is not a no: for instance a class
that was added later, or that an imported file does not cover. In requests and files, `yes` and `no` may hold class
names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from shared.class_names import Spellings, key
from shared.tasks.task import AnswerRefusedError, ByName, ClassBook, HoldsValue, Live, NameOf, Task, in_order
from shared.wire.imports import ImportedAnswer, NamedAnswer, NamedClasses
from shared.wire.review import Agreement, LabelIssue

_PARTS: Final = re.compile(r"(?:[^;\\]|\\.|\\$)+", re.DOTALL)
NONE_OF_THESE: Final = "none of these"
LARGEST_CLASS: Final = 1 << 16
"""Largest class id. Ids are consecutive, so a set of classes is stored as the bits of one integer. Classes that a dry
run would add have negative ids.
"""


class Classes:
    """The classes that an image has (`yes`) and those that it lacks (`no`). Hashable and immutable.

    A log holds many distinct answers, and two integers take a tenth of the memory of two sets.
    """

    __slots__ = ("_no", "_yes")

    def __init__(self, yes: Iterable[int] = (), no: Iterable[int] = ()) -> None:
        """Raises ValueError if a class is in both, or is no class id."""
        self._yes, self._no = _bits(yes), _bits(no)
        if self._yes & self._no:
            raise ValueError(f"classes {sorted(_members(self._yes & self._no))} are both yes and no")

    @property
    def yes(self) -> frozenset[int]:
        """The classes that the image has."""
        return _members(self._yes)

    @property
    def no(self) -> frozenset[int]:
        """The classes that the image lacks."""
        return _members(self._no)

    @property
    def known(self) -> frozenset[int]:
        """The classes that the answer says yes or no to."""
        return _members(self._yes | self._no)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Classes) and (self._yes, self._no) == (other._yes, other._no)

    def __hash__(self) -> int:
        return hash((self._yes, self._no))

    def __repr__(self) -> str:
        return f"Classes(yes={sorted(self.yes)}, no={sorted(self.no)})"


class Multilabel(Task):
    """Any number of classes per image."""

    name = "multilabel"
    title = "Several classes per image"
    metric = "macro_f1"
    metric_name = "Macro F1"
    which_classes = "that an image may have: several, one, or none"
    by_class = True

    def check(self, answer: object, classes: ClassBook) -> Classes:
        """Accept classes by id, or by current or former name: `{"yes": [3, "dog"], "no": [1]}`.

        A class is dropped if it was deleted after the page was loaded, as in earlier answers.
        """
        yes, no = _lists(answer)
        has, lacks = _Named(yes, classes), _Named(no, classes)
        twice = has.exact & lacks.exact
        if twice:
            name = next(iter(classes.names_of(min(twice))))
            raise AnswerRefusedError(f"it says both yes and no to the class {name!r}")
        value = Classes(has.live, lacks.said - has.live)
        if not value.known:
            gone = " that exist" if yes or no else ""
            raise AnswerRefusedError(f"it says nothing about any class: name classes{gone} in `yes` or in `no`")
        return value

    def is_same(self, value: Classes, answer: object, classes: ClassBook) -> bool:
        """Whether `answer` means these classes, by ids or names that may have changed since."""
        try:
            yes, no = _lists(answer)
        except AnswerRefusedError:
            return False
        part = self.completes(answer)
        try:
            meant, now = self.check(answer, classes), self.resolve(value, classes.resolve)
        except AnswerRefusedError:
            now = None
        if now is not None and (_within(meant, now) if part else meant == now):
            return True
        return _names(yes, value.yes, classes, part=part) and _names(no, value.no, classes, part=part)

    def completes(self, answer: object) -> bool:
        """Whether `answer` has `"merge": true`."""
        return isinstance(answer, dict) and answer.get("merge") is True

    def complete(self, earlier: Classes, value: Classes) -> Classes:
        """The earlier answer, updated with the classes that `value` names."""
        return Classes((earlier.yes - value.no) | value.yes, (earlier.no - value.yes) | value.no)

    def to_row(self, value: Classes) -> dict[str, Any]:
        """The class ids as `answer`."""
        return {"answer": {"yes": sorted(value.yes), "no": sorted(value.no)}}

    def of_row(self, row: HoldsValue) -> Classes | None:
        """The row's `answer`."""
        if not isinstance(row.answer, dict):
            return None
        yes, no = ([each for each in row.answer.get(side) or () if _is_id(each)] for side in ("yes", "no"))
        return Classes(yes, set(no) - set(yes)) if yes or no else None

    def resolve(self, value: Classes, live: Live) -> Classes | None:
        """The value after merges. An image with either of two merged classes has the remaining class.

        It lacks the remaining class only if the answer said no to that very class: a no to one part is not a no to the
        whole.
        """
        yes = {found for each in value.yes if (found := live(each)) is not None}
        no = {each for each in value.no if live(each) == each} - yes
        if yes == value.yes and no == value.no:
            return value
        return Classes(yes, no) if yes or no else None

    # ------------------------------------------------------------ several people

    def merge(self, values: Iterable[Classes]) -> Classes | None:
        """The majority's answer for each class, among those who answered it. A tie leaves the class unknown."""
        said = list(values)
        if len(set(said)) == 1:
            return said[0]
        balance = _balance(said)
        yes, no = (tuple(each for each, by in balance.items() if by * sign > 0) for sign in (1, -1))
        return Classes(yes, no) if yes or no else None

    def differ(self, values: Iterable[Classes]) -> bool:
        """Whether one person says yes and another no to any class."""
        said = list(values)
        return bool(frozenset().union(*(each.yes for each in said)) & frozenset().union(*(each.no for each in said)))

    def tied(self, values: Iterable[Classes]) -> Collection[int]:
        """The classes with a tie, which stay unknown."""
        return sorted(each for each, by in _balance(values).items() if by == 0)

    def decided(self, value: Classes, values: Iterable[Classes]) -> Collection[int]:
        """The classes that were decided by settling these answers as `value`: those on which people differ, and those
        whose result changed. The others stay as they were.
        """
        said = list(values)
        voted = self.merge(said) or Classes()
        yes, no = (frozenset().union(*(getattr(each, side) for each in said)) for side in ("yes", "no"))
        return (yes & no & value.known) | (value.yes - voted.yes) | (value.no - voted.no)

    def agreement(self, votes: Iterable[Mapping[str, Classes]], names: Mapping[int, str]) -> Agreement:
        """Cohen's κ or Krippendorff's α of each class, and their mean."""
        from shared.tasks.agreement import measure_agreement_by_class  # numpy takes a tenth of a second to import

        said = [{who: (each.yes, each.no) for who, each in vote.items()} for vote in votes]
        return measure_agreement_by_class(said, names)

    # ------------------------------------------------------------ doubts

    def is_doubted(self, value: Classes | None, issue: LabelIssue, live: Live) -> bool:
        """Whether the image's label still gives the class the answer that the issue doubts. A class that was merged
        into another is no longer doubted: a no to one part is not a no to the whole.
        """
        return live(issue.label) == issue.label and self.says(value, issue.label) is issue.given

    def proposal(self, issue: LabelIssue) -> dict[str, Any]:
        """The opposite answer for the doubted class. The other classes stay as they are."""
        return {"answer": {"no" if issue.given else "yes": [issue.label], "merge": True}}

    # ------------------------------------------------------------ counts and words

    def says(self, value: Classes | None, class_id: int) -> bool | None:
        """True for a yes, False for a no; None for an unknown class."""
        if value is None or class_id not in value.known:
            return None
        return class_id in value.yes

    def classes_in(self, value: Classes) -> Collection[int]:
        """The classes that the image has."""
        return sorted(value.yes)

    def text(self, value: Classes, name_of: NameOf) -> str:
        """The names of the classes that the image has."""
        return ", ".join(map(name_of, sorted(value.yes, key=in_order))) or NONE_OF_THESE

    def read(self, text: str, class_of: Callable[[str], int | None]) -> Classes | None:
        """The classes whose names stand in the cell, separated by `;`."""
        found = [class_of(name) for name in self.class_names(text)]
        yes = [each for each in found if each is not None]
        return Classes(yes) if yes and len(yes) == len(found) else None

    def read_answer(self, named: NamedAnswer, class_of: Callable[[str], int | None]) -> Classes | None:
        """The classes by name. A no to a class that does not exist is ignored."""
        if not isinstance(named, NamedClasses):
            raise AnswerRefusedError("has boxes, and this project has classes per image: give classes")
        has, lacks = ([class_of(name) for name in names] for names in (named.yes, named.no))
        yes = {each for each in has if each is not None}
        no = {each for each in lacks if each is not None}
        if yes & no:
            raise AnswerRefusedError("says both yes and no to a class")
        return Classes(yes, no) if (yes or no) and None not in has else None

    def class_names(self, text: str) -> Collection[str]:
        """The names in the cell."""
        return names_in_cell(text)

    def by_name(self) -> ByName:
        """The reader and writer of classes by name."""
        return _ClassesByName(self)


class _ClassesByName(ByName):
    """The classes that an image has and lacks, each side in a column of its own."""

    held = ("label", "absent")

    def value(self, answer: ImportedAnswer) -> Classes | None:
        """The classes; a label is one of them."""
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
        """The names on both sides."""
        if value is None:
            return {"label": None, "absent": None}
        return {
            "label": [self._name(each) for each in sorted(value.yes)],
            "absent": [self._name(each) for each in sorted(value.no)],
        }

    def spelled(self, answer: ImportedAnswer, spellings: Spellings) -> ImportedAnswer:
        """The answer with the first spelling of each class."""
        given = answer.answer
        if not isinstance(given, NamedClasses):
            return super().spelled(answer, spellings)
        yes, no = (tuple(dict.fromkeys(map(spellings.of, side))) for side in (given.yes, given.no))
        return answer.model_copy(update={"answer": NamedClasses(yes=yes, no=no)})


def names_in_cell(text: str) -> list[str]:
    r"""The names in a cell, each once: separated by `;`, where `\;` is a `;` within a name and `\\` a `\`."""
    parts = (re.sub(r"\\([;\\])", r"\1", part).strip() for part in _PARTS.findall(text))
    return [*dict.fromkeys(name for name in parts if name)]


def cell_of(names: Iterable[str]) -> str:
    """The names in one cell, as `names_in_cell` reads it."""
    return ";".join(re.sub(r"([;\\])", r"\\\1", name) for name in names)


class _Named:
    """The classes that a list of ids and names means. Raises AnswerRefusedError for a class that never existed."""

    def __init__(self, given: Iterable[int | str], classes: ClassBook) -> None:
        self.exact: set[int] = set()  # classes named by their own id or name
        self.live: set[int] = set()  # these, and the classes that others were merged into
        self.said: set[int] = set()  # classes that a no applies to: a no to one part is not a no to the whole
        for each in given:
            if isinstance(each, str):
                found = classes.named(each)
                if found is None:
                    raise AnswerRefusedError(classes.unknown(each))
                own = key(each) in {key(name) for name in classes.names_of(found)}
            else:
                found = classes.resolve(each)
                if found is None and not _was(each, classes):
                    raise AnswerRefusedError(classes.unknown(each))
                own = found == each
            if found is not None:
                self.live.add(found)
                self.exact |= {found} if own else set()
                self.said |= {found} if own or isinstance(each, str) else set()


def _balance(values: Iterable[Classes]) -> Counter[int]:
    """The number of yes minus the number of no, for each class that anybody names."""
    said = list(values)
    balance = Counter(each for value in said for each in value.yes)
    balance.subtract(each for value in said for each in value.no)
    return balance


def _was(class_id: int, classes: ClassBook) -> bool:
    try:
        return bool(classes.names_of(class_id))
    except KeyError:
        return False


def _lists(answer: object) -> tuple[list[int | str], list[int | str]]:
    if not isinstance(answer, dict) or not answer.keys() <= {"yes", "no", "merge"}:
        raise AnswerRefusedError('its answer is not of the form {"yes": [classes], "no": [classes]}')
    if not isinstance(answer.get("merge", False), bool):
        raise AnswerRefusedError("`merge` is true or false")
    found = []
    for side in ("yes", "no"):
        some = answer.get(side, [])
        if not isinstance(some, list) or any(isinstance(x, bool) or not isinstance(x, int | str) for x in some):
            raise AnswerRefusedError(f"`{side}` is not a list of class ids or class names")
        found.append(some)
    return found[0], found[1]


def _within(part: Classes, whole: Classes) -> bool:
    return part.yes <= whole.yes and part.no <= whole.no


def _names(labels: list[int | str], held: frozenset[int], classes: ClassBook, *, part: bool) -> bool:
    """Whether these ids and names mean the classes in `held`, by current or former names."""
    meant = {class_id: {class_id, *(key(name) for name in classes.names_of(class_id))} for class_id in held}
    said = [key(each) if isinstance(each, str) else each for each in labels]
    every = all(any(each in names for names in meant.values()) for each in said)
    return every and (part or all(any(each in names for each in said) for names in meant.values()))


def _is_id(label: object) -> bool:
    return isinstance(label, int) and not isinstance(label, bool) and 0 < label < LARGEST_CLASS


def _bits(ids: Iterable[int]) -> int:
    bits = 0
    for each in ids:
        if not -LARGEST_CLASS < each < LARGEST_CLASS:
            raise ValueError(f"{each} is no class id")
        bits |= 1 << (2 * each if each >= 0 else -2 * each - 1)
    return bits


@lru_cache(maxsize=1 << 14)
def _members(bits: int) -> frozenset[int]:
    found, place = [], 0
    while bits:
        zeros = (bits & -bits).bit_length() - 1
        place += zeros
        found.append(-(place + 1) // 2 if place % 2 else place // 2)
        bits >>= zeros + 1
        place += 1
    return frozenset(found)


MULTILABEL = Multilabel()
