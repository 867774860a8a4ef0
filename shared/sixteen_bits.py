"""Colour of 16 bits a channel, down to 8. Pillow keeps the high byte, so that 12 bits in it come out almost black.

The brightest channel says how many bits are in use, as for grey in `shared.images`; the rule is the same. Pillow has no
pixels of three times 16 bits, but it can be told to read the other byte of each number: by naming the other byte order.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin

_OTHER = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
_BITS = TiffImagePlugin.BITSPERSAMPLE
_COLOURS = frozenset({"RGB", "RGBX", "RGBA", "LA", "R", "G", "B", "A"})


def loaded(image: ImageFile.ImageFile, again: Callable[[], ImageFile.ImageFile]) -> Image.Image:
    """The image with its pixels decoded; `again` opens the same file anew. Raises what Pillow raises."""
    _mend_planes(image)
    deep = [_rawmode(tile).partition(";16")[0] in _COLOURS and ";16" in _rawmode(tile) for tile in image.tile]
    deep_colour = bool(deep) and all(deep) and image.mode in ("RGB", "RGBA", "LA")
    with_grey = deep_colour and _rawmode(image.tile[0]).startswith("LA")
    image.load()
    if not deep_colour:
        return image
    high = np.asarray(image)  # (H, W, 3 or 4): the high bytes
    key = image.info.pop("transparency", None)  # one colour of 16 bits a channel, which is transparent
    if int(high[..., :3].max(initial=0)) >= 128 and key is None:
        return image
    low = _low_bytes_of_grey(again()) if with_grey else _low_bytes(again())
    pixels = _to_8_bits(high[..., :3], low[..., :3])
    if high.shape[2] == 4:
        pixels = np.dstack([pixels, _to_8_bits(high[..., 3:], low[..., 3:])])
    elif key is not None:
        wanted = np.asarray(key, dtype=np.uint16)
        same = ((high == wanted >> 8) & (low == (wanted & 255))).all(axis=2)
        pixels = np.dstack([pixels, np.where(same, 0, 255).astype(np.uint8)])
    return Image.fromarray(np.ascontiguousarray(pixels))


def _to_8_bits(high: NDArray[np.uint8], low: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The eight bits below the highest one in use."""
    bits = int(high.max(initial=0)).bit_length()  # beyond the low 8
    if bits == 8:
        return high
    shifted: NDArray[np.uint8] = (high << np.uint8(8 - bits)) | (low >> np.uint8(bits))
    return shifted


def _low_bytes(image: ImageFile.ImageFile) -> NDArray[np.uint8]:
    _mend_planes(image)
    if (
        isinstance(image, TiffImagePlugin.TiffImageFile)
        and image.tile[0].codec_name == "libtiff"
        and _has_planes(image)
    ):
        return np.zeros(
            (image.height, image.width, 4), np.uint8
        )  # libtiff gives high bytes alone: coarse, but not black
    image.tile = [_with_rawmode(tile, (raw := _rawmode(tile))[:-1] + _OTHER[raw[-1]]) for tile in image.tile]
    image.load()
    return np.asarray(image)


def _low_bytes_of_grey(image: ImageFile.ImageFile) -> NDArray[np.uint8]:
    """Grey with alpha has no other order, but its two numbers are as long as four bytes of RGBA."""
    image.tile = [_with_rawmode(tile, "RGBA") for tile in image.tile]
    image.load()
    return np.asarray(image)[..., [1, 1, 1, 3]]


def _mend_planes(image: ImageFile.ImageFile) -> None:
    """Pillow reads uncompressed planes of 16 bits as if they had 8."""
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
