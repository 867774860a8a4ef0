"""JSON lines: one object per image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.imported import Chosen, Read, lacking, refuse_lacking, rows_of
from labeler.transfer.rows.left_out import LeftOut
from shared.wire.imports import ImportIssue


def write(rows: Iterator[ExportRow], extras: Extras) -> Iterator[bytes]:
    """Write UTF-8; `label` and `labeled_at` are null if there is none."""
    for row in rows:
        yield json.dumps(row.record(extras), ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def read(path: Path, columns: Chosen | None = None, left: LeftOut | None = None) -> Iterator[Read]:
    """Rows of a file with one object per line. Raises SettingsError if no line has a column that the user named."""
    check(path, columns)
    return rows_of(records(path), columns, left)


def check(path: Path, columns: Chosen | None) -> None:
    """Raise SettingsError if no line has a column that the user named. Reads until all of them were found."""
    names: dict[str, None] = {}
    if columns is None or not columns.columns:
        return
    for given in records(path):
        if not isinstance(given, ImportIssue) and not given[1].keys() <= names.keys():
            names |= dict.fromkeys(given[1])
            if lacking(names, columns) is None:
                return
    refuse_lacking(path, names, columns)


def records(path: Path) -> Iterator[tuple[int, dict[str, Any]] | ImportIssue]:
    """(line, object) of each line, or its error."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, or nested too deeply
                yield ImportIssue(line=number, uri="", reason=f"is not JSON: {error}")
                continue
            if isinstance(record, dict):
                yield number, record
            else:
                yield ImportIssue(line=number, uri="", reason="is not a JSON object")
