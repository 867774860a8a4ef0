"""Parquet: rows in batches, so that a million are never in memory, and the column types of Hugging Face `datasets`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from labeler.transfer.files.archives import Pipe
from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.imported import SPLITS
from shared.settings.services import SettingsError
from shared.wire.fields import Split

PICTURES = 64
"""Rows of a batch if the file contains pictures."""
_SHARD = re.compile(r"([A-Za-z]+)-\d{5}-of-\d{5}.*\.parquet$", re.IGNORECASE)
"""The name of a shard that `datasets` writes; it begins with its split."""
_ROOM = 320_000_000  # maximum bytes of text per column and batch


def write(
    rows: Iterator[ExportRow], extras: Extras, kinds: Mapping[str, pa.DataType], *, at_once: int
) -> Iterator[bytes]:
    """Write a file with the columns of the other tables, which are texts but for `kinds`; the history is JSON.

    So many rows are in memory `at_once`.
    """
    columns = ExportRow(0, "", "", "train", None, "unlabeled").record(extras)
    usual = {"id": pa.int64(), "annotators": pa.list_(pa.string())} | dict(kinds)
    pipe, schema = Pipe(), pa.schema([(name, usual.get(name, pa.string())) for name in columns])
    with pq.ParquetWriter(pa.PythonFile(pipe, "w"), schema) as writer:
        for batch in iter(lambda: list(islice(rows, at_once)), []):
            records = [row.record(extras) for row in batch]
            for record in records:
                if "history" in record:
                    record["history"] = json.dumps(record["history"])
            writer.write_table(pa.Table.from_pylist(records, schema))
            yield pipe.drain()
    yield pipe.drain()


def shards(folder: Path) -> list[Path]:
    """The parquet files of a dataset in the layout of `datasets`: in the folder, in `data`, or in a folder per
    split."""
    return sorted(path for pattern in ("*.parquet", "*/*.parquet") for path in folder.glob(pattern) if path.is_file())


def is_shard(path: Path) -> bool:
    """Whether a file is named like one that `datasets` writes."""
    return _SHARD.match(path.name) is not None


def split_of(path: Path) -> Split | None:
    """The split that the name of a shard begins with."""
    shard = _SHARD.match(path.name)
    return SPLITS.get(shard[1].lower()) if shard else None


def records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, record) of each row, with all columns. Raises SettingsError if it cannot be read."""
    with opened(path) as file:
        line = 1
        for batch in batches(path, file, PICTURES, file.schema_arrow.names):
            yield from enumerate(batch.to_pylist(), start=line)
            line += batch.num_rows


def names_of(path: Path) -> list[str]:
    """The names of the columns. Raises SettingsError if it cannot be read."""
    with opened(path) as file:
        return list(file.schema_arrow.names)


def features_of(path: Path) -> dict[str, Any]:
    """The column types that `datasets` stored in a file; empty if another tool wrote it. Raises SettingsError."""
    with opened(path) as file:
        return features_in(file.schema_arrow)


def features_in(schema: pa.Schema) -> dict[str, Any]:
    """The column types that `datasets` stored; empty if another tool wrote the file."""
    try:
        told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = told.get("info", {}).get("features", {})
    except (ValueError, AttributeError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def is_of_kind(feature: Any, kind: str) -> bool:
    """Whether a column has this type of `datasets`."""
    return isinstance(feature, dict) and feature.get("_type") == kind and (kind != "ClassLabel" or "names" in feature)


def class_names(feature: Any) -> list[str] | None:
    """The names of a `ClassLabel`, or of a list of them; None for another feature."""
    if is_of_kind(feature, "ClassLabel"):
        names: list[str] = feature["names"]
        return names
    inner = feature[0] if isinstance(feature, list) and len(feature) == 1 else None
    if isinstance(feature, dict) and feature.get("_type") in ("Sequence", "List", "LargeList"):
        inner = feature.get("feature")
    return None if inner is None else class_names(inner)


def count(path: Path) -> int:
    """The number of rows, without reading them. Raises SettingsError if the file cannot be read."""
    with opened(path) as file:
        return int(file.metadata.num_rows)


def batches(path: Path, file: pq.ParquetFile, rows: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
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
def opened(path: Path) -> Iterator[pq.ParquetFile]:
    """The file. Raises SettingsError if it cannot be read, also if that shows only later."""
    try:
        texts = [field.name for field in pq.read_schema(path) if _is_text(field.type)]
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise SettingsError(f"{path} cannot be read as parquet: {error}.") from None
