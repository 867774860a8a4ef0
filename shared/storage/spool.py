"""A list that is kept on disk instead of in memory.

The addresses of a million images take 150 MB in memory, and a place may have even more images.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self


class Spool:
    """JSON values that are appended, and then read in order. The temporary file is deleted at the end of the `with`
    block, or by `close`."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile("w+", encoding="ascii")  # noqa: SIM115 - closed by `__exit__`
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Delete the file."""
        self._file.close()

    def __len__(self) -> int:
        return self._count

    def append(self, value: Any) -> None:
        """Add a value; a tuple is read back as a list."""
        self._file.write(json.dumps(value) + "\n")
        self._count += 1

    def __iter__(self) -> Iterator[Any]:
        self._file.seek(0)
        for line in self._file:
            yield json.loads(line)
