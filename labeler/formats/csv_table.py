"""CSV with a header, one image a row.

A cell that a spreadsheet would run as a formula gets an apostrophe before it: file names and class names are other
people's text.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO

from labeler.formats.rows import ExportRow

COLUMNS = ("id", "uri", "sha256", "split", "label", "annotators", "labeled_at", "status")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write(rows: Iterator[ExportRow]) -> Iterator[bytes]:
    """UTF-8, with `\\r\\n` at line ends as RFC 4180 has it."""
    yield _line(COLUMNS)
    for row in rows:
        at = row.labeled_at.isoformat() if row.labeled_at else ""
        cells = (row.uri, row.sha256, row.split, row.label or "", ";".join(row.annotators), at, row.status)
        yield _line((str(row.id), *map(_harmless, cells)))


def _line(cells: tuple[str, ...]) -> bytes:
    line = StringIO(newline="")
    csv.writer(line).writerow(cells)
    return line.getvalue().encode("utf-8", "backslashreplace")


def _harmless(cell: str) -> str:
    return "'" + cell if cell.startswith(_FORMULA) else cell
