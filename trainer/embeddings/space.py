"""The embedded images as arrays: which row is which image, and the geometry that learners and strategies share.

Rows are centred on the mean of the train images, weighted by their spectrum and scaled to unit length
(`trainer.embeddings.transform`). The head and all distances use this space. It is fixed per *geometry version*. A new
version is computed each time the number of train images has doubled, once when all are embedded, and when images are
removed or change their split. So early questions are possible and late ones are accurate. While a scan brings images
into a large pool, all known ones may be embedded again and again, so the version for late ones waits for a pause. In a
large pool, a few images that change their split only get another row. The old row stays, and the snapshot's splits tell
that it does not count. The row of a removed image stays, too, and is marked (`trainer.columns.id_matrix`), until a
tenth of the images are removed.
When the labels change how much each block of features counts, this makes a new version, too. It has the same `base`:
its directions, and so the map of the pool, stay. Train images and held-out images (validation, test) are in separate
matrices, so that no strategy can see the latter. The pool knows no labels.

Only the loop's thread changes the pool. Any other thread calls `space()` once and reads the result. A new geometry is
built aside and then published by one assignment, so that ids, rows and version of a space always match.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.wire.fields import Split
from shared.wire.images import ImageEntry
from trainer.columns.half_rows import BLOCK, AnyRows, parts
from trainer.columns.hash_index import Hashes, as_text
from trainer.columns.id_index import IdIndex, Ids
from trainer.columns.id_matrix import NONE, IdMatrix
from trainer.columns.images import SPLITS, TRAIN, Images, Splits
from trainer.columns.members import Members
from trainer.columns.spread_rows import Workers
from trainer.embeddings.block_weights import learned_shares, starting_shares
from trainer.embeddings.transform import SAMPLE, Projection, fit_projection, plain, rescaled

Read = Callable[[Sequence[str]], NDArray[np.float32]]
LARGE = 20_000
"""With this many images, a change of split does not always rebuild the geometry. With fewer, a rebuild is quick."""
FEW = 0.01
"""Share of images that may change their split before the geometry is rebuilt, because its mean contains them."""
PAUSE_SECONDS = 5.0
"""Seconds without new images after which the geometry of a large pool takes in those that came late."""
LATE = 0.1
"""Share of images that may come late or be removed before the geometry is rebuilt: the mean of the others is accurate
enough."""
_geometries = count()  # unique across pools, so that nothing fitted in one pool is used in another


@dataclass(frozen=True)
class Rows:
    """An immutable view of a matrix at one moment."""

    ids: Ids  # (N,)
    rows: AnyRows  # (N, D)

    @cached_property
    def row_of(self) -> IdIndex:
        """Image id → row."""
        return IdIndex(self.ids)

    def view(self) -> tuple[Ids, AnyRows]:
        """Ids (N,) and rows (N, D)."""
        return self.ids, self.rows


@dataclass(frozen=True)
class Space:
    """The embeddings at one moment, for readers on other threads than the loop's."""

    version: int
    base: int  # the version when its directions were fitted
    projection: Projection
    train: Rows
    held: Rows
    splits: Splits  # of the rows of `held`
    removals: int = 0  # how often images were removed from this geometry: with `version` and sizes, tells its images

    def split_of(self, image_id: int) -> Split:
        """The split that the image had when it was added."""
        row = self.held.row_of.get(image_id)
        return "train" if row is None else SPLITS[int(self.splits[row])]


@dataclass
class Geometry:
    """A projection and its matrices, which are replaced as a whole."""

    projection: Projection
    train: IdMatrix
    held: IdMatrix
    version: int = field(default_factory=lambda: next(_geometries))  # caches for any other version are stale
    memory: dict[str, Any] = field(default_factory=dict)  # cache of the strategies
    base: int = -1  # the version when its directions were fitted
    kept: dict[str, Any] = field(default_factory=dict)  # cache that survives a change of shares

    def __post_init__(self) -> None:
        """A geometry that is not made from another one is its own base."""
        if self.base < 0:
            self.base = self.version


