"""What a file says only at its end: kept in memory while it is small, and on disk beyond that."""

from __future__ import annotations

from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import IO

IN_MEMORY = 1 << 20
"""Bytes in memory, and of a piece that is read again."""


def spool() -> SpooledTemporaryFile[bytes]:
    """A file that is deleted when it is closed."""
    return SpooledTemporaryFile(IN_MEMORY)


def pieces(spooled: IO[bytes]) -> Iterator[bytes]:
    """What was written, from the beginning."""
    spooled.seek(0)
    while piece := spooled.read(IN_MEMORY):
        yield piece
