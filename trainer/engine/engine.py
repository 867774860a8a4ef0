"""The interface of an engine, which embeds images and computes over many rows in place of this process.

An engine never blocks labeling. If its workers are not available, it returns None, and the trainer does the work itself
with the same functions. So the results do not depend on the engine; only the speed does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.wire.images import ImageEntry
from trainer.columns.spread_rows import Function, Ids, SpreadRows
from trainer.embeddings.backbones.backbone import Backbone

Matrix = NDArray[np.float32]


@dataclass
class Embedded:
    """Images with their vectors (n, dim), in the same order, and the ids of images that this process must embed."""

    vectors: Matrix
    entries: list[ImageEntry] = field(default_factory=list)
    here: set[int] = field(default_factory=set)


class Engine(Protocol):
    """Workers for the trainer. `over` and `embed` may be called from any thread, and take finite time."""

    spreads: bool
    """Whether workers keep copies of the rows of the pool."""

    @property
    def problem(self) -> str | None:
        """Why the workers are not used now, as a sentence for a person."""

    @property
    def room(self) -> int:
        """Number of images that the workers can hold at once; 0: images are embedded here."""

    def over(self, rows: SpreadRows, function: Function, which: Ids) -> Matrix | None:
        """See `trainer.columns.spread_rows.Workers`."""

    def embed(self, backbone: Backbone, entries: Sequence[ImageEntry]) -> Embedded | None:
        """Hand out the first of `entries`, and return what has been embedded meanwhile; None: embed them here."""

    def start(self) -> None:
        """Start to look for workers; returns at once."""

    def close(self) -> None:
        """Release the workers."""


class LocalEngine:
    """This process alone, without workers."""

    spreads = False
    problem: str | None = None
    room = 0

    def over(self, rows: SpreadRows, function: Function, which: Ids) -> Matrix | None:
        """None: everything is computed here."""
        return None

    def embed(self, backbone: Backbone, entries: Sequence[ImageEntry]) -> Embedded | None:
        """None: all images are embedded here."""
        return None

    def start(self) -> None:
        """Do nothing: there are no workers."""

    def close(self) -> None:
        """Do nothing: there are no workers."""
