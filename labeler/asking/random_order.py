"""Iterates over open images in the order of their hashes.

The list is sorted at the next iteration, not at each insertion: during a scan, images come in batches, and sorting an
almost sorted list of 100,000 takes about 5 ms per batch.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice

Key = tuple[float, int]
"""Sort key of `LabelingQueue.ranked`: (minus the list's version, position in it), or (hash, id)."""
FIRST: Key = (-math.inf, 0)
BEHIND_LISTS: Key = (-0.5, 0)


class HashOrder:
    """Image ids by place. Finished images stay in the list until they are the majority; then they are removed."""

    def __init__(self) -> None:
        self._places: dict[int, float] = {}
        self._listed: list[tuple[float, int]] = []
        self._in_list: set[int] = set()
        self._open: set[int] = set()
        self._sorted = True
        self._moved = False  # whether a listed image has another place now

    def add(self, image_id: int, place: float) -> None:
        """Set or change the image's place. Iteration includes the image once it is open."""
        self._moved |= image_id in self._in_list and self._places[image_id] != place
        self._places[image_id] = place

    def open(self, image_id: int) -> None:
        """Include the image in iteration."""
        place = self._places.get(image_id)
        if place is None or image_id in self._open:
            return
        self._open.add(image_id)
        if image_id not in self._in_list:
            self._in_list.add(image_id)
            self._listed.append((place, image_id))
            self._sorted = False

    def close(self, image_id: int) -> None:
        """Exclude the image from iteration."""
        self._open.discard(image_id)

    def __contains__(self, image_id: int) -> bool:
        return image_id in self._open

    def __len__(self) -> int:
        return len(self._open)

    def after(self, key: Key, count: int) -> list[tuple[float, int]]:
        """The next `count` open images behind `key`, each with its place. Continue with the key of the last one."""
        self._put_in_order()
        start = bisect_right(self._listed, key)
        return list(islice((entry for entry in islice(self._listed, start, None) if entry[1] in self._open), count))

    def __iter__(self) -> Iterator[int]:
        self._put_in_order()
        return (image_id for _, image_id in self._listed if image_id in self._open)

    def _put_in_order(self) -> None:
        if len(self._listed) > 2 * len(self._open) + 100:
            self._listed = [entry for entry in self._listed if entry[1] in self._open]
            self._in_list = {image_id for _, image_id in self._listed}
        if self._moved:
            self._listed = [(self._places[image_id], image_id) for image_id in self._in_list]
            self._sorted = self._moved = False
        if not self._sorted:
            self._listed.sort()
            self._sorted = True
