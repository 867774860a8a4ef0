"""JSON lines: one object per image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.imported import Chosen, Read, rows_of
from labeler.transfer.rows.left_out import LeftOut
from shared.wire.imports import ImportIssue


def write(rows: Iterator[ExportRow], extras: Extras) -> Iterator[bytes]:
    """Write UTF-8; `label` and `labeled_at` are null if there is none."""
    for row in rows:
        yield json.dumps(row.record(extras), ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def read(path: Path, columns: Chosen | None = None, left: LeftOut | None = None) -> Iterator[Read]:
    """Rows of a file with one object per line."""
    return rows_of(records(path), columns, left)


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
