"""A zip that Hugging Face `datasets` loads as an `imagefolder`: a folder per split, each with a `metadata.jsonl`.

It contains the answered images; the label of a skipped or flagged one is null. Unlike a folder per class, it keeps
everything else that is known about an image. Images that can no longer be read are skipped and listed in
`left_out.txt`.
"""

from __future__ import annotations

from collections.abc import Iterator

from labeler.transfer.files.archives import write_splits
from labeler.transfer.rows.exported import ExportRow, Extras


def write(rows: Iterator[ExportRow], extras: Extras) -> Iterator[bytes]:
    """Write each image as its row arrives, and each split's table at the end."""
    return write_splits(rows, extras, {}, ("uri",))
