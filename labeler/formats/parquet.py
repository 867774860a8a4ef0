"""Parquet with columns for image and label, read in batches so that a million rows never lie in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from labeler.formats.imagefolder import Pipe
from labeler.formats.records import Chosen, Read, has_columns, is_column, rows_of
from labeler.formats.rows import ExportRow, Extras
from shared.settings import SettingsError

_BATCH = 5_000


def read(path: Path, columns: Chosen | None = None) -> Iterator[Read]:
    """Rows of the file; `line` counts them from 1. Raises SettingsError when it cannot be read."""
    with _opened(path) as file:
        names = file.schema_arrow.names
        if not has_columns(names, columns):
            raise SettingsError(
                f"{path} needs columns for image and label, such as uri and label, or --columns image=…,label=…: "
                f"it has {', '.join(names)}."
            )
        wanted = [name for name in names if is_column(name, columns)]
        line = 1
        for batch in file.iter_batches(_BATCH, columns=wanted):
            records = batch.to_pylist()
            yield from rows_of(enumerate(records, start=line), columns)
            line += len(records)


def write(rows: Iterator[ExportRow], extras: Extras) -> Iterator[bytes]:
    """A file with the columns of the other tables; history is JSON in a column."""
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
    kinds = {"id": pa.int64(), "annotators": pa.list_(pa.string()), "prediction_confidence": pa.float64()}
    columns = ExportRow(0, "", "", "train", None, "unlabeled").record(extras)
    return pa.schema([(name, kinds.get(name, pa.string())) for name in columns])


def count(path: Path) -> int:
    """Rows of the file, without reading them. Raises SettingsError when it cannot be read."""
    with _opened(path) as file:
        return int(file.metadata.num_rows)


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise SettingsError(f"{path} cannot be read as parquet: {error}.") from None