class ImagePool:
    """Train and held-out embeddings of the images embedded so far."""

    def __init__(
        self,
        dim: int,
        read: Read,
        blocks: Sequence[int] = (),
        folder: Path | None = None,
        workers: Workers | None = None,
    ) -> None:
        """`blocks` are the lengths of the blocks of a raw vector of `dim` values; () for a single block.

        `folder` is for the rows of a large pool; None: in memory. `workers` may have copies of the train rows.
        """
        self.dim = dim
        self._folder = folder
        self._workers = workers
        self._blocks = tuple(blocks) if len(blocks) > 1 else ()
        self.starting_shares: tuple[float, ...] = ()  # of the blocks, before there are labels
        self._learned = False  # whether labels have changed them
        self._looked_at = 0  # number of labels at the last look
        self._read = read  # content hashes → raw vectors (n, D)
        self._images = Members()
        self.geometry = Geometry(plain(np.zeros(dim, np.float32)), IdMatrix(dim), IdMatrix(dim))
        self._changes = 0  # how often rows were removed or moved within the geometry
        self._space: tuple[tuple[int, ...], Space] | None = None  # the last one returned by `space`, and its state
        self._mean_count = 0
        self._grown_at = -math.inf  # when images came last
        self._moved = 0  # images that changed their split since the geometry was computed
        self._removed = 0  # images that were removed since then
        self._removals = 0  # how often images were removed
        self._fitted: Ids = np.empty(0, np.int64)  # images whose vectors its directions come from
        self.complete = False  # every readable image of the catalogue is here
        self.whole = True  # False after a disk error, until every image has its row

    @property
    def version(self) -> int:
        """Version of the geometry."""
        return self.geometry.version

    @property
    def projection(self) -> Projection:
        """The map from raw vectors to rows."""
        return self.geometry.projection

    @property
    def train(self) -> IdMatrix:
        """The train images."""
        return self.geometry.train

    @property
    def held(self) -> IdMatrix:
        """The held-out images."""
        return self.geometry.held

    @property
    def memory(self) -> dict[str, Any]:
        """Cache of the strategies, which lives as long as the geometry."""
        return self.geometry.memory

    @property
    def kept(self) -> dict[str, Any]:
        """Cache of the learners, which lives as long as the directions of the geometry."""
        return self.geometry.kept

    def space(self) -> Space:
        """The embeddings now, as an immutable value. Safe from any thread."""
        changes, now, known = self._changes, self.geometry, self._space  # first, because rows may change meanwhile
        train, held = Rows(*now.train.view()), Rows(*now.held.view())
        state = (changes, now.version, len(train.ids), len(held.ids))
        if known is not None and known[0] == state:
            return known[1]
        splits = self._images.splits_of(held.ids)
        space = Space(now.version, now.base, now.projection, train, held, splits, self._removals)
        self._space = state, space
        return space

    def __contains__(self, image_id: int) -> bool:
        return image_id in self._images.places

    def __len__(self) -> int:
        return len(self._images)

    @property
    def ids(self) -> Ids:
        """All images, train and held-out."""
        return self._images.all().ids

    def has(self, image_ids: Ids) -> NDArray[np.bool_]:
        """Which of these images (n,) are in the pool."""
        return self._images.places.of(image_ids) >= 0

    def lacking(self, known: Callable[[Hashes], NDArray[np.bool_]]) -> Ids:
        """The images whose content hashes (n, 32) are not `known` elsewhere."""
        images = self._images.all()
        return images.ids[~known(images.hashes)]

    def held_splits(self) -> Splits:
        """The split of each row of `held` that it had when it was added."""
        return self._images.splits_of(self.held.ids)

    @property
    def own_features(self) -> int:
        """Number of values of a raw vector that are the network's own features; they come first."""
        return self._blocks[0] if self._blocks else self.dim

    def raw(self, image_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """The raw vectors (n, D) of images of the pool. Raises OSError if they cannot be read."""
        places = self._images.places.of(image_ids)
        if (places < 0).any():
            raise KeyError(int(image_ids[places < 0][0]))
        return self._read(as_text(self._images.hashes.values[places]))

    def changed_since(self, version: int, complete: bool) -> bool:
        """Whether the geometry differs from `version`, or the pool is `complete` and was not then."""
        return self.version != version or (self.complete and not complete)

    def split_of(self, image_id: int) -> Split:
        """The split that the image had when it was added. Raises KeyError for an unknown image."""
        return SPLITS[int(self._images.splits.values[self._images.places[image_id]])]

    def add(self, entries: Sequence[ImageEntry] | Images, *, complete: bool) -> None:
        """Add images that have a vector now. `complete`: no more will follow.

        Raises OSError if their vectors cannot be read. The next call makes up for it, even without images.
        """
        whole, self.whole, self.complete = self.whole, False, complete
        images = entries if isinstance(entries, Images) else Images.of(entries)
        fresh = images[~self.has(images.ids)]
        self._images.append(fresh)
        train = len(self.train.ids) + int((fresh.splits == TRAIN).sum())
        if len(fresh):
            self._grown_at = time.monotonic()
        if train > max(self._enough, 1) or not whole:
            self._rebuild()
        elif len(fresh):
            self._append(self.geometry, fresh)
        self.whole = True

    @property
    def due(self) -> bool:
        """Whether `add` would rebuild the geometry, even without images."""
        return len(self.train.ids) > max(self._enough, 1)

    @property
    def _enough(self) -> float:
        """Number of train images beyond which the geometry is rebuilt."""
        rests = len(self) < LARGE or time.monotonic() - self._grown_at >= PAUSE_SECONDS
        return (1 + LATE if self.complete and rests else 2.0) * self._mean_count

    def move(self, entries: Sequence[ImageEntry] | Images) -> None:
        """Move those of these images that were added with another split into their new one.

        Rebuilds the geometry, except in a large pool if few images have moved and its directions come from none of
        them. Their share of the mean is then less than `FEW`.
        """
        images = entries if isinstance(entries, Images) else Images.of(entries)
        places = self._images.places.of(images.ids)
        known, splits = places >= 0, self._images.splits.values
        moved = known & (splits[places] != images.splits) if len(splits) else known
        if not moved.any():
            return
        splits[places[moved]] = images.splits[moved]
        self._moved += int(moved.sum())
        leaving = images.ids[moved & (images.splits != TRAIN)]
        fitted = bool(np.isin(leaving, self._fitted).any())
        if fitted or len(self) < LARGE or self._moved > len(self) * FEW or not self.whole:
            self._rebuild()
            return
        self.whole = False
        self._append(self.geometry, images[moved])
        self._changes += 1
        self.whole = True

    def drop(self, image_ids: Ids) -> None:
        """Forget removed images. A file with new content is a new image. Rebuilds the geometry, except in a large pool
        in which few images have been removed."""
        removed = len(np.unique(self._images.places.known(image_ids)))
        if not removed:
            return
        self._removed += removed
        self._removals += 1
        left = len(self) - removed
        if left < LARGE or self._removed > LATE * left or not self.whole:
            self._images = self._images.without(image_ids)
            self._rebuild()
            return
        for matrix in (self.train, self.held):  # before the list, which says the split of each row that is shown
            matrix.remove(image_ids)
        self._images.remove(image_ids)
        self._changes += 1

    def learn_shares(self, rows: NDArray[np.int64], targets: NDArray[np.float64]) -> None:
        """Learn how much each block of features counts, from train rows (n,) and their labels (n, C).

        Does so only when the number of labels has changed by a tenth, because it takes up to 0.3 s on busy cores.
        """
        if not self.projection.shares or abs(len(rows) - self._looked_at) < max(5, self._looked_at // 10):
            return
        self._looked_at = len(rows)
        shares = learned_shares(self.train.rows[rows], targets, self.projection, self.starting_shares)
        if shares != self.projection.shares:
            self.reweigh(shares)

    def reweigh(self, shares: Sequence[float]) -> None:
        """Give the blocks other shares of a row. Reads no raw vectors: 0.1 s for 100,000 images."""
        now, factors = self.geometry, self.projection.factors(shares)
        train, held = IdMatrix(len(factors), self._folder, self._workers), IdMatrix(len(factors), self._folder)
        anew = Geometry(now.projection.reweighed(shares), train, held, base=now.base, kept=now.kept)
        for old, new in ((now.train, anew.train), (now.held, anew.held)):
            for start, rows in parts(old.rows):
                new.append(old.ids[start : start + len(rows)], rescaled(rows, factors))
            new.remove(old.ids[old.gone])
        self.geometry, self._learned = anew, True

    def transform(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Raw vectors (n, D) → unit rows (n, d) of this geometry."""
        return self.projection.transform(raw)

    def _append(self, geometry: Geometry, images: Images) -> None:
        for matrix, held in ((geometry.train, False), (geometry.held, True)):
            some = images[(images.splits != TRAIN) == held]
            matrix.bring_back(some.ids)
            some = some[matrix.row_of.of(some.ids) < 0]  # an image that returns to its first split still has its row
            for start in range(0, len(some), BLOCK):
                part = some[start : start + BLOCK]
                matrix.append(part.ids, geometry.projection.transform(self._read(as_text(part.hashes))))

    def _rebuild(self) -> None:
        self.whole = False
        self._images = self._images.without(NONE)  # frees the places of removed ones
        images = self._images.all()
        train, ids = images.hashes[images.splits == TRAIN], images.ids[images.splits == TRAIN]
        projection = self.projection
        if len(train):
            total = np.zeros(self.dim, np.float64)
            for start in range(0, len(train), BLOCK):  # in blocks, to keep only one raw matrix in memory
                total += self._read(as_text(train[start : start + BLOCK])).sum(axis=0, dtype=np.float64)
            some: Sequence[int] = range(len(train))
            if len(train) > SAMPLE:
                some = sorted(random.Random(0).sample(some, SAMPLE))
            ids = ids[np.array(some)]
            vectors = self._read(as_text(train[np.array(some)]))
            self.starting_shares = starting_shares(vectors, self._blocks)
            learned = projection.shares if self._learned else ()  # () too while there were too few images
            shares = learned or self.starting_shares
            projection = fit_projection((total / len(train)).astype(np.float32), vectors, self._blocks, shares)
        width = projection.axes.shape[1]
        train_rows, held_rows = IdMatrix(width, self._folder, self._workers), IdMatrix(width, self._folder)
        anew = Geometry(projection, train_rows, held_rows)
        self._append(anew, images)
        self.geometry, self._mean_count, self._fitted = anew, len(train), ids
        self._moved, self._removed, self.whole = 0, 0, True
