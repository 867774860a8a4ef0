"""The rows of a large pool: half precision, in a file that is mapped into memory.

Up to `IN_MEMORY` values the rows are an ordinary float32 array. A larger array would need twice its memory each time it
grows and each time it is rebuilt. So the rows of a large pool are in an unnamed file, whose space is reserved piece by
piece. When the file has grown, it is mapped again, which copies nothing. The system can write its pages to disk when it
needs the memory. Readers get float32, because arithmetic in half precision is slow on a CPU. Raw vectors are stored in
half precision too, so no precision is lost.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
IN_MEMORY = 2**25
"""Maximum number of values in an ordinary array: 128 MiB."""
RESERVED = 2**26
"""Bytes by which the file grows."""
BLOCK = 8_192
"""Rows converted at once."""


class HalfRows:
    """Rows (N, D), stored in half precision; indexing returns float32.

    NumPy functions convert all rows at once.
    """

    dtype = np.dtype(np.float32)
    ndim = 2

    def __init__(self, data: NDArray[np.float16]) -> None:
        self._data = data
        self.shape = data.shape

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, which: Any) -> Matrix:
        rows: Matrix = self._data[which].astype(np.float32)
        return rows

    def let_go(self) -> None:
        """Remove the file's pages from this process, see `let_go`."""
        let_go(self._data)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("Rows in half precision must be converted, which makes a copy.")
        return self._data.astype(np.float32 if dtype is None else dtype)


AnyRows = Matrix | HalfRows
"""Rows (N, D): `rows[places]` is float32 for both."""


class RowStore:
    """Rows of `dim` values that are appended. `folder` is where a large one has its file; None: in memory."""

    def __init__(self, dim: int, folder: Path | None = None, *, in_memory: int | None = None) -> None:
        self._dim, self._folder = dim, folder
        self._most = IN_MEMORY if in_memory is None else in_memory
        self._plain: Matrix = np.empty((0, dim), np.float32)
        self._half: NDArray[np.float16] | None = None
        self._file: IO[bytes] | None = None
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def first(self, count: int) -> AnyRows:
        """The first rows, as a view."""
        plain, half = self._plain, self._half  # in this order, because the plain rows are dropped once the file exists
        return plain[:count] if half is None else HalfRows(half[:count])

    def append(self, rows: Matrix) -> None:
        """Append rows (n, D). Raises OSError if there is no room on the disk."""
        start, end = self._size, self._size + len(rows)
        if self._half is None and (end * self._dim <= self._most or self._folder is None):
            if end > len(self._plain):
                grown = np.empty((max(end, 2 * start), self._dim), np.float32)
                grown[:start] = self._plain[:start]
                self._plain = grown
            self._plain[start:end] = rows
        else:
            half = self._reserved(end)
            if self._half is None:
                half[:start] = self._plain[:start]
            half[start:end] = rows
            self._half = half
            self._plain = np.empty((0, self._dim), np.float32)
        self._size = end

    def _reserved(self, rows: int) -> NDArray[np.float16]:
        """The mapped file with space for this many rows."""
        if self._half is not None and rows <= len(self._half):
            return self._half
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="pool-", dir=self._folder)  # noqa: SIM115
            weakref.finalize(self, self._file.close)
        room = rows + max(RESERVED // (2 * self._dim), 1)
        if hasattr(os, "posix_fallocate"):  # otherwise a full disk would end the process when a page is written
            os.posix_fallocate(self._file.fileno(), 0, 2 * room * self._dim)
        else:
            self._file.truncate(2 * room * self._dim)
        return np.memmap(self._file, np.float16, "r+", shape=(room, self._dim))


def let_go(mapped: NDArray[Any]) -> None:
    """Remove the pages of a mapped file from this process; the system keeps them or reads them again."""
    pages = getattr(mapped, "_mmap", None)
    if isinstance(pages, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        pages.madvise(mmap.MADV_DONTNEED)


def parts(rows: AnyRows) -> Iterator[tuple[int, Matrix]]:
    """All rows as float32, a few thousand at a time, each part with its first row."""
    for start in range(0, len(rows), BLOCK):
        yield start, rows[start : start + BLOCK]
