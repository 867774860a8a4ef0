"""The kernel between all rows of a pool and a head's landmarks, kept from round to round.

Most of what a round costs a pool of thousands of images is this kernel. Yet a batch of ten labels changes ten of its
hundreds of landmarks: pupils of a teacher stay, and so do earlier labels. A landmark is known by the content of its
row, so that nobody has to say which ones are new. The probabilities equal the head's own up to rounding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.columns.half_rows import AnyRows, parts
from trainer.learners.kernel_head import Fitted, Matrix, kernel
from trainer.threads import one_thread

MOST = 16_000_000
"""Maximum number of values that are kept, rows × landmarks: 64 MB, as much as the distances of the subsample."""
MOST_ROWS = 50_000
"""Larger pools are scored in part, or by workers."""
UNUSED = 2
"""Others than the head's landmarks are dropped when they are this many times as many."""


class KeptKernels:
    """The kernels of some landmarks with `rows` (N, D), which do not change."""

    def __init__(self, rows: AnyRows) -> None:
        self._rows = rows
        self._values = np.empty((0, len(rows)), np.float32)  # (capacity, N), one row for each landmark
        self._places: dict[bytes, int] = {}  # content of a landmark → its row of `_values`

    @staticmethod
    def suit(rows: int, landmarks: int) -> bool:
        """Whether the kernels of so many landmarks are few enough to be kept."""
        return rows <= MOST_ROWS and rows * landmarks <= MOST

    def probabilities(self, head: Fitted) -> Matrix:
        """Probabilities (N, K) of all rows."""
        with one_thread():
            places = self._places_of(head.landmarks)
            weights = np.zeros((len(self._places), len(head.bias)), np.float32)
            np.add.at(weights, places, head.weights)  # copies of an image are one landmark
            logits = weights.T @ self._values[: len(weights)]  # (K, N)
            logits += head.bias[:, None]
            return head.from_logits(np.ascontiguousarray(logits.T))

    def _places_of(self, landmarks: Matrix) -> NDArray[np.int64]:
        keys = [landmark.tobytes() for landmark in landmarks]
        wanted = {key: place for place, key in enumerate(keys)}
        new = [key for key in wanted if key not in self._places]
        self._make_room(wanted, len(new))
        added = landmarks[[wanted[key] for key in new]]
        first = len(self._places)
        if new:
            for start, some in parts(self._rows):
                self._values[first : first + len(new), start : start + len(some)] = kernel(added, some)
        # They are known from here on: had an error ended the computation, the next round would read what is not there.
        self._places.update((key, first + place) for place, key in enumerate(new))
        return np.array([self._places[key] for key in keys], np.int64)

    def _make_room(self, wanted: dict[bytes, int], new: int) -> None:
        """Drop what is not wanted if it is much or there is no room, and grow."""
        kept = [key for key in self._places if key in wanted]
        unused = len(self._places) - len(kept)
        if unused > UNUSED * len(wanted) or not self.suit(len(self._rows), len(self._places) + new):
            for place, key in enumerate(kept):  # they are in ascending order, so that none is overwritten too early
                self._values[place] = self._values[self._places[key]]
            self._places = {key: place for place, key in enumerate(kept)}
        needed = len(self._places) + new
        if needed > len(self._values):
            grown = np.empty((needed + needed // 4, len(self._rows)), np.float32)
            grown[: len(self._places)] = self._values[: len(self._places)]
            self._values = grown
