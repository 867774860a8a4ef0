"""Boxes with classes: the objects in an image, as an answer stores them.

Places are pixels of the upright original: after EXIF rotation, before any downscaling.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, get_args

from shared.wire.fields import MOST_BOXES, BoxOrigin

SLACK: Final = 1.0
"""Maximum number of pixels by which a box may exceed the image, because tools round. It is then clipped."""
LARGEST_PLACE: Final = 1_000_000
"""Maximum width and height of an image, in pixels."""
SAME_OBJECT: Final = 0.5
"""Minimum intersection over union (IoU) of two boxes of the same object."""
STEPS: Final = 100
"""Coordinates are stored in hundredths of a pixel."""

Origin = BoxOrigin
ORIGINS: Final[tuple[Origin, ...]] = get_args(Origin)


class Box(NamedTuple):
    """One object: its class id, the top left corner, width and height in pixels of the upright original."""

    label: int
    x: float
    y: float
    w: float
    h: float
    origin: Origin = "drawn"


class Boxes:
    """The objects in an image. Hashable and immutable.

    A log holds many boxes, so they are packed: 21 bytes per box instead of about 250.
    """

    __slots__ = ("_packed",)

    def __init__(self, boxes: Iterable[Box] = ()) -> None:
        """Coordinates are rounded to 0.01 pixel. Raises ValueError for an invalid box; the message is part of a
        sentence.
        """
        given = list(boxes)
        if len(given) > MOST_BOXES:
            raise ValueError(f"it has {len(given):,} boxes, and an image may have at most {MOST_BOXES:,}")
        labels, places, origins = array("i"), array("i"), bytearray()
        for number, box in enumerate(given, 1):
            labels.append(box.label)
            places.extend(_in_steps(number, box))
            origins.append(ORIGINS.index(box.origin))
        self._packed = labels.tobytes() + places.tobytes() + bytes(origins)

    def __len__(self) -> int:
        return len(self._packed) // 21

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The boxes in the order in which they were given."""
        places, origins = iter([each / STEPS for each in self.steps]), self._packed[20 * len(self) :]
        rows = zip(self.labels, places, places, places, places, origins, strict=False)
        return tuple(Box(label, x, y, w, h, ORIGINS[origin]) for label, x, y, w, h, origin in rows)

    @property
    def labels(self) -> memoryview[int]:
        """The class id of each box."""
        return memoryview(self._packed)[: 4 * len(self)].cast("i")

    @property
    def steps(self) -> memoryview[int]:
        """x, y, w, h of each box in hundredths of a pixel, one after the other."""
        return memoryview(self._packed)[4 * len(self) : 20 * len(self)].cast("i")

    def relabeled(self, now: Mapping[int, int | None]) -> Boxes:
        """Replace class ids as `now` maps them. Boxes of classes that map to None are left out."""
        kept = [k for k, label in enumerate(self.labels) if now[label] is not None]
        labels = array("i", (found for label in self.labels if (found := now[label]) is not None))
        places, origins = self._packed[4 * len(self) : 20 * len(self)], self._packed[20 * len(self) :]
        if len(kept) < len(self):
            places = b"".join(places[16 * k : 16 * k + 16] for k in kept)
            origins = bytes(origins[k] for k in kept)
        made = Boxes()
        made._packed = labels.tobytes() + places + origins
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Boxes) and self._packed == other._packed

    def __hash__(self) -> int:
        return hash(self._packed)

    def __repr__(self) -> str:
        return f"Boxes({list(self.boxes)})"


def _in_steps(number: int, box: Box) -> tuple[int, int, int, int]:
    if not all(math.isfinite(each) for each in box[1:5]):
        raise ValueError(f"box {number} has a place that is no finite number")
    if max(map(abs, box[1:5])) > LARGEST_PLACE:
        raise ValueError(f"box {number} reaches outside the image")
    x, y, w, h = (round(each * STEPS) for each in box[1:5])
    if w < STEPS or h < STEPS:
        raise ValueError(f"box {number} is smaller than 1 pixel")
    return x, y, w, h
