"""The images of a pool as columns. A removed image keeps its place until the columns are made anew."""

from __future__ import annotations

import numpy as np

from trainer.columns.growing import Growing
from trainer.columns.hash_index import HASH_BYTES
from trainer.columns.id_index import IdIndex, Ids
from trainer.columns.images import TRAIN, Images, Splits

EMPTY = np.empty(0, np.uint8)


class Members:
    """The images of a pool, in the order in which they were added."""

    def __init__(self) -> None:
        self._ids = Growing[np.int64](np.int64)
        self.hashes = Growing[np.uint8](np.uint8, HASH_BYTES)
        self.splits = Growing[np.uint8](np.uint8)
        self._gone = Growing[np.bool_](np.bool_)
        self.places = IdIndex()  # of those that are not removed

    def __len__(self) -> int:
        return len(self.places)

    def append(self, images: Images) -> None:
        """Add images that are not here."""
        places = np.arange(len(self._ids), len(self._ids) + len(images))
        self.hashes.append(images.hashes)
        self.splits.append(images.splits)
        self._gone.append(np.zeros(len(images), bool))
        self._ids.append(images.ids)
        self.places.put(images.ids, places)

    def remove(self, image_ids: Ids) -> None:
        """Forget those of these images that are here."""
        places = np.unique(self.places.known(image_ids))
        self._gone.values[places] = True
        self.places.forget(self._ids.values[places])

    def without(self, image_ids: Ids) -> Members:
        """Those that were not removed, except these images."""
        places = self.places.known(image_ids)
        if not len(places) and len(self) == len(self._ids):
            return self
        gone = self._gone.values.copy()
        gone[places] = True
        left = Members()
        left.append(Images(self._ids.values, self.hashes.values, self.splits.values)[~gone])
        return left

    def all(self) -> Images:
        """All of them."""
        images = Images(self._ids.values, self.hashes.values, self.splits.values)
        return images if len(images) == len(self) else images[~self._gone.values]

    def splits_of(self, image_ids: Ids) -> Splits:
        """The splits of images (n,); train for removed ones."""
        places = self.places.of(image_ids)
        return np.where(places >= 0, self.splits.values[places], TRAIN).astype(np.uint8) if len(places) else EMPTY
