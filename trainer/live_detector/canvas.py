"""Chooses the size of the canvas, onto which the detector scales each image: small objects need a larger one.

The finest feature maps have one cell per 8 pixels of the canvas, so objects of few pixels fall between the cells. On
the larger canvas they have more pixels, and each image takes 2.6 times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from shared.tasks.detection import Boxes

USUAL = 320
"""Side of the canvas in pixels."""
LARGE = 512
"""Side of the canvas for small objects."""
SMALL = 0.125
"""Objects are small if the median of their sides is below this share of the longer side of their image."""
MEASURED = 10
"""Maximum number of images whose objects are measured."""


def canvas_for(lessons: Mapping[int, Boxes], sizes: Callable[[Sequence[int]], Mapping[int, tuple[int, int]]]) -> int:
    """The side of the canvas for the objects in `lessons`, a few of which are measured. `sizes` reads the width and
    height of images, in pixels.
    """
    drawn = sorted(image_id for image_id, boxes in lessons.items() if len(boxes))
    measured = sizes(drawn[:: -(-len(drawn) // MEASURED) or 1])
    # A side is that of a square with the area of the box, as a share of the longer side of the image.
    sides = [(box.w * box.h) ** 0.5 / max(size) for each, size in measured.items() for box in lessons[each].boxes]
    return LARGE if sides and median(sides) < SMALL else USUAL
