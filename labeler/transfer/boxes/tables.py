"""Boxes in JSON lines, parquet and the image folders of Hugging Face `datasets`: a row per image.

Our own tables have a column `boxes`: a list of objects with label, x, y, w, h and origin, in pixels of the upright
image. Tables of `datasets` have a column `objects`: lists `bbox` ([x, y, width, height] in pixels) and `category`, or a
list of such objects; numbers of a `ClassLabel` become the names in the schema. A missing cell means that there is no
answer. An empty list means that nothing is in the image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from labeler.transfer.files import parquet
from labeler.transfer.files.archives import write_splits
from labeler.transfer.formats import json_lines
from labeler.transfer.rows.boxed_rows import told_boxes
from labeler.transfer.rows.boxes import BOXES, LISTS, OBJECTS, boxes_in, json_of, named, objects_in
from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.imported import BOX_PARTS, Chosen, Read, columns_of, refuse_lacking
from labeler.transfer.rows.left_out import LeftOut
from labeler.transfer.rows.texts import python
from shared.settings.services import SettingsError
from shared.wire.imports import ImportIssue, NamedBoxes

_BATCH = 2_000  # rows that are written at once
_PARTS = ("uri", "split", "annotator", "confidence", "status", "labeled_at", "history")


# ---------------------------------------------------------------- reading


def read_lines(path: Path, chosen: Chosen | None, left: LeftOut) -> Iterator[Read]:
    """Rows of a file with one object per line. Raises SettingsError if no line has a column that the user named,
    or if a column names nothing there."""
    json_lines.check(path, chosen)
    _refuse_places(path, chosen)
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
    split = parquet.split_of(path)
    refuse_lacking(path, parquet.names_of(path), chosen)
    _refuse_places(path, chosen)
    if chosen is not None and "label" in chosen.columns:
        names = parquet.class_names(features.get(columns_of(parquet.names_of(path), chosen)["label"]))
    for line, record in parquet.records(path):
        if len(pictures) == 1 and "uri" not in columns_of(record, chosen):
            record = {**record, "image": record[pictures[0]]}
        if split is not None and "split" not in columns_of(record, chosen):
            record = {**record, "split": split}
        yield from _row(line, record, chosen, left, names)


def read_records(
    records: Iterator[tuple[int, Mapping[str, Any]]], chosen: Chosen | None, left: LeftOut
) -> Iterator[Read]:
    """Rows of any records, such as those of a DataFrame. Raises SettingsError for columns that name nothing there."""
    _refuse_places("The table", chosen)
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
    labels = record[columns["label"]] if chosen is not None and "label" in chosen.columns.keys() & columns else None
    find = (
        partial(boxes_in, record[BOXES], size, labels=_called(labels, names))
        if BOXES in record
        else partial(objects_in, record[OBJECTS], names, size, labels=labels)
    )
    rows = told_boxes(line, parts, partial(_or_nothing, find, chosen))
    yield from rows if parts.get("status") else left.if_none(rows, "row", "without boxes", line)


def _refuse_places(where: object, chosen: Chosen | None) -> None:
    """Raise SettingsError if the user named columns for the parts of a box, which are all in one column here."""
    part = next((part for part in BOX_PARTS if chosen is not None and part in chosen.columns), None)
    if part is not None:
        raise SettingsError(
            f"{where} has all boxes of an image in one column, {BOXES} or {OBJECTS}: leave out {part}= of the columns."
        )


def _called(labels: Any, names: Sequence[str] | None) -> Any:
    """The classes by name where a file has numbers for them."""
    given = python(labels)
    if isinstance(given, list):
        return [_called(each, names) for each in given]
    return named(given, names)


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
    numbers = {name: pa.float64() for name in ("x", "y", "w", "h")}
    box = pa.struct([("label", pa.string()), *numbers.items(), ("origin", pa.string())])
    return parquet.write(
        rows, extras, {"width": pa.int64(), "height": pa.int64(), BOXES: pa.list_(box)}, at_once=_BATCH
    )


def write_datasets(rows: Iterator[ExportRow], extras: Extras, classes: object) -> Iterator[bytes]:
    """Write a zip that `datasets` loads as an `imagefolder`, with `objects` of each image in `metadata.jsonl`."""
    return write_splits(rows, extras, {OBJECTS: _objects}, ("uri", BOXES))


def _objects(row: ExportRow) -> dict[str, list[Any]] | None:
    if row.boxes is None:
        return None
    found = json_of(row.boxes) or []
    return {
        "bbox": [[box["x"], box["y"], box["w"], box["h"]] for box in found],
        "category": [box["label"] for box in found],
        "origin": [box["origin"] for box in found],
    }
