"""The training data of a whole detector: random views of labeled images, new ones at each step.

A view is zoomed, shifted and perhaps mirrored, as for the live detector. A *mosaic* combines four views around a random
point, so that objects appear in more surroundings than there are images. Decoded images are kept as far as memory
allows, at most twice as large as the canvas. Colours are changed later, on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from shared.images.opening import ImageLimits, ImageProblem
from trainer.detection.detector import Example
from trainer.detection.loss import Truth
from trainer.detection.placement import SMALLEST, VISIBLE, Placement, opened

CACHE_BYTES = 2 * 2**30
"""Memory for decoded images. Images beyond it are decoded at each use."""
CENTRE = (0.3, 0.7)
"""Range of the point where the four parts of a mosaic meet, as a share of the canvas's side."""

Canvas = NDArray[np.uint8]
"""(3, S, S)."""
Drawn = tuple[Canvas, NDArray[np.float32], NDArray[np.int64]]
"""A canvas, the corners (n, 4) of the boxes on it, and the columns (n,) of their classes."""


class Album:
    """Draws views of labeled images, and keeps decoded images in memory. `fetch` returns the content of an image by its
    hash and may raise ImageProblem. Thread-safe."""

    def __init__(
        self,
        fetch: Callable[[str], bytes],
        limits: ImageLimits,
        size: int,
        background: tuple[int, int, int],
        columns: Mapping[int, int],
        *,
        most_bytes: int = CACHE_BYTES,
    ) -> None:
        """`columns` maps class ids to outputs of the network. Boxes of other classes are ignored."""
        self.size = size
        self._fetch, self._limits, self._background, self._columns = fetch, limits, background, columns
        self._kept: dict[str, tuple[Image.Image, int, int]] = {}
        self._room = most_bytes
        self._lock = Lock()

    def open(self, sha256: str) -> tuple[Image.Image, int, int]:
        """The decoded image, with the width and height of the upright original. Raises ImageProblem."""
        known = self._kept.get(sha256)
        if known is not None:
            return known
        with opened(self._fetch(sha256), self._limits, self.size) as (image, width, height):
            whole = image.copy()
        whole.thumbnail((2 * self.size, 2 * self.size), Image.Resampling.BILINEAR)
        found, needed = (whole, width, height), 3 * whole.width * whole.height
        with self._lock:
            if needed <= self._room and sha256 not in self._kept:
                self._room -= needed
                self._kept[sha256] = found
        return found

    def plain(self, sha256: str) -> tuple[Canvas, Placement]:
        """The whole image, centred on the canvas. Raises ImageProblem."""
        image, width, height = self.open(sha256)
        placement = Placement.letterbox(width, height, self.size)
        return _array(placement.paint(image, self._background)), placement

    def view(self, example: Example, draws: np.random.Generator, *, flip: bool) -> Drawn:
        """A random view of the image. Raises ImageProblem."""
        image, width, height = self.open(example.sha256)
        placement = Placement.drawn(width, height, self.size, draws)
        placement = placement if flip else replace(placement, mirrored=False)
        corners, visible = placement.onto_canvas(example.boxes)
        visible &= np.array([int(label) in self._columns for label in example.labels], np.bool_)
        columns = np.array([self._columns[int(label)] for label in example.labels[visible]], np.int64)
        return _array(placement.paint(image, self._background)), corners[visible], columns

    def mosaic(self, examples: Sequence[Example], draws: np.random.Generator, *, flip: bool) -> Drawn:
        """Random views of four images around a point. Raises ImageProblem."""
        size = self.size
        x, y = (round(float(each) * size) for each in draws.uniform(*CENTRE, 2))
        canvas = np.empty((3, size, size), np.uint8)
        corners, columns = [], []
        for example, (left, top, right, bottom) in zip(
            examples, ((0, 0, x, y), (x, 0, size, y), (0, y, x, size), (x, y, size, size)), strict=True
        ):
            seen, places, classes = self.view(example, draws, flip=flip)
            canvas[:, top:bottom, left:right] = seen[:, top:bottom, left:right]
            cut = places.copy()
            cut[:, 0::2] = cut[:, 0::2].clip(left, right)
            cut[:, 1::2] = cut[:, 1::2].clip(top, bottom)
            sides, before = cut[:, 2:] - cut[:, :2], places[:, 2:] - places[:, :2]
            kept = (sides.prod(1) >= VISIBLE * before.prod(1)) & (sides.min(1, initial=np.inf) >= SMALLEST)
            corners.append(cut[kept])
            columns.append(classes[kept])
        return canvas, np.concatenate(corners), np.concatenate(columns)

    def draw(self, examples: Sequence[Example], seed: Sequence[int], *, flip: bool) -> Drawn | ImageProblem:
        """A view of one image, or a mosaic of four. The same `seed` gives the same view."""
        draws = np.random.default_rng(seed)
        try:
            if len(examples) == 1:
                return self.view(examples[0], draws, flip=flip)
            return self.mosaic(examples, draws, flip=flip)
        except ImageProblem as problem:
            return problem


def batched(drawn: Sequence[Drawn], device: torch.device) -> tuple[torch.Tensor, list[Truth]]:
    """Canvases (B, 3, S, S) uint8 and their boxes, on the device."""
    canvases = torch.from_numpy(np.stack([each[0] for each in drawn])).to(device)
    counts = [len(columns) for _, _, columns in drawn]
    corners = torch.from_numpy(np.concatenate([each[1] for each in drawn])).to(device)
    columns = torch.from_numpy(np.concatenate([each[2] for each in drawn])).to(device)
    parts = zip(torch.split(corners, counts), torch.split(columns, counts), strict=True)
    return canvases, [Truth(*each) for each in parts]


def recoloured(images: torch.Tensor, most: float, random: torch.Generator) -> torch.Tensor:
    """Change brightness, contrast and saturation of pixel values from 0 to 255 (B, 3, S, S), each by at most the share
    `most`."""
    change = 1 + most * (2 * torch.rand((3, len(images), 1, 1, 1), generator=random) - 1).to(images.device)
    bright = images * change[0]
    grey = bright.mean(dim=1, keepdim=True)
    contrasted = (bright - grey.mean(dim=(2, 3), keepdim=True)) * change[1] + grey.mean(dim=(2, 3), keepdim=True)
    grey = contrasted.mean(dim=1, keepdim=True)
    return ((contrasted - grey) * change[2] + grey).clamp(0, 255)


def _array(canvas: Image.Image) -> Canvas:
    return np.ascontiguousarray(np.asarray(canvas).transpose(2, 0, 1))
