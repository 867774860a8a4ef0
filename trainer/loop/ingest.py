"""Brings images from the catalogue into the embedding store and the pool.

Images without a vector are pending. They are embedded in short batches, so that a fit never waits long. Only changes of
the catalogue are processed, so a page of it costs the same in a large pool as in a small one. Only the loop's thread
uses this module; other threads read `pool.space()` and `coming`.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable

import numpy as np

from trainer.columns.embedding_order import EmbeddingOrder
from trainer.columns.id_index import Ids, as_ids
from trainer.columns.images import NUMBER_OF, Images
from trainer.embeddings.embedder import Embedder
from trainer.embeddings.space import ImagePool
from trainer.sync.catalog import Catalog
from trainer.sync.publisher import CatalogFollower
from trainer.sync.replica import Replica

RETRY_SECONDS = 30.0  # until unreadable images are tried again


class Ingest:
    """The pool of embedded images and the list of pending ones, in step with the catalogue in `replica`."""

    def __init__(self, replica: Replica, embedder: Embedder, catalog: CatalogFollower) -> None:
        self._replica = replica
        self.embedder = embedder
        self._catalog = catalog
        self._followed: Catalog | None = None  # whose changes were followed,
        self._changes = 0  # how many of them were processed
        self._again: set[int] = set()  # images to check again
        self._last_retry = time.monotonic()
        self.pool: ImagePool | None = None  # None until there is a backbone
        self.pending = EmbeddingOrder()  # to be embedded

    def look_again(self, image_ids: Collection[int] | None = None) -> None:
        """Check again the images whose split the log changed, or all images. Thread-safe."""
        with self._replica.lock:
            if image_ids is None:
                self._changes = 0
            else:
                self._again.update(image_ids)

    def start_over(self) -> None:
        """Start over, because ids now belong to other images. Vectors stay, because they are keyed by content."""
        self.pool, self._followed = None, None
        self._catalog.restart()

    def refresh(self) -> None:
        """Bring the pool and the pending images up to date with what changed in the catalogue."""
        if time.monotonic() - self._last_retry > RETRY_SECONDS and self.embedder.problems:
            self._last_retry = time.monotonic()
            self.look_again(list(self.embedder.problems))
            self.embedder.retry()
        changed, gone = self._news()
        try:
            self._bring_in(changed, gone)
        except Exception:
            self._followed = None  # check everything again, because changes are reported only once
            raise

    def _bring_in(self, changed: Images, gone: Ids) -> None:
        opened, pool = self._open_pool(), self.pool
        if not len(changed) and not len(gone) and not opened and (pool is None or self._settled(pool)):
            return
        self.pending.discard(gone)
        if pool is not None:
            pool.drop(gone)
            pool.move(changed)
            changed = changed[~pool.has(changed.ids)]
        self.pending.add(changed[[image_id not in self.embedder.problems for image_id in changed.ids.tolist()]])
        if pool is not None:  # after a restart nearly all are embedded already
            waiting = self._images(self.pending.all()) if opened else changed
            self._take_in(waiting[self.embedder.known(waiting.hashes)])

    def embed(self) -> bool:
        """Embed one batch. Returns whether anything could be embedded."""
        with self._replica.lock:
            labeled = as_ids(self._replica.fold.labels)
        pool = self.pool
        first = self.pending.first(
            self.embedder.appetite,
            labeled,
            embedded=len(pool.train.ids) if pool is not None else 0,
            measured=pool is not None and len(pool.held.row_of.known(labeled)) > 0,
        )
        entries = self._replica.images(first.tolist())
        done = self.embedder.step(entries, more_coming=not self._catalog.complete.is_set())
        if self._open_pool():
            self.look_again()  # others of the pending images may have a vector, too
        problems = self.embedder.problems
        self.pending.discard(np.array([entry.id for entry in entries if entry.id in problems], np.int64))
        self._take_in(Images.of(done))
        return bool(done)

    def coming(self, images: Iterable[int]) -> int:
        """How many of these images have no vector yet and will have one. From any thread."""
        pool, pending, listed = self.pool, self.pending, self._catalog.complete.is_set()
        return sum(each in pending or not (listed or (pool is not None and each in pool)) for each in images)

    def complete(self) -> bool:
        """Whether the catalogue was read completely and all readable images are embedded."""
        return not self.pending and self._catalog.complete.is_set()

    def _news(self) -> tuple[Images, Ids]:
        """The images that changed since the last look, with the splits that the log gives them, and those that are
        gone."""
        with self._replica.lock:
            catalog = self._replica.catalog
            left = np.empty(0, np.int64)
            if catalog is not self._followed:  # ids may now belong to other images
                self._followed, self._changes, self.pending = catalog, 0, EmbeddingOrder()
                if self.pool is not None:
                    known = self.pool.ids
                    left = known[catalog.places.of(known) < 0]
            places, self._changes = catalog.changes(self._changes)
            places = np.unique(np.concatenate([places, catalog.places.known(as_ids(self._again))]))
            self._again.clear()
            ids, removed = catalog.ids[places], self._replica.removed()
            gone = np.array([image_id in removed for image_id in ids.tolist()], bool)
            return self._images(ids[~gone]), np.concatenate([ids[gone], left])

    def _images(self, image_ids: Ids) -> Images:
        """Images of the catalogue with the splits that the log gives them."""
        with self._replica.lock:
            catalog, moved = self._replica.catalog, self._replica.fold.splits
            places = catalog.places.of(image_ids)
            splits = catalog.splits[places]
            if moved:
                now = (moved.get(image_id) for image_id in image_ids.tolist())
                for place, split in enumerate(now):
                    if split is not None:
                        splits[place] = NUMBER_OF[split]
            return Images(image_ids, catalog.hashes[places], splits)

    def _open_pool(self) -> bool:
        """Open the pool if there is a backbone now; returns whether it was opened."""
        if self.pool is not None or self.embedder.backbone is None:
            return False
        engine, folder = self.embedder.engine, self._replica.folder
        workers = engine if engine.spreads else None
        self.pool = ImagePool(self.embedder.dim, self.embedder.read, self.embedder.blocks, folder, workers)
        return True

    def _settled(self, pool: ImagePool) -> bool:
        return pool.whole and pool.complete == self.complete() and not pool.due

    def _take_in(self, images: Images) -> None:
        self.pending.discard(images.ids)
        if self.pool is not None:
            self.pool.add(images, complete=self.complete())
