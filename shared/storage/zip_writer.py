"""Writes a zip of any number of members with little memory.

`zipfile` keeps 700 bytes of each member in memory until the end, when it writes the table of contents. Here, they wait
on disk.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from io import RawIOBase
from typing import IO, Final

from shared.storage.spool import Spool

_NUMBERS: Final = (
    *("compress_type", "create_system", "create_version", "extract_version", "reserved", "flag_bits"),
    *("internal_attr", "external_attr", "CRC", "compress_size", "file_size", "header_offset"),
)


class ZipWriter(zipfile.ZipFile):
    """A zip that is only written. It does not notice that a name is written twice."""

    def __init__(self, stream: IO[bytes] | RawIOBase, compression: int = zipfile.ZIP_STORED) -> None:
        super().__init__(stream, "w", compression)
        self._written = _Members()
        self.filelist = self._written
        self.NameToInfo = _Nothing()

    def close(self) -> None:
        """Write the table of contents."""
        try:
            super().close()
        finally:
            self._written.spool.close()


class _Members(list[zipfile.ZipInfo]):
    """A list of members on disk. It supports what `zipfile` does with it: append, count, and iterate once."""

    def __init__(self) -> None:
        super().__init__()
        self.spool = Spool()

    def append(self, member: zipfile.ZipInfo) -> None:
        numbers = [getattr(member, name) for name in _NUMBERS]
        self.spool.append((member.filename, member.date_time, numbers, member.extra.hex(), member.comment.hex()))

    def __len__(self) -> int:
        return len(self.spool)

    def __iter__(self) -> Iterator[zipfile.ZipInfo]:
        for name, time, numbers, extra, comment in self.spool:
            member = zipfile.ZipInfo(name, tuple(time))
            for key, value in zip(_NUMBERS, numbers, strict=True):
                setattr(member, key, value)
            member.extra, member.comment = bytes.fromhex(extra), bytes.fromhex(comment)
            yield member


class _Nothing(dict[str, zipfile.ZipInfo]):
    """Replaces the dict of members by name, which is never used."""

    def __setitem__(self, name: str, member: zipfile.ZipInfo) -> None:
        """Store nothing."""
