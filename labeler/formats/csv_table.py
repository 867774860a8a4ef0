"""CSV with a header, one image a row.

A cell that a spreadsheet would run as a formula gets an apostrophe before it: file names and class names are other
people's text. Reading takes that apostrophe away again.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from labeler.formats.records import Read, has_columns, rows_of
from labeler.formats.rows import ExportRow, Extras
from shared.cells import harmless, meant
from shared.messages import ImportIssue
from shared.settings import SettingsError

_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # bytes that Python keeps escaped


def write(rows: Iterator[ExportRow], extras: Extras) -> Iterator[bytes]:
    """UTF-8, with `\\r\\n` at line ends as RFC 4180 has it; history is JSON in a cell."""
    yield _line(ExportRow(0, "", "", "train", None, "unlabeled").record(extras))
    for row in rows:
        yield _line(harmless(_cell(value)) for value in row.record(extras).values())


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ";".join(value) if all(isinstance(each, str) for each in value) else json.dumps(value)
    return "" if value is None else str(value)


def _line(cells: Iterable[str]) -> bytes:
    line = StringIO(newline="")
    csv.writer(line).writerow(cells)
    return line.getvalue().encode("utf-8", "backslashreplace")


def read(path: Path) -> Iterator[Read]:
    """Rows of a CSV (or TSV) with columns for image and label. Raises SettingsError when it has none."""
    return rows_of(records(path))


def records(path: Path) -> Iterator[tuple[int, dict[str, str]] | ImportIssue]:
    """(line, column → cell) of each row, or what is the matter with it. Raises SettingsError without a header."""
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as stream:
        lines = csv.reader(stream, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        header = next(lines, [])
        if not has_columns(header):
            raise SettingsError(f"{path} needs a header with columns for image and label, such as uri,label.")
        while True:
            try:
                cells = next(lines)
            except StopIteration:
                return
            except csv.Error as error:
                yield ImportIssue(line=lines.line_num, uri="", reason=f"cannot be read: {error}")
                continue
            if not cells:
                continue
            if _NOT_UTF8.search("".join(cells)):
                yield ImportIssue(line=lines.line_num, uri="", reason="is not UTF-8")
            elif len(cells) != len(header):
                reason = f"has {len(cells)} cells where the header has {len(header)}"
                yield ImportIssue(line=lines.line_num, uri="", reason=reason)
            else:
                yield lines.line_num, dict(zip(header, map(meant, cells), strict=True))
