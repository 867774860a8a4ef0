"""Parquet with columns for image and label, read in batches so that a million rows are never in memory.

Files of Hugging Face `datasets` are supported: the number of a `ClassLabel` is the class in the schema, an embedded
picture is recognized by its bytes, and shards such as `test-00000-of-00002.parquet` are one dataset, each in the split
that its name begins with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeGuard

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from labeler.transfer.formats.imagefolder import Pipe
from labeler.transfer.rows.exported import SEVERAL, ExportRow, Extras
from labeler.transfer.rows.imported import SPLITS, Chosen, Read, columns_of, has_columns, is_column, rows_of
from labeler.transfer.rows.left_out import LeftOut
from labeler.transfer.rows.several import ABSENT
from shared.settings.services import SettingsError
from shared.wire.fields import Split
from shared.wire.imports import ImportIssue, ImportRow

SHARD = re.compile(r"([A-Za-z]+)-\d{5}-of-\d{5}.*\.parquet$", re.IGNORECASE)
"""The name of a shard that `datasets` writes; it begins with its split."""
_BATCH = 5_000
_ROOM = 320_000_000  # maximum bytes of text per column and batch
_PICTURES = 64  # rows per batch if the file contains pictures


def read(path: Path, columns: Chosen | None = None, left: LeftOut | None = None) -> Iterator[Read]:
    """Rows of the file; `line` counts them from 1. Raises SettingsError if it cannot be read."""
    with _opened(path) as file:
        schema = file.schema_arrow
        features = _features(schema)
        chosen = _with_features(features, schema.names, columns or Chosen())
        if not has_columns(schema.names, chosen):
            raise SettingsError(
                f"{path} needs columns for image and label, such as uri and label, or --columns image=…,label=…: "
                f"it has {', '.join(schema.names)}."
            )
        wanted = [name for name in schema.names if is_column(name, chosen)]
        classes = {name: names for name in wanted if (names := class_names(features.get(name))) is not None}
        pictures = any(_holds_bytes(schema.field(name).type) for name in wanted)
        shard, line = SHARD.match(path.name), 1
        split = SPLITS.get(shard[1].lower()) if shard else None
        for batch in _batches(path, file, _PICTURES if pictures else _BATCH, wanted):
            records = _named(enumerate(batch.to_pylist(), start=line), classes)
            for row in rows_of(records, chosen, left):
                yield row.model_copy(update={"split": split}) if _lacks_split(row, split) else row
            line += batch.num_rows


def records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, record) of each row, with all columns. Raises SettingsError if it cannot be read."""
    with _opened(path) as file:
        line = 1
        for batch in _batches(path, file, _PICTURES, file.schema_arrow.names):
            yield from enumerate(batch.to_pylist(), start=line)
            line += batch.num_rows


def shards(folder: Path) -> list[Path]:
    """The parquet files of a dataset in the layout of `datasets`: in the folder, in `data`, or in a folder per
    split."""
    return sorted(path for pattern in ("*.parquet", "*/*.parquet") for path in folder.glob(pattern) if path.is_file())


def _lacks_split(row: Read, split: Split | None) -> TypeGuard[ImportRow]:
    return split is not None and isinstance(row, ImportRow) and row.split is None


def features_of(path: Path) -> dict[str, Any]:
    """The column types that `datasets` stored in a file; empty if another tool wrote it. Raises SettingsError."""
    with _opened(path) as file:
        return _features(file.schema_arrow)


def _features(schema: pa.Schema) -> dict[str, Any]:
    """The column types that `datasets` stored; empty if another tool wrote the file."""
    try:
        told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = told.get("info", {}).get("features", {})
    except (ValueError, AttributeError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def _is(feature: Any, kind: str) -> bool:
    return isinstance(feature, dict) and feature.get("_type") == kind and (kind != "ClassLabel" or "names" in feature)


def class_names(feature: Any) -> list[str] | None:
    """The names of a `ClassLabel`, or of a list of them; None for another feature."""
    if _is(feature, "ClassLabel"):
        names: list[str] = feature["names"]
        return names
    inner = feature[0] if isinstance(feature, list) and len(feature) == 1 else None
    if isinstance(feature, dict) and feature.get("_type") in ("Sequence", "List", "LargeList"):
        inner = feature.get("feature")
    return None if inner is None else class_names(inner)


def _with_features(features: dict[str, Any], names: list[str], chosen: Chosen) -> Chosen:
    """Columns that their names do not reveal: the only image column, and the only class column."""
    found = columns_of(names, chosen)
    kinds = {"uri": "Image", "label": "ClassLabel"}
    alone = {part: [name for name in names if _is(features.get(name), kind)] for part, kind in kinds.items()}
    if chosen.several:
        alone["label"] = [name for name in names if class_names(features.get(name)) is not None]
    more = {part: some[0] for part, some in alone.items() if len(some) == 1 and part not in found}
    return replace(chosen, columns={**chosen.columns, **more})


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(_holds_bytes(kind.field(number).type) for number in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _named(
    records: Iterable[tuple[int, dict[str, Any]]], classes: dict[str, list[str]]
) -> Iterator[tuple[int, dict[str, Any]] | ImportIssue]:
    """Records with class names instead of numbers; -1 means no class."""
    for line, record in records:
        try:
            yield line, record | {name: _name(record[name], names) for name, names in classes.items()}
        except (IndexError, TypeError):
            reason = "has a label that is not among the classes of the file"
            yield ImportIssue(line=line, uri="", reason=reason)


def _name(number: Any, names: list[str]) -> Any:
    if isinstance(number, list):
        return [_name(each, names) for each in number]
    return None if number is None or number == -1 else names[number if number >= 0 else len(names)]


def write(rows: Iterator[ExportRow], extras: Extras) -> Iterator[bytes]:
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
    texts = pa.list_(pa.string())
    kinds = {"id": pa.int64(), "annotators": texts, "prediction_confidence": pa.float64()}
    if SEVERAL in extras:
        kinds |= {"label": texts, ABSENT: texts}
    columns = ExportRow(0, "", "", "train", None, "unlabeled").record(extras)
    return pa.schema([(name, kinds.get(name, pa.string())) for name in columns])


def count(path: Path) -> int:
    """The number of rows, without reading them. Raises SettingsError if the file cannot be read."""
    with _opened(path) as file:
        return int(file.metadata.num_rows)


def _batches(path: Path, file: pq.ParquetFile, rows: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The rows in batches. Raises SettingsError for a text longer than any name or label.

    A file stores a repeated text once: a few kilobytes could become terabytes in memory.
    """
    for batch in file.iter_batches(rows, columns=columns):
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if pa.types.is_dictionary(column.type) and _is_text(column.type.value_type):
                longest = pc.max(pc.binary_length(column.dictionary)).as_py() or 0
                if longest > _ROOM // rows:
                    raise SettingsError(
                        f"{path} has {longest:,} bytes in one cell of its column {name}, but the limit is "
                        f"{_ROOM // rows:,}: remove or shorten that column."
                    )
        yield batch


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        texts = [field.name for field in pq.read_schema(path) if _is_text(field.type)]
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise SettingsError(f"{path} cannot be read as parquet: {error}.") from None
