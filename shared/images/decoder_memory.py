"""Estimates from a file's header how much memory its decoder takes. It knows formats and decoders, but decodes nothing.

Width × height is not enough. A TIFF of 16 × 16 pixels may hold one tile of 26,000 × 26,000. A JPEG 2000 file may
hold sixty thousand tiles. Some decoders hold a picture several times. The figures were measured with Pillow 13, libwebp
1.6, libavif 1.4 and OpenJPEG 2.5; tests/shared/images/test_decoder_memory.py measures them again.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from PIL import (
    AvifImagePlugin,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

_WIDE_PIXELS = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
"""Bytes per pixel in memory; all other Pillow modes take four, including RGB."""
_IN_PYTHON = frozenset({"qoi", "ppm", "ppm_plain", "bmp_rle"})
"""Decoders that collect all pixels in a growing array and then copy it once."""
_WEBP, _HEIF = 12, 12  # bytes per pixel: canvases or planes, and the returned frame
_TILE, _TILE_COMPONENT, _BLOCK = 6_000, 2_500, 450  # bytes that OpenJPEG needs per tile, component and code block
MOST_COMPONENTS = 4


@dataclass(frozen=True, slots=True)
class Need:
    """What decoding needs: `pixels`, to compare with the pixel limit, and `peak` bytes besides the file itself."""

    pixels: int
    peak: int


def of(image: ImageFile.ImageFile, data: bytes) -> Need:
    """The need of an image whose header is read, at the scale at which it will be decoded."""
    width, height = image.size
    pixels = width * height
    own = pixel_bytes(image.mode) * pixels
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return _tiff(image)
    if isinstance(image, Jpeg2KImagePlugin.Jpeg2KImageFile):
        return _jpeg2k(image, data)
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        return Need(pixels, own + _coefficients(image, data))
    if isinstance(image, WebPImagePlugin.WebPImageFile):
        return Need(pixels, _WEBP * pixels)
    if isinstance(image, AvifImagePlugin.AvifImageFile):
        return Need(pixels, (6 + 2 * (len(image.getbands()) - 1)) * pixels)
    if image.format == "HEIF":
        return Need(pixels, _HEIF * pixels)
    if isinstance(image, PngImagePlugin.PngImageFile):
        return Need(pixels, own)
    if any(tile.codec_name in _IN_PYTHON for tile in image.tile):
        bands = 4 if image.mode == "I" else len(image.getbands())
        return Need(pixels, own + bands * pixels * 17 // 8)
    return Need(pixels, own)


def pixel_bytes(mode: str) -> int:
    """Bytes per pixel of a Pillow mode in memory."""
    return _WIDE_PIXELS.get(mode, 4)


def _tiff(image: TiffImagePlugin.TiffImageFile) -> Need:
    """A whole tile or strip is unpacked beside the image, and the image is made large enough for a tile."""
    tags = image.tag_v2
    width, height = image.size
    chunk_width, chunk_height = width, min(_number(tags, TiffImagePlugin.ROWSPERSTRIP, height), height)
    if _TILE_WIDTH in tags or _TILE_LENGTH in tags:
        chunk_width, chunk_height = _number(tags, _TILE_WIDTH, width), _number(tags, _TILE_LENGTH, height)
    chunk = chunk_width * chunk_height
    pixels = max(width, chunk_width) * max(height, chunk_height) if chunk > width * height else width * height
    own = pixel_bytes(image.mode) * pixels
    if all(tile.codec_name == "raw" for tile in image.tile):
        return Need(pixels, own)
    said = tags.get(TiffImagePlugin.BITSPERSAMPLE, 1)
    bits = said if isinstance(said, tuple) and said else (_number(tags, TiffImagePlugin.BITSPERSAMPLE, 1),)
    samples = max(_number(tags, TiffImagePlugin.SAMPLESPERPIXEL, 1), len(bits))
    one_by_one = _number(tags, TiffImagePlugin.PLANAR_CONFIGURATION, 1) == 2
    unpacked = chunk * max(bits) * (1 if one_by_one else samples) // 8
    if _number(tags, TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 0) == _YCBCR:  # libtiff makes it RGBA in one piece
        unpacked += 4 * chunk
    return Need(pixels, own + unpacked)


_TILE_WIDTH, _TILE_LENGTH, _YCBCR = 322, 323, 6


def _number(tags: Any, tag: int, otherwise: int) -> int:
    value = tags.get(tag, otherwise)
    while isinstance(value, tuple):
        value = value[0] if value else otherwise
    return int(value)


def _coefficients(image: JpegImagePlugin.JpegImageFile, data: bytes) -> int:
    """Bytes of coefficients: the decoder keeps them for the whole image if it is progressive or has separate
    components."""
    if not image.info.get("progressive") and _in_first_scan(data) >= len(image.layer):
        return 0
    width, height = _stored_size(data) or image.size
    most_across, most_down = max(each[1] for each in image.layer), max(each[2] for each in image.layer)
    shares = sum(each[1] * each[2] for each in image.layer) / (most_across * most_down)
    return int(2 * shares * width * height)


def _segments(data: bytes) -> Any:
    """Yield marker and content of each segment, up to and including the first scan."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            at += 1
            continue
        kind = data[at + 1]
        if kind in (0xFF, 0x00, 0x01) or 0xD0 <= kind <= 0xD8:
            at += 1 if kind == 0xFF else 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        yield kind, data[at + 4 : at + 2 + max(length, 2)]
        if kind in (0xDA, 0xD9):
            return
        at += 2 + max(length, 2)


