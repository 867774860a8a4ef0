"""A zip that Hugging Face `datasets` loads as an `imagefolder`: a folder per split, each with a `metadata.jsonl`.

It contains the answered images; the label of a skipped or flagged one is null. Unlike a folder per class, it keeps
everything else that is known about an image. Images that can no longer be read are skipped and listed in
`left_out.txt`.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from tempfile import SpooledTemporaryFile

from labeler.transfer.formats.imagefolder import Pipe, write_answered, write_table
from labeler.transfer.rows.exported import ExportRow, Extras

_IN_MEMORY = 1 << 20  # bytes of a split's table in memory; more are kept on disk


def write(rows: Iterator[ExportRow], extras: Extras) -> Iterator[bytes]:
    """Write images as they come, and each split's table at the end."""
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
