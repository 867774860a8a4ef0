"""A zip that Hugging Face `datasets` loads as an `imagefolder`: a folder a split, with its `metadata.jsonl`.

Images that were answered; one that was skipped or flagged has null as its label. Unlike a folder per class it keeps
what else is known of an image.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from tempfile import SpooledTemporaryFile

from labeler.formats.imagefolder import Pipe, file_name
from labeler.formats.rows import ExportRow, Extras
from labeler.problems import Problem

_IN_MEMORY = 1 << 20  # bytes of a split's table, beyond which it waits on disk


def write(rows: Iterator[ExportRow], extras: Extras) -> Iterator[bytes]:
    """Images as they come, each split's table at the end; an image that cannot be read any more is left out."""
    pipe = Pipe()
    tables: dict[str, SpooledTemporaryFile[bytes]] = {}
    with ExitStack() as stack:
        with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:
            for row in rows:
                if row.status == "unlabeled":
                    continue
                try:
                    data = row.read()
                except Problem:
                    continue
                archive.writestr(zipfile.ZipInfo(f"{row.split}/{file_name(row.id, row.uri)}"), data)
                record = {"file_name": file_name(row.id, row.uri), "original": row.uri, **row.record(extras)}
                if row.split not in tables:
                    tables[row.split] = stack.enter_context(SpooledTemporaryFile(_IN_MEMORY))
                tables[row.split].write(json.dumps({k: v for k, v in record.items() if k != "uri"}).encode() + b"\n")
                yield pipe.drain()
            for split, table in tables.items():
                table.seek(0)
                with archive.open(zipfile.ZipInfo(f"{split}/metadata.jsonl"), "w") as member:
                    while piece := table.read(_IN_MEMORY):
                        member.write(piece)
                        yield pipe.drain()
        yield pipe.drain()