def _in_first_scan(data: bytes) -> int:
    return next((content[0] for kind, content in _segments(data) if kind == 0xDA and content), 0)


def _stored_size(data: bytes) -> tuple[int, int] | None:
    """Width and height before `draft` reduces them."""
    for kind, content in _segments(data):
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC) and len(content) >= 5:
            height, width = struct.unpack(">HH", content[1:5])
            return width, height
    return None


def _jpeg2k(image: Jpeg2KImagePlugin.Jpeg2KImageFile, data: bytes) -> Need:
    """OpenJPEG holds a tile as 32-bit numbers and again as bytes, plus some memory per tile and code block."""
    at = data.index(b"\xff\x4f\xff\x51")
    size = struct.unpack_from(">8I", data, at + 8)  # x1, y1, x0, y0, then a tile's width, height and first corner
    components = int.from_bytes(data[at + 40 : at + 42], "big")
    across, down = max(size[0] - size[2], 0), max(size[1] - size[3], 0)
    pixels = max(across * down, image.width * image.height)
    tiles = -(-(size[0] - size[6]) // max(size[4], 1)) * -(-(size[1] - size[7]) // max(size[5], 1))
    inside = min(size[4], across) * min(size[5], down) * max(components, 1)  # numbers in a tile
    wide = 2 if data[at + 42] & 0x7F > 7 else 1
    blocks = inside // _smallest_block(data, at) * _BLOCK
    kept = max(tiles, 1) * (_TILE + _TILE_COMPONENT * components)
    return Need(pixels, pixel_bytes(image.mode) * pixels + inside * (4 + wide) + blocks + kept)


def _smallest_block(data: bytes, at: int) -> int:
    """Numbers in the smallest code block named in the file's or a tile's headers; at least 16."""
    smallest, at, part_ends = 4096, at + 2, 0
    while at + 4 <= len(data):
        marker, length = struct.unpack_from(">HH", data, at)
        content = data[at + 4 : at + 2 + max(length, 2)]
        if marker == 0xFF90 and len(content) >= 6:  # a tile part begins with its length
            part = int.from_bytes(content[2:6], "big")
            part_ends = at + part if part else len(data)
        elif marker == 0xFF93:  # its headers end
            if part_ends <= at:
                break
            at = part_ends
            continue
        elif marker in (0xFF52, 0xFF53):  # for all components or for one
            where = 6 if marker == 0xFF52 else 3
            if len(content) >= where + 2:
                smallest = min(smallest, 1 << ((content[where] & 15) + (content[where + 1] & 15) + 4))
        elif marker == 0xFFD9:
            break
        at += 2 + max(length, 2)
    return max(smallest, 16)
