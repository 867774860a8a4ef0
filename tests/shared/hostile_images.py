"""Image files with a false header, files that need far more memory than their size suggests, and broken files."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from itertools import product

from PIL import Image

SMALL = zlib.compress(b"\0" * 1_000)
TIFF_PACKED = {"none": 1, "lzw": 5, "jpeg": 7, "deflate": 8, "packbits": 32_773, "lzma": 34_925, "zstd": 50_000}
TIFF_KINDS = {"grey": (1, (8,)), "rgb": (2, (8, 8, 8)), "deep": (2, (16, 16, 16, 16)), "ycbcr": (6, (8, 8, 8))}


def tiff(width: int, height: int, packed: str, kind: str, *further: tuple[int, int]) -> bytes:
    """One with the given tags, each a number, beside those that it must have, and a thousand zeros as its pixels."""
    photometric, bits = TIFF_KINDS[kind]
    tags = [(256, width), (257, height), (259, TIFF_PACKED[packed]), (262, photometric), (277, len(bits)), *further]
    begins = 8 + len(SMALL)
    after = begins + 2 + 12 * (len(tags) + 1) + 4
    entries = {tag: struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags}
    many = len(bits) > 2
    entries[258] = struct.pack("<HHI", 258, 3, len(bits)) + struct.pack("<I", after if many else bits[0])
    table = b"".join(entries[tag] for tag in sorted(entries))
    beyond = struct.pack(f"<{len(bits)}H", *bits) if many else b""
    return b"II*\0" + struct.pack("<I", begins) + SMALL + struct.pack("<H", len(entries)) + table + b"\0" * 4 + beyond


def png(width: int, height: int, pixels: bytes = SMALL, *before: tuple[bytes, bytes]) -> bytes:
    """RGBA of 8 bits; `before` are chunks before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = [(b"IHDR", header), *before, (b"IDAT", pixels), (b"IEND", b"")]
    framed = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def bombs(side: int = 10_000) -> Iterator[tuple[str, bytes]]:
    """Each with its name: what may be opened has `side` × `side` pixels, what may not has more in its pieces."""
    more = side * 13 // 5
    for packed, kind in product(TIFF_PACKED, TIFF_KINDS):
        at = (8, len(SMALL))
        yield (
            f"tile-{packed}-{kind}.tif",
            tiff(16, 16, packed, kind, (322, more), (323, more), (324, at[0]), (325, at[1])),
        )
        yield f"strip-{packed}-{kind}.tif", tiff(side, side, packed, kind, (273, at[0]), (278, side), (279, at[1]))
    yield "row.tif", tiff(side * side, 1, "deflate", "grey", (273, 8), (278, 1), (279, len(SMALL)))
    yield "rows.tif", tiff(16, 16, "deflate", "rgb", (273, 8), (278, 2**32 - 1), (279, 2**32 - 16))
    yield "huge.png", png(2**31 - 1, 2**31 - 1)
    yield "inflates.png", png(16, 16, zlib.compress(b"\0" * 200_000_000))
    frame = struct.pack(">IIIIIHHBB", 0, 60_000, 60_000, 0, 0, 1, 1, 0, 0)
    yield "frame.png", png(16, 16, SMALL, (b"acTL", struct.pack(">II", 2, 0)), (b"fcTL", frame))
    tags = b"".join(struct.pack("<HHII", 30_000 + each, 1, 900_000, 8) for each in range(4_000))
    exif = b"II*\0" + struct.pack("<IH", 8, 4_000) + tags + b"\0" * 900_000
    yield "exif.png", png(16, 16, zlib.compress(b"\0" * 65 * 16), (b"eXIf", exif))
    yield "overlapping.tif", exif
    screen = struct.pack("<HHBBB", 16, 16, 0x80, 0, 0) + b"\0" * 6
    yield "frame.gif", b"GIF89a" + screen + b"," + struct.pack("<HHHHB", 0, 0, more, more, 0) + b"\x02\x02\x44\x01\0;"
    canvas = struct.pack("<I", 2) + struct.pack("<I", more - 1)[:3] * 2
    yield "canvas.webp", _riff(b"VP8X" + struct.pack("<I", len(canvas)) + canvas)
    for name, height, bits, packing in (
        ("rle.bmp", side, 8, 1),
        ("upside-down.bmp", -side, 24, 0),
        ("deep.bmp", -(2**31), 24, 0),
    ):
        header = struct.pack("<IiiHHIIiiII", 40, side, height, 1, bits, packing, 100, 1, 1, 0, 0)
        yield name, b"BM" + struct.pack("<IHHI", 100, 0, 0, 54 + 1_024) + header + b"\0" * 1_024 + b"\0\2\xff\xff" * 100
    yield "scaled.ppm", b"P6 %d %d 254\n" % (side, side) + b"\0" * 1_000
    yield "deep.pgm", b"P5 %d %d 1000\n" % (side, side) + b"\0" * 1_000
    yield "plain.ppm", b"P3 %d %d 255\n" % (side, side) + b"0 " * 1_000
    yield "runs.qoi", b"qoif" + struct.pack(">IIBB", side, side, 4, 0) + b"\xfd" * 2_000
    yield "tiles.j2k", _jpeg2k(side, side, tile=max(side // 255, 1), components=3)
    yield "components.j2k", _jpeg2k(side, side, tile=max(side // 255, 1), components=16_000)
    yield "whole.j2k", _jpeg2k(side, side, tile=side, components=4)
    yield "larger-inside.avif", lying_avif(side)


def lying_avif(side: int, said: int = 16) -> bytes:
    """One whose container says another size than its picture has."""
    stream = BytesIO()
    Image.new("RGB", (side, side), (9, 99, 200)).save(stream, "AVIF", quality=30, speed=10)
    size = b"ispe\0\0\0\0"
    return stream.getvalue().replace(size + struct.pack(">II", side, side), size + struct.pack(">II", said, said))


def broken(whole: dict[str, bytes], each: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Of each file by its format, `each` cut off and as many with some bytes changed."""
    drawn = random.Random(seed)
    for form, data in whole.items():
        for number in range(each):
            yield f"cut-{number}.{form}", data[: drawn.randrange(12, len(data))]
            changed = bytearray(data)
            for _ in range(drawn.choice((1, 3, 10))):
                changed[drawn.randrange(len(data))] = drawn.randrange(256)
            yield f"changed-{number}.{form}", bytes(changed)


def _riff(body: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def _jpeg2k(width: int, height: int, tile: int, components: int) -> bytes:
    size = struct.pack(">HIIIIIIIIH", 0, width, height, 0, 0, tile, tile, 0, 0, components) + b"\7\1\1" * components
    coding = bytes([0, 0, 0, 1, 0, 5, 0, 0, 0, 1])  # the smallest code blocks
    steps = bytes([0x40]) + b"\x40" * 16
    parts = ((0x51, size), (0x52, coding), (0x5C, steps), (0x90, struct.pack(">HIBB", 0, 0, 0, 1)))
    return (
        b"\xff\x4f"
        + b"".join(struct.pack(">BBH", 255, kind, len(body) + 2) + body for kind, body in parts)
        + b"\xff\x93\xff\xd9"
    )
