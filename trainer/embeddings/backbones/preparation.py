"""How the content of an image file becomes a network's input: the one definition, for everything that runs a network.

Embedding, training, comparing, predicting (catalogued images and uploads) and the exports all go through `read`: two
ways that look alike are not alike. One version was right on 48 to 56 % of the same 87 photos while one path decoded a
JPEG in full, another at the scale nearest to its own input size, and a third at that of the larger of two networks.

1. Decode. A JPEG is decoded at a half, a quarter or an eighth of its size, the smallest of these (or the whole) whose
   short side is at least REDUCED times the input's (Pillow's `draft`); everything else in full.
2. Turn it upright as its EXIF orientation says, lay transparency on white, and make it RGB of 8 bits a channel. Of more
   bits, those in use go down to 8: the brightest channel says how many there are.
3. `middle square`: cut the middle square, scale it to the input with Pillow's bicubic filter, which is antialiased.
   `squeezed`: scale all of it to a square with the bilinear one.

Twice the input is small enough to be worth it and large enough to hardly differ from the whole: a photo of 12
megapixels for 192 pixels took 118 ms instead of 379 and differed by 0.25 of 255 grey levels on average, 2 at most. At
once the input it differed by 1.1 and 6, and was no quicker. `docs/files/run_export.py` does the same without
Flywheel, but for colour of 16 bits a channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from shared.images.opening import ImageLimits, hold_rgb
from shared.wire.models import ModelInput, Preparation

PREPROCESSING = 2
"""Number of this definition. It is part of what an embedding is called, so that those of another are made anew."""
REDUCED = 2
"""Times the input's size that a JPEG is decoded at, at least."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """The definition for one network. Safe in any number of threads."""

    size: int  # pixels a side of the input
    way: Preparation = "middle square"

    @classmethod
    def of(cls, needs: ModelInput) -> Preprocessing:
        """What a version needs."""
        return cls(needs.size, needs.preparation)

    @property
    def decoded_at_least(self) -> int:
        """Pixels of the short side that a JPEG is decoded at, at least."""
        return REDUCED * self.size

    def read(self, data: bytes, limits: ImageLimits) -> NDArray[np.uint8]:
        """The content of an image file as (3, S, S) uint8. Raises ImageProblem."""
        with hold_rgb(data, limits, at_least=self.decoded_at_least) as image:
            return self.cut(image)

    def cut(self, image: Image.Image) -> NDArray[np.uint8]:
        """An upright RGB image as (3, S, S) uint8: the third step alone."""
        square = (self.size, self.size)
        if self.way == "squeezed":
            image = image.resize(square, Image.Resampling.BILINEAR)
        elif image.size != square:
            image = ImageOps.fit(image, square, Image.Resampling.BICUBIC)
        return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def model_input(preprocessing: Preprocessing, mean: Sequence[float], std: Sequence[float]) -> ModelInput:
    """As a version says it."""
    return ModelInput(
        preprocessing=PREPROCESSING,
        size=preprocessing.size,
        preparation=preprocessing.way,
        mean=list(mean),
        std=list(std),
    )


def in_words(preprocessing: Preprocessing) -> str:
    """The definition, for a model card."""
    size, least = preprocessing.size, preprocessing.decoded_at_least
    square = f"to {size} × {size} pixels with Pillow's"
    whole, middle = f"scale all of it {square} bilinear filter", f"scale its middle square {square} bicubic filter"
    return (
        f"Decode a JPEG with a short side of {2 * least} pixels or more at 1/2, 1/4 or 1/8 of its size, the smallest "
        f"that leaves {least} (`Image.draft(None, ({least}, {least}))`), anything else in full. Turn it upright as "
        "EXIF says, lay transparency on white, make it RGB; "
        + (f"{whole} (`Image.resize`)." if preprocessing.way == "squeezed" else f"{middle} (`ImageOps.fit`).")
    )
