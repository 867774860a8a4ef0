"""A zip with a folder per split and class, as torchvision's ImageFolder, timm and fastai read it.

Labeled images alone, as `train/shirt/17-photo.jpg`; the id keeps files of one name apart. Written member by member
while it is sent. An image that cannot be read any more is left out and named in `left_out.txt`.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from io import RawIOBase
from typing import Any

from labeler.formats.rows import ExportRow
from labeler.problems import Problem

_UNSAFE = re.compile(r'[\x00-\x1f<>:"/\\|?*]')


def write(rows: Iterator[ExportRow]) -> Iterator[bytes]:
    """Images are stored as they are: they are compressed already."""
    pipe = _Pipe()
    left_out: list[str] = []
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:
        for row in rows:
            if row.label is None:
                continue
            try:
                data = row.read()
            except Problem as problem:
                left_out.append(f"{row.uri}: {problem.detail}")
                continue
            archive.writestr(zipfile.ZipInfo(_member(row)), data)
            yield pipe.drain()
        if left_out:
            archive.writestr(zipfile.ZipInfo("left_out.txt"), "\n".join(left_out) + "\n")
    yield pipe.drain()


def _member(row: ExportRow) -> str:
    label = _UNSAFE.sub("_", row.label or "").strip(". ") or "_"
    name = _UNSAFE.sub("_", row.uri.rsplit("/", 1)[-1])[-150:]
    return f"{row.split}/{label}/{row.id}-{name}"


class _Pipe(RawIOBase):
    """What the archive writes and the answer takes; it cannot be rewound, so the archive writes sizes after data."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        """An archive can be written."""
        return True

    def write(self, data: Any) -> int:
        """Keep until drained."""
        self._parts.append(bytes(data))
        return len(data)

    def drain(self) -> bytes:
        """Take what was written since."""
        parts, self._parts = b"".join(self._parts), []
        return parts
