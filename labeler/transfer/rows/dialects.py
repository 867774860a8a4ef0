"""Detects how a table is written: its encoding, its separator, and the meaning of its columns.

People's tables come from spreadsheets of many countries. The encoding follows from a byte order mark, or from whether
the whole file is UTF-8, or else from charset-normalizer. The separator is the one with which the first row names the
image and the label; if none does, `csv.Sniffer` finds it. The findings are reported, and a user can correct them with
`Chosen`. At most `SAMPLE_BYTES` are examined, except that the whole file is read once to count lines and check for
UTF-8.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from labeler.transfer.rows.imported import COLUMNS, ID, Chosen, columns_of
from labeler.transfer.rows.several import CLASS, is_one_hot
from labeler.transfer.rows.values import Habits, habits_of
from shared.cells import meant
from shared.settings.services import SettingsError

SAMPLE_BYTES: Final = 1 << 16
SEPARATORS: Final = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
LEGACY: Final = ("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1257", "cp932", "gb18030", "big5", "euc_kr")
"""The legacy encodings that are considered: those of spreadsheets on Windows."""
MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, because it begins with that mark
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
IMAGE: Final = re.compile(r"\.(jpe?g|jpe|jfif|png|webp|bmp|tiff?|gif|avif|heic|heif|ppm|jp2)$", re.IGNORECASE)
_MIXED: Final = re.compile(
    "[\u00c0-\u024f]{3,}|[A-Za-z\u00c0-\u024f][\u4e00-\u9fff\uac00-\ud7af]|[\u4e00-\u9fff][\uac00-\ud7af]|[\uac00-\ud7af][\u4e00-\u9fff]"
)
_SEP_LINE: Final = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # written by Excel to name the separator
_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one table is written. `columns`: part → position; `names`: the header, or numbers from 1."""

    encoding: str
    separator: str
    names: tuple[str, ...]
    columns: dict[str, int]
    has_header: bool
    skipped: int  # lines before the header or the first row
    spaced: bool  # whether a space follows the separator
    lines: int  # approximate number of lines
    clean: bool  # whether every byte is valid in the encoding
    habits: Habits
    beside: dict[str, int] = field(default_factory=dict)  # the parts of a box that the user named
    classes: dict[str, int] = field(default_factory=dict)  # multi-label: class → its column of 1, 0 and empty cells

    def __str__(self) -> str:
        where = [f"{_called(part)} from {self._column(at)}" for part, at in self.columns.items()]
        said = [f"separator {SEPARATORS.get(self.separator, repr(self.separator))}", f"encoding {self.encoding}"]
        if not self.has_header:
            said.append("no header")
        if self.classes:
            where.append(f"a class per column, 1 for yes, 0 for no, empty for unknown: {', '.join(self.classes)}")
        return ", ".join([*said, *where, *self.habits.told()])

    def _column(self, at: int) -> str:
        return repr(self.names[at]) if self.has_header else f"column {at + 1}"


def dialect_of(path: Path, chosen: Chosen | None = None) -> Dialect:
    """Detect how the table is written. Raises SettingsError, with what to do, if that fails."""
    chosen = chosen or Chosen()
    encoding, lines, clean = _encoding_of(path, chosen)
    text = _sample(path, encoding)
    skipped, separator = 0, chosen.separator
    if mark := _SEP_LINE.fullmatch(text[: text.find("\n") + 1] or text):
        skipped, separator = 1, separator or mark[1]
        text = text[text.find("\n") + 1 :]
    tried = [separator] if separator else sorted(SEPARATORS, key=lambda each: each != _usual(path))
    hot = _by_classes(text, tried, chosen) if chosen.several else None
    found = hot or _by_header(text, tried, chosen) or _by_content(text, tried, chosen, path)
    separator, names, columns, has_header = found
    beside = {part: at for part, at in columns.items() if part not in COLUMNS}
    columns = {part: columns[part] for part in COLUMNS if part in columns}
    rows = list(_rows(text, separator))[has_header:]
    return Dialect(
        encoding=encoding,
        separator=separator,
        names=names,
        columns=columns,
        has_header=has_header,
        skipped=skipped,
        spaced=_spaced(text, separator),
        lines=lines,
        clean=clean,
        beside=beside,
        classes=_classes(text, separator, columns) if hot is not None else {},
        habits=habits_of(
            [row[columns["confidence"]] for row in rows if columns.get("confidence", len(row)) < len(row)],
            [row[columns["labeled_at"]] for row in rows if columns.get("labeled_at", len(row)) < len(row)],
            [row[columns["label"]].strip() for row in rows if columns.get("label", len(row)) < len(row)],
        ),
    )


# ---------------------------------------------------------------- encoding


