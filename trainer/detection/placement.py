"""Places an image on the detector's canvas, a square of S × S pixels, and converts boxes in both directions.

Boxes of people and of the API are in pixels of the upright original. A large JPEG is decoded at reduced scale, so the
decoded picture can be smaller than the original; only its proportions matter here. The whole image is scaled to fit the
canvas and centred (a letterbox). A *view* is zoomed, shifted and perhaps mirrored; the part outside the canvas is cut
off.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.images.opening import ImageLimits, dimensions, hold_rgb

ZOOM = 1.6
"""Maximum factor by which a view is enlarged or reduced."""
VISIBLE = 0.35
"""Minimum share of a box on the canvas for the view to include the box."""
SMALLEST = 2.0
"""Minimum side of a box in pixels of the canvas. The network cannot learn smaller ones."""

Boxes = NDArray[np.float32]
"""(n, 4): x, y of the top left corner, width, height."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Canvas = original · `scale` + (`left`, `top`), then mirrored on the canvas if `mirrored`. `size`: S."""

    width: int  # of the upright original
    height: int
    size: int
    scale: float
    left: float
    top: float
    mirrored: bool = False

    @classmethod
    def letterbox(cls, width: int, height: int, size: int) -> Placement:
        """The whole image in the middle of the canvas."""
        scale = size / max(width, height)
        return cls(width, height, size, scale, (size - width * scale) / 2, (size - height * scale) / 2)

    @classmethod
    def drawn(cls, width: int, height: int, size: int, draws: np.random.Generator) -> Placement:
        """A random view."""
        whole = cls.letterbox(width, height, size)
        scale = whole.scale * float(np.exp(draws.uniform(-np.log(ZOOM), np.log(ZOOM))))
        spans = []
        for side in (width * scale, height * scale):
            room = size - side  # negative if the image is larger than the canvas
            low, high = min(0.0, room), max(0.0, room)
            spans.append(float(draws.uniform(low, high)))
        return cls(width, height, size, scale, spans[0], spans[1], bool(draws.random() < 0.5))

    def numbers(self) -> list[float]:
        """The placement as numbers, to store in a file."""
        return [self.width, self.height, self.size, self.scale, self.left, self.top, float(self.mirrored)]

    @classmethod
    def of_numbers(cls, numbers: NDArray[np.float64]) -> Placement:
        """The placement that `numbers` describes."""
        width, height, size, scale, left, top, mirrored = (float(each) for each in numbers)
        return cls(int(width), int(height), int(size), scale, left, top, bool(mirrored))

    def onto_canvas(self, boxes: Boxes) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Convert boxes to corners (n, 4) on the canvas, clipped to it. Also return which of them are visible
        enough.
        """
        corners = np.empty((len(boxes), 4), np.float64)
        corners[:, 0::2] = np.stack([boxes[:, 0], boxes[:, 0] + boxes[:, 2]], 1) * self.scale + self.left
        corners[:, 1::2] = np.stack([boxes[:, 1], boxes[:, 1] + boxes[:, 3]], 1) * self.scale + self.top
        if self.mirrored:
            corners[:, [0, 2]] = self.size - corners[:, [2, 0]]
        whole = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
        cut = corners.clip(0, self.size)
        sides = cut[:, 2:] - cut[:, :2]
        visible = (sides.prod(1) >= VISIBLE * whole) & (sides.min(1, initial=np.inf) >= SMALLEST)
        return cut.astype(np.float32), visible

    def onto_original(self, corners: NDArray[np.float32]) -> Boxes:
        """Convert corners (n, 4) on the canvas to boxes of the original, clipped to it."""
        found = corners.astype(np.float64)
        if self.mirrored:
            found[:, [0, 2]] = self.size - found[:, [2, 0]]
        found[:, 0::2] = ((found[:, 0::2] - self.left) / self.scale).clip(0, self.width)
        found[:, 1::2] = ((found[:, 1::2] - self.top) / self.scale).clip(0, self.height)
        found[:, 2:] -= found[:, :2]
        return found.astype(np.float32)

    def paint(self, image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
        """Draw `image` on the canvas. It is the whole original at any resolution."""
        canvas = Image.new("RGB", (self.size, self.size), background)
        across, down = self.width / image.width, self.height / image.height  # original pixels per decoded pixel
        left, top = max(round(self.left), 0), max(round(self.top), 0)
        right = min(round(self.left + self.width * self.scale), self.size)
        bottom = min(round(self.top + self.height * self.scale), self.size)
        if right > left and bottom > top:
            source = (
                max((left - self.left) / self.scale / across, 0.0),
                max((top - self.top) / self.scale / down, 0.0),
                min((right - self.left) / self.scale / across, float(image.width)),
                min((bottom - self.top) / self.scale / down, float(image.height)),
            )
            part = image.resize((right - left, bottom - top), Image.Resampling.BILINEAR, box=source)
            canvas.paste(part, (left, top))
        return canvas.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if self.mirrored else canvas


@contextmanager
def opened(data: bytes, limits: ImageLimits, size: int) -> Iterator[tuple[Image.Image, int, int]]:
    """Yield the decoded image, upright and in RGB, with the width and height of the upright original.

    A JPEG is decoded at reduced scale, but its long side is at least twice the canvas, so that a zoomed view stays
    sharp. Raises ImageProblem.
    """
    width, height = dimensions(data, limits)
    least = max(round(2 * size * min(width, height) / max(width, height, 1)), 1)
    with hold_rgb(data, limits, at_least=least) as image:
        turned = abs(image.width * width - image.height * height) < abs(image.width * height - image.height * width)
        yield (image, height, width) if turned else (image, width, height)
