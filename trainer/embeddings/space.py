"""The embedded images as arrays: which row is which image, and the geometry that learners and strategies share.

Rows are centred on the mean of the train-split images, weighted by their spectrum and scaled to unit length
(`trainer.embeddings.transform`); the head and all distances live in that space. It is fixed per *geometry version*:
taken from the first images, taken again each time their number has doubled, and once when all are embedded, so that
early questions are possible and late ones are right. Train images and held-out ones (validation, test) are kept in
separate matrices, so that no strategy can look at the latter. It knows nothing of labels.

The loop's thread alone changes the pool. Any other thread takes `space()` once and reads that: a new geometry is built
aside and then put in place by one assignment, so that ids, rows and version of a space always belong together.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.wire.fields import Split
from shared.wire.images import ImageEntry
from trainer.embeddings.transform import SAMPLE, Projection, fit_projection, plain

Read = Callable[[Sequence[str]], NDArray[np.float32]]
_geometries = count()  # no two pools have one in common, so that nothing that was fitted in one is used in another


class Matrix:
    """A float32 matrix that grows by rows, amortised, without copying all of it at each append."""

    def __init__(self, dim: int) -> None:
        self._data = np.empty((0, dim), np.float32)
        self.ids = np.empty(0, np.int64)
        self.row_of: dict[int, int] = {}

    @property
    def rows(self) -> NDArray[np.float32]:
        """(N, D) view of what is filled."""
        return self._data[: len(self.ids)]

    def view(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Ids (N,) and rows (N, D) that belong together, for a reader on another thread."""
        ids = self.ids
        return ids, self._data[: len(ids)]

    def append(self, ids: Sequence[int], rows: NDArray[np.float32]) -> None:
        """Add rows (n, D) for images that are not in it yet."""
        start, end = len(self.ids), len(self.ids) + len(ids)
        if end > len(self._data):
            grown = np.empty((max(end, 2 * start), self._data.shape[1]), np.float32)
            grown[:start] = self.rows
            self._data = grown
        self._data[start:end] = rows
        self.ids = np.concatenate([self.ids, np.asarray(ids, np.int64)])
        self.row_of.update({image_id: start + offset for offset, image_id in enumerate(ids)})


