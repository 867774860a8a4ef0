"""Vectors on disk, one row per image, found by the content hash of the image. Knows neither images nor backbones.

There are two append-only files: the rows as float16, and the 32-byte hashes. The hash is written after its row is on
disk, and a row counts only when its hash is complete. So a process that dies at any moment leaves at most an incomplete
tail, which the next opening cuts off. float16 halves the file; in memory rows are float32, because float16 arithmetic
is slow on a CPU. One process writes at a time; threads may share a store.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt

from shared.storage.whole_files import write_whole
from trainer.columns.half_rows import let_go
from trainer.columns.hash_index import HASH_BYTES, Hashes, HashIndex, as_hashes

ROWS = "vectors.f16"
HASHES = "sha256.bin"
SHAPE = "shape.json"
"""The length of a row, for readers of the files without the backbone."""
LARGEST = 65_504.0
"""The largest number in float16."""
CHUNK = 4096
"""Rows converted at once, so that reading needs little memory beyond the result."""


class EmbeddingStore:
    """Rows of `dim` numbers under `folder`, which is created if missing. Raises OSError if that fails."""

    def __init__(self, folder: Path, dim: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.dim = dim
        self._row_bytes = 2 * dim
        self._lock = Lock()
        self._rows = _open(folder / ROWS)
        self._hashes = _open(folder / HASHES)
        _note_shape(folder / SHAPE, dim)
        _sync_folder(folder)
        whole = min(_size(self._rows) // self._row_bytes, _size(self._hashes) // HASH_BYTES)
        self._rows.truncate(whole * self._row_bytes)
        self._hashes.truncate(whole * HASH_BYTES)
        hashes = np.frombuffer(self._hashes.read(whole * HASH_BYTES), np.uint8)
        self._index = HashIndex(hashes.reshape(-1, HASH_BYTES))
        self._count = whole
        self._map: npt.NDArray[np.float16] = self._mapped()

    def __contains__(self, sha256: str) -> bool:
        return bool(self.known(as_hashes([sha256]))[0])

    def __len__(self) -> int:
        return len(self._index)

    def known(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        """Which of these hashes (n, 32) have a row."""
        return self._index.of(hashes) >= 0

    def append(self, sha256s: Sequence[str], vectors: npt.NDArray[np.float32]) -> None:
        """Add `vectors` (n, dim) under their hashes; they are on disk on return. A hash that already has a row keeps
        it.

        Raises ValueError for another shape and for numbers beyond float16 (above 65,504, infinite, NaN); OSError if the
        disk refuses, and then the store is unchanged.
        """
        if vectors.shape != (len(sha256s), self.dim):
            raise ValueError(f"the vectors have shape {vectors.shape}, not {(len(sha256s), self.dim)}")
        with np.errstate(over="ignore"):
            half = vectors.astype("<f2")
        if not np.isfinite(half).all():
            raise ValueError("a vector contains numbers that float16 cannot hold: too large, infinite or NaN")
        with self._lock:
            hashes = as_hashes(sha256s)
            last = {sha256: i for i, sha256 in enumerate(sha256s)}  # the last one, if a hash is named twice
            places = np.array(list(last.values()), np.int64)
            fresh = places[~self.known(hashes[places])]
            if not len(fresh):
                return
            # Write at the known end, over the remains of a failed append.
            _write(self._rows, self._count * self._row_bytes, half[fresh].tobytes())
            _write(self._hashes, self._count * HASH_BYTES, hashes[fresh].tobytes())
            self._index.add(hashes[fresh])
            self._count += len(fresh)

    def read(self, sha256s: Sequence[str]) -> npt.NDArray[np.float32]:
        """The vectors (n, dim) of these hashes, in order. Raises KeyError for a missing one."""
        rows = self._index.of(as_hashes(sha256s))
        if (rows < 0).any():
            raise KeyError(sha256s[int(np.flatnonzero(rows < 0)[0])])
        with self._lock:
            if len(self._map) < self._count:
                self._map = self._mapped()
            mapped = self._map
        vectors = np.empty((len(rows), self.dim), dtype=np.float32)
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            vectors[start : start + CHUNK] = mapped[part]
        if len(rows) >= CHUNK:  # for a new geometry, which reads each row once or twice
            let_go(mapped)
        return vectors

    def close(self) -> None:
        """Close the files."""
        self._rows.close()
        self._hashes.close()

    def _mapped(self) -> npt.NDArray[np.float16]:
        if self._count == 0:  # an empty file cannot be mapped
            return np.empty((0, self.dim), dtype="<f2")
        return np.memmap(self._rows, dtype="<f2", mode="r", shape=(self._count, self.dim))


def _open(path: Path) -> FileIO:
    path.touch()
    return path.open("r+b", buffering=0)  # unbuffered: written data has left the process


def _note_shape(path: Path, dim: int) -> None:
    said = json.dumps({"dim": dim}).encode()
    with suppress(OSError):  # for example a full disk; nothing here reads the file
        if not path.is_file() or path.read_bytes() != said:
            write_whole(path, said)


def _size(file: FileIO) -> int:
    return os.fstat(file.fileno()).st_size


def _write(file: FileIO, at: int, data: bytes) -> None:
    file.seek(at)
    view = memoryview(data)
    while view:  # an unbuffered write may be partial
        view = view[file.write(view) :]
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the file names durable, where the system can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
