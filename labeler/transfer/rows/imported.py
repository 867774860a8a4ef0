"""Turns a mapping of column to value, with the column names of various tools, into one row of an import.

Column names are those of our exports and of common tools; `Chosen` gives others. An invalid row becomes an
`ImportIssue` with its line, so that it does not stop the others. An invalid optional cell becomes a `CellIssue`, and
its row counts without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from labeler.transfer.rows.left_out import LeftOut
from labeler.transfer.rows.past_answers import answers_of
from labeler.transfer.rows.several import ABSENT, answer_of
from labeler.transfer.rows.several import answers_of as answers_of_several
from labeler.transfer.rows.texts import class_name, image_name, joined
from labeler.transfer.rows.values import Habits, moment, share
from shared.settings.services import SettingsError
from shared.wire.fields import Split
from shared.wire.imports import CellIssue, ImportIssue, ImportRow, NamedBoxes, NamedClasses

COLUMNS: dict[str, tuple[str, ...]] = {
    "uri": (
        *("uri", "path", "filename", "file_name", "file", "image", "image_path", "url", "filepath", "file_path"),
        *("image_name", "image_file", "image_filename", "img", "img_path", "img_name", "photo", "picture", "image_id"),
    ),
    "label": (
        *("label", "class", "category", "class_name", "labels", "classes", "category_name", "class_label", "target"),
        *("label_name", "targets"),
    ),
    "split": ("split", "set", "subset"),
    "annotator": ("annotator", "annotators", "annotated_by"),
    "confidence": ("confidence", "score", "probability"),
    "status": ("status",),
    "labeled_at": ("labeled_at",),
    "history": ("history",),
    "absent": ("absent",),
}
"""Part of a row → names of its column, in order of preference; ignores case, spaces, - and _."""
ID = "id"  # names the image if no other column does
BOX_PARTS = ("x", "y", "w", "h", "xmin", "ymin", "xmax", "ymax", "bbox")
"""Parts of a row that describe a box; only in a detection project."""
CHOSEN: dict[str, str] = {
    **{"image": "uri", "score": "confidence", "time": "labeled_at"},
    **{part: part for part in (*COLUMNS, *BOX_PARTS)},
}
"""User-facing name of a part → the part."""
BESIDE = ("separator", "encoding", "empty")
"""Other options that a user can give for a file."""
EMPTY = {"nothing": True, "unlabeled": False}
"""Meaning of an image that is listed without a box → whether nothing is in it."""

SPLITS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}

UNLABELED: dict[str, Literal["skip", "flag"]] = {"skipped": "skip", "flagged": "flag"}
"""Status of an image without a label → its action. Other words come from other tools and are ignored."""

Read = ImportRow | ImportIssue


@dataclass(frozen=True)
class Chosen:
    """The user's options for a table: part → column, and separator and encoding if they cannot be detected.

    It also describes the project: readers ask it for `several`.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    separator: str | None = None
    encoding: str | None = None
    several: bool = False  # whether an image may have several classes: a multi-label project
    empty: bool = False  # boxes: whether an image that is listed without a box has no objects

    @classmethod
    def of(cls, said: str | Mapping[str, str] | None) -> Chosen:
        """Parse `image=…,label=…`, or take a mapping. Raises SettingsError for an unknown part."""
        pairs = said if isinstance(said, Mapping) else dict(_pairs(said or ""))
        given = {name.strip().lower(): value.strip() if name != "separator" else value for name, value in pairs.items()}
        separator, encoding = given.pop("separator", None), given.pop("encoding", None)
        empty = given.pop("empty", "unlabeled").lower()
        if empty not in EMPTY:
            raise SettingsError(f"Images without a box are read as empty=nothing or empty=unlabeled, not {empty!r}.")
        unknown = next((name for name in given if name not in CHOSEN), None)
        if unknown is not None:
            known = ", ".join([*CHOSEN, *BESIDE])
            raise SettingsError(f"Columns are named as image=NAME,label=NAME: {unknown!r} is none of {known}.")
        words = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "bar": "|", "space": " "}
        separator = words.get(separator, separator) if separator else None
        if separator is not None and len(separator) != 1:
            raise SettingsError(f"A separator is one character or the word tab, not {separator!r}.")
        return cls(
            {CHOSEN[name]: column for name, column in given.items()}, separator, encoding or None, empty=EMPTY[empty]
        )


