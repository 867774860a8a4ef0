"""A CSV with a column for each class: 1 if the image has it, 0 if it does not, empty if that is unknown.

Notebooks and other tools read such a table without parsing labels. It contains no history. An image without a label has
empty cells. The columns are the classes that occur in any label, in order of occurrence. They are known only at the
end, so the rows wait on disk. If a class has the name of another column, its header begins with `class:`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from labeler.transfer.files.spooled import spool
from labeler.transfer.formats.csv_table import cell, line
from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.imported import ID, is_column
from labeler.transfer.rows.several import CLASS
from shared.cells import harmless

_BESIDE = frozenset({"uri", "split", "annotators", "status", "labeled_at", "prediction", "prediction_confidence"})
"""The columns other than classes."""


def write(rows: Iterator[ExportRow], extras: Extras) -> Iterator[bytes]:
    """Write UTF-8 with `\\r\\n` line ends, as in RFC 4180."""
    extras = extras - {"history"}
    columns: dict[str, int] = {}
    known = [name for name in ExportRow(0, "", "", "train", None, "unlabeled").record(extras) if name in _BESIDE]
    with spool() as spooled:
        for row in rows:
            no = row.answer[1] if row.answer is not None else []
            said = {columns.setdefault(name, len(columns)): "1" for name in row.present}
            said |= {columns.setdefault(name, len(columns)): "0" for name in no}
            rest = "0" if row.answer is None and row.label is not None else ""  # a single class means no to all others
            record = row.record(extras)
            kept = [[cell(record[name]) for name in known], [*said.items()], rest]
            spooled.write(json.dumps(kept).encode() + b"\n")
        yield line(harmless(name) for name in [*known, *map(_column, columns)])
        spooled.seek(0)
        for written in spooled:
            cells, pairs, rest = json.loads(written)
            told = dict(map(tuple, pairs))
            yield line([*map(harmless, cells), *(told.get(at, rest) for at in range(len(columns)))])


def _column(name: str) -> str:
    """The header of a class, marked if it could be mistaken for another column."""
    taken = is_column(name) or name.lower() == ID or name in _BESIDE or name.startswith(CLASS)
    return CLASS + name if taken else name
