"""CSV with one row per image: written as in RFC 4180, read in any dialect that `dialects` detects.

A cell that a spreadsheet could run as a formula is written with a leading apostrophe, because file names and class
names come from others. Reading removes that apostrophe.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from labeler.transfer.rows.dialects import dialect_of
from labeler.transfer.rows.exported import SEVERAL, ExportRow, Extras
from labeler.transfer.rows.imported import Chosen, Read, row_of
from labeler.transfer.rows.left_out import LeftOut
from labeler.transfer.rows.several import ABSENT, one_hot
from shared.cells import harmless, meant
from shared.tasks.multilabel import cell_of
from shared.wire.imports import CellIssue, ImportIssue, ImportRow

csv.field_size_limit(1 << 24)
"""Maximum characters of a cell. The history of an image with many boxes exceeds Python's default of 131,072."""
_ESCAPED = re.compile("[\udc80-\udcff]")  # undecodable bytes, kept by surrogateescape
_REPLACED = re.compile("\ufffd")


def write(rows: Iterator[ExportRow], extras: Extras) -> Iterator[bytes]:
    """Write UTF-8 with `\\r\\n` line ends, as in RFC 4180; the history is JSON in a cell."""
    yield line(ExportRow(0, "", "", "train", None, "unlabeled").record(extras))
    for row in rows:
        record = row.record(extras)
        if SEVERAL in extras:
            record |= {name: cell_of(record[name] or ()) for name in ("label", ABSENT)}
        yield line(harmless(cell(value)) for value in record.values())


def cell(value: Any) -> str:
    """A value as text; a list of texts is joined with `;`, and other lists are JSON."""
    if isinstance(value, list):
        return ";".join(value) if all(isinstance(each, str) for each in value) else json.dumps(value)
    return "" if value is None else str(value)


def line(cells: Iterable[str]) -> bytes:
    """A row of the table."""
    text = StringIO(newline="")
    csv.writer(text).writerow(cells)
    return text.getvalue().encode("utf-8", "backslashreplace")


def read(path: Path, columns: Chosen | None = None, left: LeftOut | None = None) -> Iterator[Read]:
    """Rows of a CSV (or TSV) with columns for image and label. Raises SettingsError if it has none."""
    return Table(path, columns, left).rows()


def records(path: Path) -> Iterator[tuple[int, dict[str, str]] | ImportIssue]:
    """(line, column → cell) of each row, or its error. Raises SettingsError without a header."""
    table = Table(path)
    for given in table.cells():
        if isinstance(given, ImportIssue):
            yield given
        else:
            line, cells = given
            yield line, dict(zip(table.dialect.names, map(meant, cells), strict=False))


class Table:
    """A table of labels, read row by row. Raises SettingsError if its columns cannot be determined."""

    def __init__(
        self, path: Path, chosen: Chosen | None = None, left: LeftOut | None = None, *, naming: bool = False
    ) -> None:
        """`naming`: whether the issue for an unreadable row names its image, if possible."""
        self.path = path
        self._naming = naming
        self.dialect = dialect_of(path, chosen)
        self._left = LeftOut() if left is None else left
        self._several = chosen is not None and chosen.several

    def told(self) -> list[str]:
        """How the table is read and, after reading, how many rows have no label."""
        return [f"read with {self.dialect}", *self._left.told()]

    def rows(self) -> Iterator[Read]:
        """The rows of the table. An unreadable optional cell gives a CellIssue before its row."""
        dialect, columns = self.dialect, tuple(self.dialect.columns.items())
        for given in self.cells():
            if isinstance(given, ImportIssue):
                yield given
                continue
            line, cells = given
            parts = {part: meant(cells[at]) for part, at in columns}
            if dialect.habits.gapped:
                parts["label"] = dialect.habits.name(parts["label"])
            lost: list[CellIssue] = []
            row = row_of(line, parts | self._answer(line, cells, lost), lost, dialect.habits, several=self._several)
            if row is not None:
                yield from lost if isinstance(row, ImportRow) else ()
                yield row
            elif "status" not in parts:  # otherwise the status says that there is none
                yield from lost if dialect.classes else ()
                self._left.add("row", "without a label", line)

    def _answer(self, line: int, cells: list[str], lost: list[CellIssue]) -> dict[str, Any]:
        """The answer in the class columns, if there are such columns."""
        classes = self.dialect.classes
        if not classes:
            return {}
        answer, odd = one_hot({name: meant(cells[at]) for name, at in classes.items()})
        for name in odd:
            reason = (
                f"has {cells[classes[name]][:40]!r} for the class {name}, which is not 1, 0 or empty: it is unknown"
            )
            lost.append(CellIssue(line=line, uri=meant(cells[self.dialect.columns["uri"]])[:4_096], reason=reason))
        return {} if answer is None else {"answer": answer}

    def cells(self) -> Iterator[tuple[int, list[str]] | ImportIssue]:
        """(line, cells) of each row, or its error."""
        dialect = self.dialect
        width = len(dialect.names)
        wide = dialect.encoding.startswith(("utf-16", "utf-32"))
        errors = "replace" if wide else "surrogateescape"
        damaged = None if dialect.clean else _REPLACED if wide else _ESCAPED
        with self.path.open(newline="", encoding=dialect.encoding, errors=errors) as stream:
            skipped = dialect.skipped
            for _ in range(skipped):
                stream.readline()
            lines = csv.reader(stream, delimiter=dialect.separator, skipinitialspace=dialect.spaced)
            if dialect.has_header:
                next(lines, None)
            while True:
                try:
                    cells = next(lines)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield ImportIssue(line=lines.line_num + skipped, uri="", reason=f"cannot be read: {error}")
                    continue
                if not cells:
                    continue
                line = lines.line_num + skipped
                if damaged is not None and damaged.search("".join(cells)):
                    name = "UTF-8" if dialect.encoding.startswith("utf-8") else dialect.encoding
                    yield ImportIssue(line=line, uri=self._image(cells), reason=f"is not {name}")
                elif len(cells) == width or (len(cells) > width and not any(cells[width:])):
                    yield line, cells
                elif any(cells):
                    than = "where the header has" if dialect.has_header else "where the first row has"
                    reason = f"has {len(cells)} cells {than} {width}"
                    yield ImportIssue(line=line, uri=self._image(cells), reason=reason)

    def _image(self, cells: list[str]) -> str:
        at = self.dialect.columns["uri"]
        return meant(cells[at])[:4_096] if self._naming and at < len(cells) else ""
