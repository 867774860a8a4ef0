"""Images as arrays: the fields that a step needs for thousands of images at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, get_args

import numpy as np
from numpy.typing import NDArray

from shared.wire.fields import Split
from shared.wire.images import ImageEntry
from trainer.columns.hash_index import Hashes, as_hashes
from trainer.columns.id_index import Ids

SPLITS: tuple[Split, ...] = get_args(Split)
NUMBER_OF: dict[Split, int] = {split: number for number, split in enumerate(SPLITS)}
TRAIN = NUMBER_OF["train"]
TEST = NUMBER_OF["test"]
Splits = NDArray[np.uint8]
"""Splits as positions in SPLITS."""


@dataclass(frozen=True)
class Images:
    """Images (n,) with their content hashes (n, 32) and splits (n,)."""

    ids: Ids
    hashes: Hashes
    splits: Splits

    @classmethod
    def of(cls, entries: Sequence[ImageEntry]) -> Self:
        """Entries of the catalogue as arrays."""
        return cls(
            np.array([entry.id for entry in entries], np.int64),
            as_hashes([entry.sha256 for entry in entries]),
            np.array([NUMBER_OF[entry.split] for entry in entries], np.uint8),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, which: Any) -> Images:
        """Some of the images, by a mask, a slice or their positions."""
        return Images(self.ids[which], self.hashes[which], self.splits[which])
