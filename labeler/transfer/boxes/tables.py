"""Boxes in JSON lines, parquet and the image folders of Hugging Face `datasets`: a row per image.

Our own tables have a column `boxes`: a list of objects with label, x, y, w, h and origin, in pixels of the upright
image. Tables of `datasets` have a column `objects`: lists `bbox` ([x, y, width, height] in pixels) and `category`, or a
list of such objects; numbers of a `ClassLabel` become the names in the schema. A missing cell says nothing, and an
empty list that nothing is in the image.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from labeler.transfer.formats import json_lines, parquet
from labeler.transfer.formats.imagefolder import Pipe, write_answered, write_table
from labeler.transfer.rows.boxed_rows import told_boxes
from labeler.transfer.rows.boxes import BOXES, LISTS, OBJECTS, boxes_in, json_of, objects_in
from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.imported import SPLITS, Chosen, Read, columns_of
from labeler.transfer.rows.left_out import LeftOut
from shared.wire.imports import ImportIssue, NamedBoxes

_BATCH = 2_000
_IN_MEMORY = 1 << 20  # bytes of a split's table in memory; more are kept on disk
_PARTS = ("uri", "split", "annotator", "confidence", "status", "labeled_at", "history")


# ---------------------------------------------------------------- reading


def read_lines(path: Path, chosen: Chosen | None, left: LeftOut) -> Iterator[Read]:
    """Rows of a file with one object per line."""
    for given in json_lines.records(path):
        if isinstance(given, ImportIssue):
            yield given
        else:
            yield from _row(*given, chosen, left)


def read_parquet(path: Path, chosen: Chosen | None, left: LeftOut) -> Iterator[Read]:
    """Rows of a parquet file; the split of a shard is in its name. Raises SettingsError if it cannot be read."""
    features = parquet.features_of(path)
    names = _class_names(features.get(OBJECTS))
    pictures = [
        name for name, feature in features.items() if isinstance(feature, dict) and feature.get("_type") == "Image"
    ]
    shard = parquet.SHARD.match(path.name)
    split = SPLITS.get(shard[1].lower()) if shard else None
    for line, record in parquet.records(path):
        if len(pictures) == 1 and "uri" not in columns_of(record, chosen):
            record = {**record, "image": record[pictures[0]]}
        if split is not None and "split" not in columns_of(record, chosen):
            record = {**record, "split": split}
        yield from _row(line, record, chosen, left, names)


def read_records(
    records: Iterator[tuple[int, Mapping[str, Any]]], chosen: Chosen | None, left: LeftOut
) -> Iterator[Read]:
    """Rows of any records, such as those of a DataFrame."""
    for line, record in records:
        yield from _row(line, record, chosen, left)


def has_boxes(names: Sequence[str]) -> bool:
    """Whether a table with these columns has boxes per image."""
    return BOXES in names or OBJECTS in names


def _row(
    line: int, record: Mapping[str, Any], chosen: Chosen | None, left: LeftOut, names: Sequence[str] | None = None
) -> Iterator[Read]:
    columns = columns_of(record, chosen)
    if "uri" not in columns or not has_boxes(tuple(record)):
        lacks = "names no image" if "uri" not in columns else f"has neither {BOXES} nor {OBJECTS}"
        yield ImportIssue(line=line, uri=str(record.get(columns.get("uri", ""), ""))[:4_096], reason=lacks)
        return
    parts = {part: record[columns[part]] for part in _PARTS if part in columns}
    size = record.get("width"), record.get("height")
    value = record[BOXES] if BOXES in record else record[OBJECTS]
    find = partial(boxes_in, value, size) if BOXES in record else partial(objects_in, value, names, size)
    silent = True
    for row in told_boxes(line, parts, partial(_or_nothing, find, chosen)):
        silent = False
        yield row
    if silent and not parts.get("status"):
        left.add("row", "without boxes", line)


def _or_nothing(find: Any, chosen: Chosen | None) -> NamedBoxes | None:
    found: NamedBoxes | None = find()
    return NamedBoxes(boxes=()) if found is None and chosen is not None and chosen.empty else found


def _class_names(feature: Any) -> list[str] | None:
    """The classes of the boxes by number, from the features that `datasets` stored."""
    if isinstance(feature, list) and len(feature) == 1:
        return _class_names(feature[0])
    if not isinstance(feature, dict):
        return None
    if feature.get("_type") in ("Sequence", "List", "LargeList"):
        return _class_names(feature.get("feature"))
    return next((found for name in LISTS if (found := parquet.class_names(feature.get(name))) is not None), None)


# ---------------------------------------------------------------- writing


def write_lines(rows: Iterator[ExportRow], extras: Extras, classes: object) -> Iterator[bytes]:
    """Write UTF-8, an object per image; `boxes` is null for an image without an answer."""
    return json_lines.write(rows, extras)


def write_parquet(rows: Iterator[ExportRow], extras: Extras, classes: object) -> Iterator[bytes]:
    """Write a file with the columns of the other tables; the history is JSON in a column."""
    pipe, schema = Pipe(), _schema(extras)
    with pq.ParquetWriter(pa.PythonFile(pipe, "w"), schema) as writer:
        for batch in iter(lambda: list(islice(rows, _BATCH)), []):
            records = [row.record(extras) for row in batch]
            for record in records:
                if "history" in record:
                    record["history"] = json.dumps(record["history"])
            writer.write_table(pa.Table.from_pylist(records, schema))
            yield pipe.drain()
    yield pipe.drain()


def _schema(extras: Extras) -> pa.Schema:
    numbers = {name: pa.float64() for name in ("x", "y", "w", "h")}
    box = pa.struct([("label", pa.string()), *numbers.items(), ("origin", pa.string())])
    kinds = {"id": pa.int64(), "annotators": pa.list_(pa.string()), "width": pa.int64(), "height": pa.int64()}
    kinds[BOXES] = pa.list_(box)
    columns = ExportRow(0, "", "", "train", None, "unlabeled").record(extras)
    return pa.schema([(name, kinds.get(name, pa.string())) for name in columns])


def write_datasets(rows: Iterator[ExportRow], extras: Extras, classes: object) -> Iterator[bytes]:
    """Write a zip that `datasets` loads as an `imagefolder`, with `objects` of each image in `metadata.jsonl`."""
    pipe = Pipe()
    tables: dict[str, SpooledTemporaryFile[bytes]] = {}
    with ExitStack() as stack:
        with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:
            for row, name in write_answered(rows, extras, archive, lambda row: row.split):
                record = {"file_name": name, "original": row.uri, OBJECTS: _objects(row), **row.record(extras)}
                if row.split not in tables:
                    tables[row.split] = stack.enter_context(SpooledTemporaryFile(_IN_MEMORY))
                kept = {name: value for name, value in record.items() if name not in ("uri", BOXES)}
                tables[row.split].write(json.dumps(kept).encode() + b"\n")
                yield pipe.drain()
            for split, table in tables.items():
                yield from write_table(archive, pipe, f"{split}/metadata.jsonl", table)
        yield pipe.drain()


def _objects(row: ExportRow) -> dict[str, list[Any]] | None:
    if row.boxes is None:
        return None
    found = json_of(row.boxes) or []
    return {
        "bbox": [[box["x"], box["y"], box["w"], box["h"]] for box in found],
        "category": [box["label"] for box in found],
        "origin": [box["origin"] for box in found],
    }