def _encoding_of(path: Path, chosen: Chosen) -> tuple[str, int, bool]:
    """Encoding, number of lines, and whether all bytes are valid in it."""
    with path.open("rb") as stream:
        start = stream.read(SAMPLE_BYTES)
        stream.seek(0)
        lines, is_utf8, odd = _passed_through(iter(lambda: stream.read(_PIECE), b""))
    if chosen.encoding:
        return chosen.encoding, lines, False
    marked = next((name for mark, name in MARKS if start.startswith(mark)), None)
    if marked is not None:
        return marked, lines, is_utf8 and marked == "utf-8-sig"
    if b"\0" in start and start.count(b"\0") > len(start) / 8:  # two-byte characters with one zero byte
        return ("utf-16-be" if start[:1] == b"\0" else "utf-16-le"), lines, False
    if is_utf8:
        return "utf-8", lines, True
    whole = sum(map(_is_utf8, odd))
    if whole * 2 >= len(odd):  # most lines are UTF-8: the others are damaged
        return "utf-8", lines, False
    return _legacy(b"\n".join(odd)), lines, False


def _passed_through(pieces: Iterator[bytes]) -> tuple[int, bool, list[bytes]]:
    """Number of lines, whether everything is UTF-8, and if not, some of the non-ASCII lines."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines, is_utf8, odd, size = 0, True, [], 0
    for piece in pieces:
        lines += piece.count(b"\n")
        if piece.isascii() and not decoder.getstate()[0]:
            continue
        try:
            if is_utf8:
                decoder.decode(piece)
        except UnicodeDecodeError:
            is_utf8 = False
            decoder.reset()
        if not piece.isascii() and size < SAMPLE_BYTES:
            some = [line for line in piece[:_PIECE].splitlines() if not line.isascii()][:1_000]
            odd += some
            size += sum(map(len, some))
    return lines, is_utf8 and not decoder.getstate()[0], odd


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _legacy(sample: bytes) -> str:
    """The most likely encoding from before UTF-8: among those that charset-normalizer finds about equally likely, the
    one with the fewest implausible letters; on a tie, Western European."""
    from charset_normalizer import from_bytes

    found = list(from_bytes(sample[:SAMPLE_BYTES], cp_isolation=list(LEGACY), enable_fallback=False))
    least = min((each.chaos for each in found), default=0.0)
    names = {
        name: (_odd(str(each)), each.chaos, -each.coherence, name != "cp1252")
        for each in found
        if each.chaos <= least + 0.1
        for name in each.could_be_from_charset
    }
    return min(names, key=names.__getitem__, default="cp1252")


def _odd(text: str) -> int:
    """Count symbols, runs of three accented letters, and adjacent letters of two scripts."""
    signs = sum(not letter.isascii() and not letter.isalpha() for letter in text)
    return signs + len(_MIXED.findall(text))


def _sample(path: Path, encoding: str) -> str:
    """The first complete lines of the file."""
    with path.open("rb") as stream:
        data = stream.read(SAMPLE_BYTES)
        more = bool(stream.read(1))
    try:
        text = codecs.getincrementaldecoder(encoding)("replace").decode(data).lstrip("\ufeff")
    except LookupError:
        raise SettingsError(f"There is no encoding {encoding!r}: name one such as utf-8, cp1252 or cp1251.") from None
    return text[: text.rfind("\n") + 1] if more and "\n" in text else text


# ---------------------------------------------------------------- columns

_Layout = tuple[str, tuple[str, ...], dict[str, int], bool]
"""Separator, names, columns, and whether there is a header."""


def _by_header(text: str, tried: Sequence[str], chosen: Chosen) -> _Layout | None:
    """The separator with which the first row names image and label; of several, the one that gives most cells."""
    found: list[_Layout] = []
    for separator in tried:
        names = tuple(next(_rows(text, separator), []))
        columns = columns_of(names, chosen, by_id=True)
        if _lacking(names, columns, chosen):
            continue
        numbered = {part: at for part, at in _numbered(names, chosen).items() if part not in columns}
        if {"uri", "label"} <= columns.keys():
            found.append((separator, names, _positions(names, columns) | numbered, True))
        elif len(names) == 2 and len(columns.keys() & {"uri", "label"}) == 1 and not any(map(IMAGE.search, names)):
            found.append((separator, names, _both(_positions(names, columns)), True))
    return (
        max(found, key=lambda each: ({"uri", "label"} <= columns_of(each[1], chosen).keys(), len(each[1])))
        if found
        else None
    )


def _lacking(names: Sequence[str], columns: Mapping[str, object], chosen: Chosen) -> list[str]:
    """The user's columns that are neither in a header with these names nor the number of a column."""
    numbered = _numbered(names, chosen)
    return [name for part, name in chosen.columns.items() if part not in columns and part not in numbered]


