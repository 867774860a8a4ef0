"""Formats in which labels leave, one module each.

Each module has a `write(rows) -> Iterator[bytes]` that streams, so that a million rows never lie in memory. A format
is added by a module and a line in `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from labeler.formats import csv_table, imagefolder, json_lines
from labeler.formats.rows import ExportRow


@dataclass(frozen=True, slots=True)
class Format:
    """How a format is written and what its file is called."""

    write: Callable[[Iterator[ExportRow]], Iterator[bytes]]
    media_type: str
    suffix: str


FORMATS: dict[str, Format] = {
    "csv": Format(csv_table.write, "text/csv; charset=utf-8", "csv"),
    "jsonl": Format(json_lines.write, "application/x-ndjson", "jsonl"),
    "imagefolder": Format(imagefolder.write, "application/zip", "zip"),
}
