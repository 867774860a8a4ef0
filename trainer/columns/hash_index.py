"""Which row belongs to a content hash: 48 bytes an image, where a dict of hashes takes 200.

The first eight bytes of each hash are kept in a few sorted runs, each more than twice as long as the next. So a binary
search finds a hash. Adding a million hashes, even one at a time, sorts each of them about twenty times. A match is
confirmed with the whole hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.columns.growing import Growing

HASH_BYTES = 32
Hashes = NDArray[np.uint8]
"""(n, 32)."""


class _Run(NamedTuple):
    keys: NDArray[np.uint64]  # ascending
    rows: NDArray[np.int64]


class HashIndex:
    """Content hash → row, in the order in which they were added. One thread writes, any thread may read."""

    def __init__(self, hashes: Hashes | None = None) -> None:
        self._hashes = Growing[np.uint8](np.uint8, HASH_BYTES)
        self._runs: tuple[_Run, ...] = ()
        if hashes is not None:
            self.add(hashes)

    def __len__(self) -> int:
        return len(self._hashes)

    def add(self, hashes: Hashes) -> None:
        """Assign the next rows to these hashes, which must be new."""
        if not len(hashes):
            return
        runs = [*self._runs, _sorted(keys_of(hashes), np.arange(len(self), len(self) + len(hashes)))]
        while len(runs) > 1 and len(runs[-2].keys) <= 2 * len(runs[-1].keys):
            last, before = runs.pop(), runs.pop()
            runs.append(_sorted(np.concatenate([before.keys, last.keys]), np.concatenate([before.rows, last.rows])))
        self._hashes.append(hashes)
        self._runs = tuple(runs)

    def of(self, hashes: Hashes) -> NDArray[np.int64]:
        """The rows (n,) of these hashes; −1 for an unknown one."""
        runs, known = self._runs, self._hashes.values
        keys, found = keys_of(hashes), np.full(len(hashes), -1, np.int64)
        for run in runs:
            places = np.searchsorted(run.keys, keys)
            waiting = np.flatnonzero(places < len(run.keys))
            while len(waiting):  # once, unless two hashes begin alike
                at = places[waiting]
                alike = run.keys[at] == keys[waiting]
                waiting, at = waiting[alike], at[alike]
                same = (known[run.rows[at]] == hashes[waiting]).all(axis=1)
                found[waiting[same]] = run.rows[at[same]]
                places[waiting] += 1
                waiting = waiting[~same]
                waiting = waiting[places[waiting] < len(run.keys)]
        return found


def as_hashes(sha256s: Sequence[str]) -> Hashes:
    """Hashes (n, 32) from their hexadecimal form. Raises ValueError if one has another length."""
    data = bytes.fromhex("".join(sha256s))
    if len(data) != HASH_BYTES * len(sha256s):
        raise ValueError("a content hash has 64 hexadecimal digits")
    return np.frombuffer(data, np.uint8).reshape(-1, HASH_BYTES)


def as_text(hashes: Hashes) -> list[str]:
    """Hashes (n, 32) in their hexadecimal form."""
    text, width = np.ascontiguousarray(hashes).tobytes().hex(), 2 * HASH_BYTES
    return [text[start : start + width] for start in range(0, len(text), width)]


def keys_of(hashes: Hashes) -> NDArray[np.uint64]:
    """The first eight bytes (n,) as numbers, in the order of the hashes."""
    return np.ascontiguousarray(hashes[:, :8]).view(">u8")[:, 0].astype(np.uint64)


def _sorted(keys: NDArray[np.uint64], rows: NDArray[np.int64]) -> _Run:
    order = np.argsort(keys, kind="stable")  # a merge, where runs are sorted already
    return _Run(keys[order], rows[order])
