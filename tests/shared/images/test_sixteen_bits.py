"""Images with channels of 16 bits, of which fewer may be in use."""

import struct
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.images.opening import ImageLimits, ImageProblem, inspect, open_rgb, thumbnail

LIMITS = ImageLimits(max_bytes=1_000_000, max_pixels=4_000_000)
Values = NDArray[np.uint16]


def png(values: Values, transparent: tuple[int, int, int] | None = None) -> bytes:
    """(H, W, 2, 3 or 4) as a PNG of 16 bits a channel."""
    height, width, channels = values.shape
    kind = {2: 4, 3: 2, 4: 6}[channels]
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values.reshape(height, -1))
    chunks = [b"IHDR" + struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)]
    if transparent is not None:
        chunks.append(b"tRNS" + struct.pack(">HHH", *transparent))
    chunks += [b"IDAT" + zlib.compress(lines), b"IEND"]
    framed = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def tiff(values: Values, order: str = "<", *, packed: bool = False, planes: bool = False, alpha: int = 2) -> bytes:
    """(H, W, 3 or 4) as a TIFF of 16 bits a channel."""
    height, width, channels = values.shape
    stored = [values[..., each] for each in range(channels)] if planes else [values]
    strips = [np.ascontiguousarray(each).astype(order + "u2").tobytes() for each in stored]
    strips = [zlib.compress(each) for each in strips] if packed else strips
    body = b"".join(strips)
    body += b"\0" * (len(body) % 2)
    places = [8 + sum(map(len, strips[:each])) for each in range(len(strips))]
    tags = [(256, "I", [width]), (257, "I", [height]), (258, "H", [16] * channels), (259, "H", [8 if packed else 1])]
    tags += [(262, "H", [2]), (273, "I", places), (277, "H", [channels]), (278, "I", [height])]
    tags += [(279, "I", [*map(len, strips)]), (284, "H", [2 if planes else 1])]
    tags += [(338, "H", [alpha])] if channels == 4 else []
    begins = 8 + len(body)
    table, beyond = b"", b""
    for tag, kind, numbers in tags:
        value = struct.pack(f"{order}{len(numbers)}{kind}", *numbers)
        if len(value) > 4:
            place = begins + 6 + 12 * len(tags) + len(beyond)
            value, beyond = struct.pack(order + "I", place), beyond + value
        table += struct.pack(order + "HHI", tag, {"H": 3, "I": 4}[kind], len(numbers)) + value.ljust(4, b"\0")
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", begins)
    return start + body + struct.pack(order + "H", len(tags)) + table + struct.pack(order + "I", 0) + beyond


def colours(bits: int, channels: int = 3, alpha: int | None = None) -> Values:
    """Every brightness of so many bits somewhere; full in its last pixel."""
    values = np.random.default_rng(bits).integers(0, 2**bits, (24, 17, channels)).astype(np.uint16)
    values[-1, -1] = 2**bits - 1
    if alpha is not None:
        values[..., -1] = alpha
    return values


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize(
    "written",
    [
        png,
        tiff,
        lambda values: tiff(values, ">"),
        lambda values: tiff(values, packed=True),
        lambda values: tiff(values, planes=True),
        lambda values: tiff(values, ">", planes=True),
    ],
)
def test_the_bits_in_use_become_eight(written: object, bits: int) -> None:
    values = colours(bits)
    data = written(values)
    assert inspect(data, LIMITS).width == 17
    assert (np.asarray(open_rgb(data, LIMITS)) == values >> (bits - 8)).all()


def test_of_compressed_planes_only_the_high_bits_are_known() -> None:
    values = colours(12)
    shown = np.asarray(open_rgb(tiff(values, packed=True, planes=True), LIMITS))
    assert (shown == values >> 8 << 4).all()


@pytest.mark.parametrize("written", [png, tiff, lambda values: tiff(values, ">", packed=True)])
def test_with_alpha(written: object) -> None:
    for alpha in (4_095, 65_535):
        values = colours(12, 4, alpha)
        assert (np.asarray(open_rgb(written(values), LIMITS)) == values[..., :3] >> 4).all()
    clear = colours(12, 4, 0)
    assert (np.asarray(open_rgb(written(clear), LIMITS)) == 255).all()


def test_a_sample_that_is_no_alpha_is_left_out() -> None:
    values = colours(12, 4, 0)
    assert (np.asarray(open_rgb(tiff(values, alpha=0), LIMITS)) == values[..., :3] >> 4).all()


def test_grey_with_alpha() -> None:
    values = colours(12, 2, 4_095)
    shown = np.asarray(open_rgb(png(values), LIMITS))
    assert (shown == values[..., :1] >> 4).all()


def test_one_transparent_colour_is_compared_in_16_bits() -> None:
    values = colours(12)
    values[0, 0], values[0, 1] = (1_000, 2_000, 3_000), (1_001, 2_000, 3_000)
    shown = np.asarray(open_rgb(png(values, (1_000, 2_000, 3_000)), LIMITS))
    assert shown[0, 0].tolist() == [255, 255, 255]
    assert shown[0, 1].tolist() == [62, 125, 187]


def test_black_stays_black_and_a_thumbnail_shows_the_same() -> None:
    black = np.zeros((40, 40, 3), np.uint16)
    assert not np.asarray(open_rgb(png(black), LIMITS)).any()
    black[:, 20:] = 4_095
    content, media_type = thumbnail(png(black), 40, LIMITS)
    assert media_type == "image/webp"
    assert np.asarray(open_rgb(content, LIMITS)).max() == 255


def test_what_pillow_has_no_pixels_for_is_not_called_damaged() -> None:
    tripled = bytearray(tiff(colours(12)))
    at = tripled.index(struct.pack("<3H", 16, 16, 16))
    tripled[at : at + 6] = struct.pack("<3H", 24, 24, 24)
    with pytest.raises(ImageProblem, match="format is rare, or it is damaged"):
        inspect(bytes(tripled), LIMITS)