def _pairs(said: str) -> Iterator[tuple[str, str]]:
    """Split into parts and columns. Column names may contain commas."""
    known = "|".join([*CHOSEN, *BESIDE])
    for part in re.split(rf",(?=\s*(?:{known})\s*=)", said.strip(), flags=re.IGNORECASE) if said.strip() else []:
        name, equals, column = part.partition("=")
        if not equals:
            raise SettingsError(f"Columns are named as image=NAME,label=NAME, not as {part!r}.")
        yield name, column


def rows_of(
    records: Iterable[tuple[int, Mapping[str, Any]] | ImportIssue],
    chosen: Chosen | None = None,
    left: LeftOut | None = None,
) -> Iterator[Read]:
    """Turn (line, columns) into rows. Rows without a label, skip or flag are left out. Issues are passed on."""
    chosen = chosen or _AS_USUAL
    wanted = tuple(chosen.columns.items())
    for given in records:
        if isinstance(given, ImportIssue):
            yield given
            continue
        line, record = given
        parts = {part: record[name] for part, name in _columns(tuple(record), wanted).items()}
        rows = told(line, parts, several=chosen.several)
        if left is None or "status" in parts:  # the status says that there is none
            yield from rows
        else:
            yield from left.if_none(rows, "row", "without a label", line)


def told(line: int, parts: Mapping[str, Any], habits: Habits | None = None, *, several: bool = False) -> Iterator[Read]:
    """The results for a row, from the parts in `COLUMNS`: each unreadable optional cell, and the row."""
    lost: list[CellIssue] = []
    row = row_of(line, parts, lost, habits, several=several)
    if isinstance(row, ImportRow):
        yield from lost
    if row is not None:
        yield row


def row_of(
    line: int,
    parts: Mapping[str, Any],
    lost: list[CellIssue] | None = None,
    habits: Habits | None = None,
    *,
    several: bool = False,
) -> Read | None:
    """One row from the parts in `COLUMNS`; None if it has no answer.

    With `several`, the label and the `absent` classes are lists; see `labeler.transfer.rows.several`. A part `answer`
    replaces the label, and `answers` has each annotator's answer. Unreadable optional cells are appended to `lost`, and
    the row is read as if they were empty.
    """
    try:
        name_given = parts.get("uri")
        uri, sha256 = (name_given, None) if isinstance(name_given, str) else image_name(name_given)
    except ValueError as error:
        return ImportIssue(line=line, uri="", reason=str(error))
    if not uri.strip():
        return ImportIssue(line=line, uri="", reason="names no image")
    label, answer = "", None
    try:
        if isinstance(given_answer := parts.get("answer"), NamedClasses | NamedBoxes):
            answer = given_answer
        elif several:
            answer = answer_of(parts.get("label"), parts.get(ABSENT), exact=parts.get(ABSENT) is not None)
        else:
            label = class_name(parts.get("label"))
    except ValueError as error:
        reason = f"has an invalid class: {_message(error)}" if isinstance(error, ValidationError) else str(error)
        return ImportIssue(line=line, uri=uri[:4_096], reason=reason)
    lost = [] if lost is None else lost

    def lose(why: str) -> None:
        lost.append(CellIssue(line=line, uri=uri[:4_096], reason=f"{why}: the row is imported without it"))

    given: dict[str, str] = {}
    for name, value in parts.items():
        if name not in ("uri", "label", "history", "answer", "answers", ABSENT):
            try:
                given[name] = value.strip() if isinstance(value, str) else joined(value)  # called a million times
            except ValueError as error:
                lose(f"has a {name} {error}")
    answers = parts.get("answers")  # of boxes, see `boxed_rows`
    if answers is None:
        history = parts.get("history")
        named = answer if isinstance(answer, NamedClasses) else None
        answers = answers_of_several(history, named) if several else answers_of(history, label)
    split = given.get("split", "").lower()
    if split and split not in SPLITS:
        lose(f"has the split {split!r}, which is not train, validation or test")
        split = ""
    measures = parts.get("history") is not None and SPLITS.get(split, "train") != "train"
    action = "label" if label or answer else UNLABELED.get(given.get("status", "").lower())
    if action is None and not answers and not measures:
        return None
    annotator = given.get("annotator", "").split(";")[0].strip()  # our exports list agreeing ones first
    values: dict[str, Any] = {
        "line": line,
        "uri": uri,
        "sha256": sha256,
        "action": action or "open",
        "label": label or None,
        "answer": answer,
        "split": SPLITS.get(split),
        "annotator": annotator or None,
        "confidence": None,
        "labeled_at": None,
        "answers": answers,
    }
    for name, read in (("confidence", share), ("labeled_at", moment)):
        text = given.get(name)
        if text:
            try:
                values[name] = read(text, habits or _UNKNOWN)
            except (ValueError, OverflowError) as error:
                lose(f"has a {name} that cannot be read: {error}")
    return _valid(values, lose)


