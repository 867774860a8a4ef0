"""Export formats, one module each.

Each module has a `write(rows, extras) -> Iterator[bytes]` that streams, so that a million rows are never in memory. A
new format needs a module and a line in `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from labeler.transfer.formats import (
    coco,
    csv_table,
    cvat,
    datasets,
    fiftyone,
    imagefolder,
    json_lines,
    label_studio,
    one_hot,
    parquet,
    yolo,
)
from labeler.transfer.rows.exported import ExportRow, Extras


@dataclass(frozen=True, slots=True)
class Format:
    """How a format is written, and the suffix of its file."""

    write: Callable[[Iterator[ExportRow], Extras], Iterator[bytes]]
    media_type: str
    suffix: str
    one_class: bool = False  # whether it cannot store several classes per image


FORMATS: dict[str, Format] = {
    "csv": Format(csv_table.write, "text/csv; charset=utf-8", "csv"),
    "onehot": Format(one_hot.write, "text/csv; charset=utf-8", "csv"),
    "jsonl": Format(json_lines.write, "application/x-ndjson", "jsonl"),
    "parquet": Format(parquet.write, "application/vnd.apache.parquet", "parquet"),
    "imagefolder": Format(imagefolder.write, "application/zip", "zip", one_class=True),
    "yolo": Format(yolo.write, "application/zip", "zip", one_class=True),
    "datasets": Format(datasets.write, "application/zip", "zip"),
    "coco": Format(coco.write, "application/json", "json"),
    "fiftyone": Format(fiftyone.write, "application/zip", "zip"),
    "cvat": Format(cvat.write, "application/xml", "xml"),
    "label_studio": Format(label_studio.write, "application/json", "json"),
}
