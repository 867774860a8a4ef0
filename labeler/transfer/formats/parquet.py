"""Parquet with columns for image and label, read in batches so that a million rows are never in memory.

Files of Hugging Face `datasets` are supported. The schema names the class for the number of a `ClassLabel`. An embedded
picture is recognized by its bytes. Shards such as `test-00000-of-00002.parquet` are one dataset, each in the split that
its name begins with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeGuard

import pyarrow as pa

from labeler.transfer.files import parquet
from labeler.transfer.files.parquet import PICTURES, batches, class_names, features_in, is_of_kind, opened
from labeler.transfer.rows.exported import SEVERAL, ExportRow, Extras
from labeler.transfer.rows.imported import Chosen, Read, columns_of, has_columns, is_column, refuse_lacking, rows_of
from labeler.transfer.rows.left_out import LeftOut
from labeler.transfer.rows.several import ABSENT
from shared.settings.services import SettingsError
from shared.wire.fields import Split
from shared.wire.imports import ImportIssue, ImportRow

_BATCH = 5_000  # rows that are read, or written, at once


def read(path: Path, columns: Chosen | None = None, left: LeftOut | None = None) -> Iterator[Read]:
    """Rows of the file; `line` counts them from 1. Raises SettingsError if it cannot be read."""
    with opened(path) as file:
        schema = file.schema_arrow
        features = features_in(schema)
        refuse_lacking(path, schema.names, columns)
        chosen = _with_features(features, schema.names, columns or Chosen())
        if not has_columns(schema.names, chosen):
            raise SettingsError(
                f"{path} needs columns for image and label, such as uri and label, or --columns image=…,label=…: "
                f"it has {', '.join(schema.names)}."
            )
        wanted = [name for name in schema.names if is_column(name, chosen)]
        classes = {name: names for name in wanted if (names := class_names(features.get(name))) is not None}
        pictures = any(_holds_bytes(schema.field(name).type) for name in wanted)
        split, line = parquet.split_of(path), 1
        for batch in batches(path, file, PICTURES if pictures else _BATCH, wanted):
            records = _named(enumerate(batch.to_pylist(), start=line), classes)
            for row in rows_of(records, chosen, left):
                yield row.model_copy(update={"split": split}) if _lacks_split(row, split) else row
            line += batch.num_rows


def _lacks_split(row: Read, split: Split | None) -> TypeGuard[ImportRow]:
    return split is not None and isinstance(row, ImportRow) and row.split is None


def _with_features(features: dict[str, Any], names: list[str], chosen: Chosen) -> Chosen:
    """Find columns that the names do not reveal: the only image column, and the only class column."""
    found = columns_of(names, chosen)
    kinds = {"uri": "Image", "label": "ClassLabel"}
    alone = {part: [name for name in names if is_of_kind(features.get(name), kind)] for part, kind in kinds.items()}
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
    texts = pa.list_(pa.string())
    kinds: dict[str, pa.DataType] = {"prediction_confidence": pa.float64()}
    return parquet.write(
        rows, extras, kinds | ({"label": texts, ABSENT: texts} if SEVERAL in extras else {}), at_once=_BATCH
    )