def unfit(error: ValidationError) -> tuple[str, str]:
    """The invalid part of a row ("" if it is not a single one), and the reason in words."""
    first, message = error.errors()[0], _message(error)
    name = str(first["loc"][0]) if first["loc"] else ""
    return name, f"has an invalid {name}: {message}" if name else message


def _message(error: ValidationError) -> str:
    return error.errors()[0]["msg"].removeprefix("Value error, ")


def _valid(values: dict[str, Any], lose: Callable[[str], None]) -> Read:
    """The row with these values, without invalid optional ones."""
    while True:
        try:
            return ImportRow.model_validate(values)
        except ValidationError as error:
            name, reason = unfit(error)
            if name not in OPTIONAL or not values[name]:
                return ImportIssue(line=values["line"], uri=values["uri"][:4_096], reason=reason)
            lose(reason)
            values[name] = OPTIONAL[name]


def has_columns(names: Iterable[str], chosen: Chosen | None = None) -> bool:
    """Whether rows can be read from columns with these names."""
    return {"uri", "label"} <= columns_of(names, chosen).keys()


def lacking(names: Iterable[str], chosen: Chosen | None) -> str | None:
    """The first column that the user named and that is none of these; None if all are there."""
    wanted = (chosen or _AS_USUAL).columns
    found = columns_of(names, chosen) if wanted else {}
    return next((name for part, name in wanted.items() if part not in found), None)


def refuse_lacking(path: Path, names: Iterable[str], chosen: Chosen | None) -> None:
    """Raise SettingsError if the user named a column that is none of these."""
    given = tuple(names)
    absent = lacking(given, chosen)
    if absent is not None:
        raise SettingsError(f"{path} has no column {absent!r}; it has {', '.join(given)}.")


def is_column(name: str, chosen: Chosen | None = None) -> bool:
    """Whether a column with this name may be a part of a row."""
    return _plain(name) in _KNOWN or name.strip() in (chosen or _AS_USUAL).columns.values()


def columns_of(names: Iterable[str], chosen: Chosen | None = None, *, by_id: bool = False) -> dict[str, str]:
    """Part → its column in `names`; with `by_id`, a column `id` names the images if no other does."""
    given = tuple(names)
    found = _columns(given, tuple((chosen or _AS_USUAL).columns.items()))
    if by_id and "uri" not in found and "uri" not in (chosen or _AS_USUAL).columns:
        found |= dict([("uri", name) for name in given if _plain(name) == ID][:1])
    return found


@lru_cache(maxsize=100)
def _columns(names: tuple[str, ...], wanted: tuple[tuple[str, str], ...] = ()) -> dict[str, str]:
    plain = {_plain(name): name for name in names[::-1]}
    exact = {name.strip(): name for name in names[::-1]}
    found = {part: plain[known] for part, all_known in _PLAIN.items() for known in all_known if known in plain}
    for part, column in wanted:
        found.pop(part, None)
        name = exact.get(column, plain.get(_plain(column)))
        if name is not None:
            found = {other: taken for other, taken in found.items() if taken != name} | {part: name}
    return found


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.lower())


OPTIONAL: dict[str, Any] = {"annotator": None, "confidence": None, "labeled_at": None, "answers": []}
_AS_USUAL = Chosen()
_UNKNOWN = Habits()
_PLAIN = {part: tuple(_plain(name) for name in names[::-1]) for part, names in COLUMNS.items()}  # first name wins
_KNOWN = {name for names in _PLAIN.values() for name in names}