def _numbered(names: Sequence[str], chosen: Chosen) -> dict[str, int]:
    """Part → position, for the columns that the user gave by number."""
    return {
        part: int(name) - 1
        for part, name in chosen.columns.items()
        if name.isascii() and name.isdigit() and 0 < int(name) <= len(names)
    }


def _by_classes(text: str, tried: Sequence[str], chosen: Chosen) -> _Layout | None:
    """The separator with which the first row names the image and no label, but classes with 1, 0 or nothing below."""
    found: list[_Layout] = []
    for separator in tried:
        names = tuple(next(_rows(text, separator), []))
        columns = columns_of(names, chosen, by_id=True)
        numbered = {part: at for part, at in _numbered(names, chosen).items() if part not in columns}
        positions = _positions(names, columns) | numbered
        if _lacking(names, columns, chosen):
            continue
        if "uri" in columns and "label" not in positions and _classes(text, separator, positions):
            found.append((separator, names, positions, True))
    return max(found, key=lambda each: len(each[1]), default=None)


def _classes(text: str, separator: str, columns: dict[str, int]) -> dict[str, int]:
    names, *rows = [*_rows(text, separator)] or [[]]
    return {
        meant(name).strip().removeprefix(CLASS): at
        for at, name in enumerate(names)
        if at not in columns.values() and name.strip() and name.strip().lower() != ID
        if is_one_hot([row[at] for row in rows if at < len(row)])
    }


def _by_content(text: str, tried: Sequence[str], chosen: Chosen, path: Path) -> _Layout:
    """Find the columns by content, and by the numbers given. Raises SettingsError."""
    separator = tried[0] if len(tried) == 1 else _sniffed(text, tried)
    rows = [row for row in _rows(text, separator) if row][:1_000]
    width = len(rows[0]) if rows else 0
    by_number = _numbered(rows[0] if rows else (), chosen)
    named = [
        at
        for at in range(width)
        if sum(bool(IMAGE.search(row[at].strip())) for row in rows if at < len(row)) * 2 > len(rows)
    ]
    columns = {"uri": named[0]} if len(named) == 1 else {}
    has_header = bool(columns) and not IMAGE.search(rows[0][columns["uri"]].strip())
    names = tuple(rows[0]) if has_header else tuple(str(at + 1) for at in range(width))
    by_name = _positions(names, columns_of(names, chosen)) if has_header else {}
    columns |= by_number | by_name
    lacking = [name for part, name in chosen.columns.items() if part not in {**by_number, **by_name}]
    used = [at for at in range(width) if any(at < len(row) and row[at].strip() for row in rows)]  # a trailing comma
    if not lacking and "uri" in columns and len(used) == 2 and "label" not in columns:
        columns = _both(columns)
    if lacking or not {"uri", "label"} <= columns.keys():
        shown = ", ".join(repr(name.strip()) for name in (rows[0] if rows else ()))[:300]
        first = {name.strip() for name in rows[0]} if rows else set()
        lacking.sort(key=first.__contains__)  # a column that is there is not the one to name
        wrong = f"has no column {lacking[0]!r}" if lacking else "does not say which columns are image and label"
        raise SettingsError(
            f"{path} {wrong}. Name the columns with --columns image=…,label=… (or numbers if there is no header). "
            f"The first row is {shown}."
        )
    return separator, names, columns, has_header


def _both(columns: dict[str, int]) -> dict[str, int]:
    """With two columns of which one is known, the other one must be the label or the image."""
    known, other = ("uri", "label") if "uri" in columns else ("label", "uri")
    return columns | {other: 1 - columns[known]}


def _positions(names: Sequence[str], columns: dict[str, str]) -> dict[str, int]:
    return {part: names.index(name) for part, name in columns.items()}


def _sniffed(text: str, tried: Sequence[str]) -> str:
    try:
        return csv.Sniffer().sniff(text[:8_192], "".join(tried)).delimiter
    except csv.Error:
        return tried[0]


def _rows(text: str, separator: str) -> Iterator[list[str]]:
    """The readable rows of the sample."""
    lines = csv.reader(text.splitlines(keepends=True), delimiter=separator, skipinitialspace=_spaced(text, separator))
    while True:
        try:
            row = next(lines)
        except StopIteration:
            return
        except csv.Error:
            continue
        if row:
            yield row


def _spaced(text: str, separator: str) -> bool:
    """Whether a space follows the separator: before quotes, which would otherwise be part of the cell, or in the
    header."""
    first = text[: text.find("\n") + 1].split(separator)[1:]
    return f'{separator} "' in text or (bool(first) and all(cell.startswith(" ") for cell in first))


def _usual(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _called(part: str) -> str:
    return {"uri": "image", "confidence": "score", "labeled_at": "time"}.get(part, part)
