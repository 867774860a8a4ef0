"""Converts colour and grey with 16 bits per channel to 8 bits. For colour, Pillow keeps only the high byte, which makes
12-bit values almost black.

The brightest channel determines how many bits are in use; the same rule applies to grey. Pillow has no mode for three
16-bit channels, but it reads the other byte of each number if told the other byte order.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin

_OTHER = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
_BITS = TiffImagePlugin.BITSPERSAMPLE
_COLOURS = frozenset({"RGB", "RGBX", "RGBA", "LA", "R", "G", "B", "A"})


BLOCK = 1 << 20
"""Pixels processed at once, so that a large image does not need a second and third copy."""


def blocks(size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Yield boxes of up to BLOCK pixels that cover an image of `size` (width, height)."""
    width, height = size
    across = max(min(width, BLOCK), 1)
    down = max(BLOCK // across, 1)
    for top in range(0, height, down):
        for left in range(0, width, across):
            yield left, top, min(left + across, width), min(top + down, height)


def is_deep(image: ImageFile.ImageFile) -> bool:
    """Whether an image whose header is read has 16-bit colour channels."""
    deep = [_rawmode(tile).partition(";16")[0] in _COLOURS and ";16" in _rawmode(tile) for tile in image.tile]
    return bool(deep) and all(deep) and image.mode in ("RGB", "RGBA", "LA")


def high_bytes(image: ImageFile.ImageFile) -> None:
    """Decode the image; 16-bit channels keep only their high byte. Raises what Pillow raises."""
    _mend_planes(image)
    image.load()


def loaded(image: ImageFile.ImageFile, again: Callable[[], ImageFile.ImageFile]) -> Image.Image:
    """The image with its pixels decoded; `again` reopens the same file. Raises what Pillow raises."""
    _mend_planes(image)
    deep_colour = is_deep(image)
    with_grey = deep_colour and _rawmode(image.tile[0]).startswith("LA")
    image.load()
    if not deep_colour:
        return image
    key = image.info.pop("transparency", None)  # the transparent colour, 16 bits per channel
    brightest = [int(most) for _, most in cast("Any", image.getextrema())]  # in the high bytes
    if max(brightest[:3]) >= 128 and key is None:
        return image
    other = _low_bytes(again(), with_grey=with_grey)
    bits = max(brightest[:3]).bit_length()  # beyond the low 8
    shown = image if key is None else Image.new("RGBA", image.size)
    for box in blocks(image.size):
        high = np.asarray(image.crop(box))  # (H, W, 3 or 4)
        low = np.zeros((*high.shape[:2], 4), np.uint8) if other is None else np.asarray(other.crop(box))
        low = low[..., [1, 1, 1, 3]] if with_grey else low
        pixels = _to_8_bits(high[..., :3], low[..., :3], bits)
        if high.shape[2] == 4:
            pixels = np.dstack([pixels, _to_8_bits(high[..., 3:], low[..., 3:], brightest[3].bit_length())])
        elif key is not None:
            wanted = np.asarray(key, dtype=np.uint16)
            same = ((high == wanted >> 8) & (low[..., :3] == (wanted & 255))).all(axis=2)
            pixels = np.dstack([pixels, np.where(same, 0, 255).astype(np.uint8)])
        shown.paste(Image.fromarray(np.ascontiguousarray(pixels)), box)
    return shown


def grey(image: Image.Image) -> Image.Image:
    """Reduce grey of more than 8 bits to 8, by the power of two that the brightest pixel needs; returns RGB.

    Cameras store 10, 12 or 14 bits in 16-bit files; dividing by 256 would show those almost black.
    """

    def values(box: tuple[int, int, int, int]) -> NDArray[np.float32]:  # (H, W) of the box
        return np.nan_to_num(np.asarray(image.crop(box), dtype=np.float32)).clip(0)

    boxes = list(blocks(image.size))
    brightest = max((float(values(box).max(initial=0)) for box in boxes), default=0.0)
    shown = Image.new("RGB", image.size)
    _, bits = math.frexp(brightest)
    for box in boxes:
        part = values(box)
        part = part * 255 if image.mode == "F" and brightest <= 1 else part / 2.0 ** max(bits - 8, 0)
        shown.paste(Image.fromarray(part.astype(np.uint8)).convert("RGB"), box)
    return shown


def _to_8_bits(high: NDArray[np.uint8], low: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Keep the eight highest bits in use; `bits` of them are in the high byte."""
    if bits == 8:
        return high
    shifted: NDArray[np.uint8] = (high << np.uint8(8 - bits)) | (low >> np.uint8(bits))
    return shifted


def _low_bytes(image: ImageFile.ImageFile, *, with_grey: bool) -> ImageFile.ImageFile | None:
    """The low byte of each number; None if not available: the picture is then coarse, but not black."""
    _mend_planes(image)
    if with_grey:  # no mode swaps its byte order, but its two channels have the size of one RGBA pixel
        image.tile = [_with_rawmode(tile, "RGBA") for tile in image.tile]
    elif (
        isinstance(image, TiffImagePlugin.TiffImageFile)
        and image.tile[0].codec_name == "libtiff"
        and _has_planes(image)
    ):
        return None  # libtiff returns only high bytes
    else:
        image.tile = [_with_rawmode(tile, (raw := _rawmode(tile))[:-1] + _OTHER[raw[-1]]) for tile in image.tile]
    image.load()
    return image


def _mend_planes(image: ImageFile.ImageFile) -> None:
    """Correct Pillow, which reads uncompressed 16-bit planes as if they had 8 bits."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile) or image.tag_v2.get(_BITS, ()) < (16,):
        return
    order = "L" if image.tag_v2.prefix == TiffImagePlugin.II else "B"
    image.tile = [
        _with_rawmode(tile, f"{_rawmode(tile)};16{order}")
        if tile.codec_name == "raw" and len(_rawmode(tile)) == 1
        else tile
        for tile in image.tile
    ]


def _has_planes(image: TiffImagePlugin.TiffImageFile) -> bool:
    return bool(image.tag_v2.get(TiffImagePlugin.PLANAR_CONFIGURATION, 1) == 2)


def _rawmode(tile: Any) -> str:
    args = tile.args
    return str(args[0] if isinstance(args, tuple) else args)


def _with_rawmode(tile: Any, rawmode: str) -> Any:
    args = tile.args
    return tile._replace(args=(rawmode, *args[1:]) if isinstance(args, tuple) else rawmode)
