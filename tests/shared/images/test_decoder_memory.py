import gc
import json
import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageFile

from shared.images import opening as images
from shared.images.opening import BYTES_A_PIXEL, ImageLimits, ImageProblem, dimensions, hold_rgb, inspect, open_rgb
from tests.shared.hostile_images import bombs, tiff

MEASURE = """
import json, os, resource, sys
from shared.images.opening import ImageLimits, ImageProblem, inspect, thumbnail
from pi_heif.as_plugin import HeifImageFile
pixels, *paths = sys.argv[1:]
limits = ImageLimits(100_000_000, int(pixels))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
for path in paths:
    with open(path, "rb") as stream:
        data = stream.read()
    for way in (inspect, lambda data, limits: thumbnail(data, 160, limits)):
        if os.fork() == 0:
            resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
            before = peak()
            try:
                way(data, limits)
                said = "taken"
            except ImageProblem as problem:
                said = str(problem)
            print(json.dumps([path, peak() - before, said]), flush=True)
            os._exit(0)
        os.wait()
"""
NOISE = 25_000_000
"""Bytes that come with a first use of a decoder, whatever it decodes."""


def measured(folder: Path, files: dict[str, bytes], pixels: int) -> list[tuple[str, int, str]]:
    """Looks at each file, and makes a thumbnail of it, in a process of its own: the bytes taken, and the outcome."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    paths = [str(folder / name) for name in files]
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, str(pixels), *paths], capture_output=True, text=True, timeout=300, check=True
    )
    said = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("[")]
    assert len(said) == 2 * len(files)
    return [(Path(path).name, taken, outcome) for path, taken, outcome in said]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="measures in a fork, which this system does not have")
def test_no_file_takes_more_than_the_limit_on_pixels_allows(tmp_path: Path) -> None:
    side = 2_500
    for name, taken, outcome in measured(tmp_path, dict(bombs(side)), side * side):
        assert taken < BYTES_A_PIXEL * side * side + NOISE, (name, taken, outcome)


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    stream = BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def picture(mode: str, side: int) -> Image.Image:
    grey = Image.linear_gradient("L").resize((side, side))
    return Image.merge("RGBA", [grey] * 4) if mode == "RGBA" else grey.convert(mode)


HONEST = {
    "progressive.jpg": ("RGB", "JPEG", {"progressive": True, "subsampling": 0}),
    "cmyk.jpg": ("CMYK", "JPEG", {}),
    "rgba.png": ("RGBA", "PNG", {"compress_level": 1}),
    "deep.png": ("I;16", "PNG", {"compress_level": 1}),
    "clear.webp": ("RGBA", "WEBP", {"method": 0}),
    "lossless.webp": ("RGB", "WEBP", {"lossless": True, "method": 0}),
    "lzw.tif": ("RGB", "TIFF", {"compression": "tiff_lzw"}),
    "jpeg.tif": ("RGB", "TIFF", {"compression": "jpeg"}),
    "clear.avif": ("RGBA", "AVIF", {"speed": 10}),
    "full.avif": ("RGB", "AVIF", {"speed": 10, "subsampling": "4:4:4"}),
    "whole.jp2": ("RGB", "JPEG2000", {"irreversible": True}),
    "tiled.jp2": ("RGB", "JPEG2000", {"tile_size": (256, 256)}),
    "grey.gif": ("L", "GIF", {}),
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="measures in a fork, which this system does not have")
def test_the_memory_of_a_decoder_is_known_from_the_header(tmp_path: Path) -> None:
    side = 2_500
    limits = ImageLimits(100_000_000, 100_000_000)
    files = {name: encoded(picture(mode, side), form, **more) for name, (mode, form, more) in HONEST.items()}
    for name, taken, outcome in measured(tmp_path, files, limits.max_pixels):
        assert outcome == "taken", (name, outcome)
        known = images._peak(images._header(files[name], limits), files[name])
        assert taken < known * 1.1 + len(files[name]) + NOISE, (name, taken, known)


def test_a_tile_counts_as_its_pixels_do() -> None:
    data = tiff(16, 16, "deflate", "grey", (322, 26_000), (323, 26_000), (324, 8), (325, 17))
    for check in (inspect, open_rgb, dimensions):
        with pytest.raises(ImageProblem, match="16 × 16 pixels, but is stored in pieces of 676,000,000, more than the"):
            check(data, ImageLimits(1_000_000, 100_000_000))


def test_an_image_that_takes_too_much_memory_is_refused_with_advice() -> None:
    data = encoded(picture("RGB", 400), "JPEG2000")
    with pytest.raises(
        ImageProblem, match="takes 3 MB to decode, more than the 2 MB that max_image_pixels allows: save"
    ):
        inspect(data, ImageLimits(1_000_000, 160_000))
    assert inspect(data, ImageLimits(1_000_000, 400_000)).width == 400


def test_one_colour_over_many_blocks_is_the_same_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = ImageLimits(1_000_000, 4_000_000)
    files = [encoded(picture(mode, 70), form) for mode, form in (("RGBA", "PNG"), ("I;16", "PNG"), ("F", "TIFF"))]
    whole = [open_rgb(data, limits).tobytes() for data in files]
    monkeypatch.setattr("shared.images.sixteen_bits.BLOCK", 33)
    assert [open_rgb(data, limits).tobytes() for data in files] == whole


def test_who_holds_what_went_wrong_does_not_hold_the_image() -> None:
    cut_off = [tiff(600, 600, "deflate", kind, (273, 8), (278, 600), (279, 17)) for kind in ("grey", "rgb")]
    cut_off += [encoded(picture(mode, 300), "PNG")[:-60] for mode in ("RGB", "RGBA", "I;16")]
    held = []
    for data in cut_off:
        for check in (inspect, open_rgb):
            with pytest.raises(ImageProblem) as told:
                check(data, ImageLimits(1_000_000, 1_000_000))
            held.append(told)
    # By its type: `isinstance` asks an object for its class, at which some of torch's warn.
    images = [each for each in gc.get_objects() if issubclass(type(each), ImageFile.ImageFile)]
    kept = [each.size for each in images if each._im is not None]
    assert len(held) == 2 * len(cut_off)
    assert kept == []


def test_an_image_is_gone_when_its_room_is_given_back() -> None:
    with hold_rgb(encoded(picture("RGB", 30), "PNG"), ImageLimits(1_000_000, 1_000_000)) as image:
        assert image.size == (30, 30)
    with pytest.raises(ValueError, match="closed image"):
        image.load()
