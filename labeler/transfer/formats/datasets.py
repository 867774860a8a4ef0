"""A zip that Hugging Face `datasets` loads as an `imagefolder`: a folder a split, with its `metadata.jsonl`.

Images that were answered; one that was skipped or flagged has null as its label. Unlike a folder per class it keeps
what else is known of an image. An image that cannot be read any more is left out and named in `left_out.txt`.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from tempfile import SpooledTemporaryFile

from labeler.transfer.formats.imagefolder import Pipe, write_answered, write_table
from labeler.transfer.rows.exported import ExportRow, Extras

_IN_MEMORY = 1 << 20  # bytes of a split's table, beyond which it waits on disk


def write(rows: Iterator[ExportRow], extras: Extras) -> Iterator[bytes]:
    """Images as they come, each split's table at the end."""
    pipe = Pipe()
    tables: dict[str, SpooledTemporaryFile[bytes]] = {}
    with ExitStack() as stack:
        with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:
            for row, name in write_answered(rows, extras, archive, lambda row: row.split):
                record = {"file_name": name, "original": row.uri, **row.record(extras)}
                if row.split not in tables:
                    tables[row.split] = stack.enter_context(SpooledTemporaryFile(_IN_MEMORY))
                tables[row.split].write(json.dumps({k: v for k, v in record.items() if k != "uri"}).encode() + b"\n")
                yield pipe.drain()
            for split, table in tables.items():
                yield from write_table(archive, pipe, f"{split}/metadata.jsonl", table)
        yield pipe.drain()
