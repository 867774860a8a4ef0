"""How the content of an image file becomes a network's input: one definition for everything that runs a network.

Embedding, training, comparing, predicting (catalogued images and uploads) and the exports all use `read`, because small
differences matter. The accuracy of one version on the same 87 photos varied from 48 to 56 % while one path decoded a
JPEG in full, another at the scale nearest to its own input size, and a third at that of the larger of two networks.

1. Decode. A JPEG is decoded at 1/2, 1/4 or 1/8 of its size: the smallest of these (or full size) whose short side
   is at least REDUCED times the input size (Pillow's `draft`). Everything else is decoded in full.
2. Rotate as its EXIF orientation says, put a transparent image on white, and convert to RGB of 8 bits per channel.
   Deeper images are reduced to 8 bits; the brightest channel shows how many bits are in use.
3. `middle square`: crop the middle square and resize it with Pillow's bicubic filter, which is antialiased.
   `squeezed`: resize the whole image to a square with the bilinear filter.

Twice the input size saves time and hardly differs from full size: a photo of 12 megapixels for 192 pixels took 118 ms
instead of 379 and differed by 0.25 of 255 grey levels on average, 2 at most. Decoded at the input size itself, it
differed by 1.1 and 6, and was no quicker. `docs/files/run_export.py` does the same without Flywheel, except for 16-bit
colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from shared.images.opening import ImageLimits, hold_rgb
from shared.wire.models import ModelInput, Preparation

PREPROCESSING = 2
"""Version of this definition. It is part of an embedding's key, so that a new version makes new embeddings."""
REDUCED = 2
"""Minimum scale at which a JPEG is decoded, as a multiple of the input size."""

Inputs = NDArray[Any] | Sequence[NDArray[Any]]
"""Images (B, 3, S, S), or B of them (3, S, S)."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """The preprocessing for one network. Thread-safe."""

    size: int  # pixels per side of the input
    way: Preparation = "middle square"

    @classmethod
    def of(cls, needs: ModelInput) -> Preprocessing:
        """The preprocessing that a version needs."""
        return cls(needs.size, needs.preparation)

    @property
    def decoded_at_least(self) -> int:
        """Minimum short side in pixels at which a JPEG is decoded."""
        return REDUCED * self.size

    def read(self, data: bytes, limits: ImageLimits) -> NDArray[np.uint8]:
        """The content of an image file as (3, S, S) uint8. Raises ImageProblem."""
        with hold_rgb(data, limits, at_least=self.decoded_at_least) as image:
            return self.cut(image)

    def cut(self, image: Image.Image) -> NDArray[np.uint8]:
        """An upright RGB image as (3, S, S) uint8: step 3 alone."""
        if self.way == "letterbox":
            raise ValueError("a letterbox is painted by trainer.detection.placement, because boxes must find back")
        square = (self.size, self.size)
        if self.way == "squeezed":
            image = image.resize(square, Image.Resampling.BILINEAR)
        elif image.size != square:
            image = ImageOps.fit(image, square, Image.Resampling.BICUBIC)
        return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def model_input(preprocessing: Preprocessing, mean: Sequence[float], std: Sequence[float]) -> ModelInput:
    """The preprocessing as recorded in a version."""
    return ModelInput(
        preprocessing=PREPROCESSING,
        size=preprocessing.size,
        preparation=preprocessing.way,
        mean=list(mean),
        std=list(std),
    )


def in_words(preprocessing: Preprocessing) -> str:
    """The preprocessing in one sentence per step, for a model card."""
    size, least = preprocessing.size, preprocessing.decoded_at_least
    if preprocessing.way == "letterbox":
        return (
            f"Decode a JPEG at 1/2, 1/4 or 1/8 of its size if that leaves a long side of {least} pixels or more. Turn "
            "it upright as EXIF says, lay transparency on white, make it RGB; scale all of it with Pillow's bilinear "
            f"filter, until its long side has {size} pixels, and lay it in the middle of a square of {size} × {size} "
            "pixels that has the colour of the mean."
        )
    square = f"to {size} × {size} pixels with Pillow's"
    whole, middle = f"scale all of it {square} bilinear filter", f"scale its middle square {square} bicubic filter"
    return (
        f"Decode a JPEG with a short side of {2 * least} pixels or more at 1/2, 1/4 or 1/8 of its size, the smallest "
        f"that leaves {least} (`Image.draft(None, ({least}, {least}))`), anything else in full. Turn it upright as "
        "EXIF says, lay transparency on white, make it RGB; "
        + (f"{whole} (`Image.resize`)." if preprocessing.way == "squeezed" else f"{middle} (`ImageOps.fit`).")
    )