@dataclass(frozen=True)
class Rows:
    """A matrix as it was at one moment."""

    ids: NDArray[np.int64]  # (N,)
    rows: NDArray[np.float32]  # (N, D)

    @cached_property
    def row_of(self) -> dict[int, int]:
        """Image id → row."""
        return {image_id: row for row, image_id in enumerate(self.ids.tolist())}

    def view(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Ids and rows."""
        return self.ids, self.rows


@dataclass(frozen=True)
class Space:
    """The embeddings at one moment, for a reader on another thread than the loop's."""

    version: int
    projection: Projection
    train: Rows
    held: Rows
    splits: Mapping[int, Split]  # of what is held out

    def split_of(self, image_id: int) -> Split:
        """The split that an image was taken in under."""
        return self.splits.get(image_id, "train")


@dataclass
class Geometry:
    """What belongs together: it is replaced as a whole."""

    projection: Projection
    train: Matrix
    held: Matrix
    version: int = field(default_factory=lambda: next(_geometries))  # anything cached for another one is stale
    memory: dict[str, Any] = field(default_factory=dict)  # scratch of the strategies


class ImagePool:
    """Train and held-out embeddings of the images embedded so far."""

    def __init__(self, dim: int, read: Read) -> None:
        self.dim = dim
        self._read = read  # content hashes → raw vectors (n, D)
        self._entries: dict[int, ImageEntry] = {}
        self.geometry = Geometry(plain(np.zeros(dim, np.float32)), Matrix(dim), Matrix(dim))
        self._space: Space | None = None  # the last one given away
        self._mean_count = 0
        self.whole = True  # False after a disk that failed: what is in here is not all laid out

    @property
    def version(self) -> int:
        """Of the geometry."""
        return self.geometry.version

    @property
    def projection(self) -> Projection:
        """Raw vectors → rows."""
        return self.geometry.projection

    @property
    def train(self) -> Matrix:
        """The train images."""
        return self.geometry.train

    @property
    def held(self) -> Matrix:
        """The images that are held out."""
        return self.geometry.held

    @property
    def memory(self) -> dict[str, Any]:
        """Scratch of the strategies, as long-lived as the geometry."""
        return self.geometry.memory

    def space(self) -> Space:
        """What there is now. From any thread."""
        now, known = self.geometry, self._space
        train, held = Rows(*now.train.view()), Rows(*now.held.view())
        sizes = (now.version, len(train.ids), len(held.ids))
        if known is not None and sizes == (known.version, len(known.train.ids), len(known.held.ids)):
            return known
        entries = ((image_id, self._entries.get(image_id)) for image_id in held.ids.tolist())
        splits = {image_id: entry.split for image_id, entry in entries if entry is not None}
        self._space = space = Space(now.version, now.projection, train, held, splits)
        return space

    def __contains__(self, image_id: int) -> bool:
        return image_id in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def split_of(self, image_id: int) -> Split:
        """The split that the image was taken in under. Raises KeyError for one that was not."""
        return self._entries[image_id].split

    def add(self, entries: Sequence[ImageEntry], *, complete: bool) -> None:
        """Take in images that have a vector now; `complete` says that no more are on their way.

        Raises OSError when their vectors cannot be read; the next call, also one without images, makes up for it.
        """
        whole, self.whole = self.whole, False
        fresh = [entry for entry in entries if entry.id not in self._entries]
        self._entries.update({entry.id: entry for entry in fresh})
        train = len(self.train.ids) + sum(entry.split == "train" for entry in fresh)
        # A mean over nine tenths of the images is near enough: a few late ones do not lay everything out anew.
        enough = 1.1 * self._mean_count if complete else 2.0 * self._mean_count
        if train > max(enough, 1) or not whole:
            self._rebuild()
        elif fresh:
            self._append(self.geometry, fresh)
        self.whole = True

    def outdated(self, entries: Sequence[ImageEntry]) -> list[ImageEntry]:
        """Those of `entries` that are in here under another split; drops what `entries` does not name."""
        now = {entry.id for entry in entries}
        self.drop([image_id for image_id in self._entries if image_id not in now])
        return [each for each in entries if each.id in self._entries and self._entries[each.id].split != each.split]

    def move(self, entries: Sequence[ImageEntry]) -> None:
        """Splits changed: lay everything out anew."""
        known = [entry for entry in entries if entry.id in self._entries]
        self._entries.update({entry.id: entry for entry in known})
        if known:
            self._rebuild()

    def drop(self, image_ids: Sequence[int]) -> None:
        """Forget images, because they were removed; a file with new content is a new image."""
        before = len(self._entries)
        for image_id in image_ids:
            self._entries.pop(image_id, None)
        if len(self._entries) < before:
            self._rebuild()

    def transform(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Raw vectors (n, D) → rows of this geometry (n, d), of unit length."""
        return self.projection.transform(raw)

    def _append(self, geometry: Geometry, entries: Sequence[ImageEntry]) -> None:
        for matrix, held in ((geometry.train, False), (geometry.held, True)):
            some = [entry for entry in entries if (entry.split != "train") == held]
            if some:
                raw = self._read([entry.sha256 for entry in some])
                matrix.append([entry.id for entry in some], geometry.projection.transform(raw))

    def _rebuild(self) -> None:
        self.whole = False
        entries = list(self._entries.values())
        train = [entry.sha256 for entry in entries if entry.split == "train"]
        projection = self.projection
        if train:
            total = np.zeros(self.dim, np.float64)
            for start in range(0, len(train), 8_192):  # in blocks: the raw matrix need not fit twice
                total += self._read(train[start : start + 8_192]).sum(axis=0, dtype=np.float64)
            sample = train if len(train) <= SAMPLE else sorted(random.Random(0).sample(train, SAMPLE))
            projection = fit_projection((total / len(train)).astype(np.float32), self._read(sample))
        width = projection.axes.shape[1]
        anew = Geometry(projection, Matrix(width), Matrix(width))
        for start in range(0, len(entries), 8_192):
            self._append(anew, entries[start : start + 8_192])
        self.geometry, self._mean_count = anew, len(train)
        self.whole = True
