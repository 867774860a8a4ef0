"""Brings images from the catalogue into the embedding store and the pool.

Images that are not embedded yet are pending and are embedded in short batches, so that a fit never waits long. Only the
loop's thread uses it; other threads read `pool.space()` and `coming`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import chain, islice

from shared.wire.images import ImageEntry
from trainer.embeddings.embedder import Embedder
from trainer.embeddings.space import ImagePool
from trainer.sync.publisher import CatalogFollower
from trainer.sync.replica import Replica

RETRY_SECONDS = 30.0  # until unreadable images are tried again


class Ingest:
    """The pool of embedded images and the list of pending ones, in step with the catalogue in `replica`."""

    def __init__(self, replica: Replica, embedder: Embedder, catalog: CatalogFollower, batch_size: int) -> None:
        self._replica = replica
        self.embedder = embedder
        self._catalog = catalog
        self._batch_size = batch_size
        self._seen = -1  # version of the catalogue
        self._last_retry = time.monotonic()
        self.pool: ImagePool | None = None  # None until there is a backbone
        self.pending: dict[int, ImageEntry] = {}  # to be embedded, in this order

    def look_again(self) -> None:
        """Force a re-read of the catalogue, for example after a changed split. From any thread."""
        self._seen = -1

    def start_over(self) -> None:
        """Start again, because ids mean other images now. Vectors stay, because they are keyed by content."""
        self.pool = None
        self._seen = -1
        self._catalog.restart()

    def refresh(self) -> None:
        """Bring the pool and the pending images up to date with the catalogue."""
        if time.monotonic() - self._last_retry > RETRY_SECONDS and self.embedder.problems:
            self._last_retry = time.monotonic()
            self.embedder.retry()
            self._seen = -1
        if self._seen == self._replica.catalog_after and (self.pool is None or self.pool.whole):
            return
        entries = self._catalogued()
        self._open_pool()
        if self.pool is not None:
            self.pool.move(self.pool.outdated(entries))
            entries = [entry for entry in entries if entry.id not in self.pool]
        # By content hash: a prefix of a random order covers the pool, a prefix of the folder's order only some
        # sub-folders.
        entries.sort(key=lambda entry: entry.sha256)
        self.pending = {entry.id: entry for entry in entries if entry.id not in self.embedder.problems}
        if self.pool is not None:  # after a restart nearly all are embedded already
            self._take_in([entry for entry in entries if self.embedder.has(entry.sha256)])

    def embed(self) -> bool:
        """Embed one batch, labeled images first. Returns whether anything could be embedded."""
        pending = self.pending
        with self._replica.lock:
            labeled = [pending[image_id] for image_id in self._replica.fold.labels if image_id in pending]
        # Until `pixels` is fitted, the embedder must see all pending images.
        look = 4 * self._batch_size if self.embedder.backbone is not None else None
        first = {entry.id: entry for entry in islice(chain(labeled, pending.values()), look)}
        done = self.embedder.step(list(first.values()), more_coming=not self._catalog.complete.is_set())
        self._open_pool()
        for image_id in self.embedder.problems:
            pending.pop(image_id, None)
        self._take_in(done)
        return bool(done)

    def coming(self, images: Iterable[int]) -> int:
        """How many of these images have no vector yet and will have one. From any thread."""
        pool, pending, listed = self.pool, self.pending, self._catalog.complete.is_set()
        return sum(each in pending or not (listed or (pool is not None and each in pool)) for each in images)

    def complete(self) -> bool:
        """Whether the catalogue was read completely and all readable images are embedded."""
        return not self.pending and self._catalog.complete.is_set()

    def _catalogued(self) -> list[ImageEntry]:
        """Images in the catalogue, with the splits that the log gives them."""
        with self._replica.lock:
            self._seen = self._replica.catalog_after
            splits = self._replica.fold.splits
            return [
                entry.model_copy(update={"split": splits[entry.id]}) if entry.id in splits else entry
                for entry in self._replica.catalog.values()
                if not entry.removed
            ]

    def _open_pool(self) -> None:
        if self.pool is None and self.embedder.backbone is not None:
            self.pool = ImagePool(self.embedder.dim, self.embedder.read, self.embedder.blocks)

    def _take_in(self, entries: list[ImageEntry]) -> None:
        for entry in entries:
            self.pending.pop(entry.id, None)
        if self.pool is not None:
            self.pool.add(entries, complete=self.complete())
