"""The images that wait for a vector, in the order of their content hash.

This order is random, so the first images represent the whole pool; in the folder's order they would come from a few
sub-folders. Each page of the catalogue becomes a sorted run. Runs of similar length are merged, so that each image is
sorted only a few times, however many pages there are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from trainer.columns.growing import Growing
from trainer.columns.hash_index import keys_of
from trainer.columns.id_index import IdIndex, Ids
from trainer.columns.images import Images

Numbers = NDArray[np.int64]


class _Run:
    """Images in the order of their keys. Those before `start` no longer wait."""

    def __init__(self, keys: NDArray[np.uint64], places: Numbers) -> None:
        order = np.argsort(keys, kind="stable")
        self.keys, self.places, self.start = keys[order], places[order], 0

    def __len__(self) -> int:
        return len(self.keys) - self.start


class Pending:
    """One thread uses it; any thread may use `in` and `len`."""

    def __init__(self) -> None:
        self._places = IdIndex()
        self._ids = Growing[np.int64](np.int64)
        self._waits = Growing[np.bool_](np.bool_)
        self._keys = Growing[np.uint64](np.uint64)
        self._runs: list[_Run] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, image_id: object) -> bool:
        place = self._places.get(image_id) if isinstance(image_id, int) else None
        return place is not None and bool(self._waits.values[place])

    def __iter__(self) -> Iterator[int]:
        return iter(self.first(self._count).tolist())

    def among(self, image_ids: Ids, count: int) -> Ids:
        """The first of these images that are pending (≤ count,)."""
        places = self._places.known(image_ids)
        places = places[self._waits.values[places]]
        keys = self._keys.values[places]
        if len(places) > count > 0:
            nearest = np.argpartition(keys, count - 1)[:count]
            places, keys = places[nearest], keys[nearest]
        ids: Ids = self._ids.values[places[np.argsort(keys, kind="stable")][:count]]
        return ids

    def add(self, images: Images) -> None:
        """Add these images, unless they are pending already."""
        places = self._places.of(images.ids)
        new = places < 0
        places[new] = np.arange(len(self._ids), len(self._ids) + int(new.sum()))
        self._ids.append(images.ids[new])
        self._waits.append(np.zeros(int(new.sum()), bool))
        self._keys.append(np.zeros(int(new.sum()), np.uint64))
        self._places.put(images.ids[new], places[new])
        joins = ~self._waits.values[places]
        if not joins.any():
            return
        places, keys = places[joins], keys_of(images.hashes[joins])
        self._keys.values[places] = keys
        self._waits.values[places] = True
        self._count += len(places)
        self._runs.append(_Run(keys, places))
        while len(self._runs) > 1 and len(self._runs[-2]) <= 2 * len(self._runs[-1]):
            last, before = self._runs.pop(), self._runs.pop()
            self._runs.append(self._joined(before, last))

    def discard(self, image_ids: Ids) -> None:
        """Remove these images."""
        places = np.unique(self._places.known(image_ids))
        self._count -= int(self._waits.values[places].sum())
        self._waits.values[places] = False
        if not self._count:
            self._runs = []

    def first(self, count: int) -> Ids:
        """The first images (≤ count,)."""
        heads = [self._head(run, count) for run in self._runs]
        if not heads or not count:
            return np.empty(0, np.int64)
        keys, places = np.concatenate([each for each, _ in heads]), np.concatenate([each for _, each in heads])
        places = places[np.argsort(keys, kind="stable")]
        _, firsts = np.unique(places, return_index=True)  # one that waits again may be in two runs
        ids: Ids = self._ids.values[places[np.sort(firsts)][:count]]
        return ids

    def _joined(self, *runs: _Run) -> _Run:
        """The pending images of some runs, each once: an image that was removed and added again is in two of them."""
        left = ((run.keys[run.start :], run.places[run.start :]) for run in runs)
        keys, places = map(np.concatenate, zip(*left, strict=True))
        places, firsts = np.unique(places, return_index=True)
        waits = self._waits.values[places]
        return _Run(keys[firsts][waits], places[waits])

    def _head(self, run: _Run, count: int) -> tuple[NDArray[np.uint64], Numbers]:
        """The first `count` pending images of a run, with their keys."""
        found: list[Numbers] = []
        at, missing, waits = run.start, count, self._waits.values
        while missing > 0 and at < len(run.keys):
            there = at + np.flatnonzero(waits[run.places[at : at + max(2 * missing, 1_024)]])[:missing]
            if missing == count:  # none of those before waits
                run.start = int(there[0]) if len(there) else min(at + max(2 * missing, 1_024), len(run.keys))
            found.append(there)
            at += max(2 * missing, 1_024)
            missing -= len(there)
        chosen = np.concatenate(found) if found else np.empty(0, np.int64)
        return run.keys[chosen], run.places[chosen]
