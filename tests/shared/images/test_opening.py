import random
import struct
import zlib
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from shared.images.opening import ImageLimits, ImageProblem, inspect, open_rgb, thumbnail

LIMITS = ImageLimits(max_bytes=1_000_000, max_pixels=4_000_000)
RED, BLUE = (200, 30, 30), (30, 30, 200)


def picture(width: int = 60, height: int = 40) -> Image.Image:
    """Red on its left half, blue on its right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    stream = BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def close(pixel: object, colour: tuple[int, int, int], tolerance: int = 25) -> bool:
    return bool(np.abs(np.subtract(pixel, colour)).max() <= tolerance)  # type: ignore[call-overload]


FORMS = {
    "JPEG": encoded(picture(), "JPEG", quality=95, subsampling=0),
    "PNG": encoded(picture(), "PNG"),
    "WEBP": encoded(picture(), "WEBP", lossless=True),
    "BMP": encoded(picture(), "BMP"),
    "TIFF": encoded(picture(), "TIFF"),
    "GIF": encoded(picture(), "GIF"),
    "AVIF": encoded(picture(), "AVIF", quality=95),
    "JPEG2000": encoded(picture(), "JPEG2000"),
    "PPM": encoded(picture(), "PPM"),
    # as a phone would write it; made by pillow-heif, whose encoder is not installed here
    "HEIF": b64decode(
        "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9j"
        "AAAAAERAAAEAAQAAAAABoQABAAAAAAAAAIIAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/Wlw"
        "cnAAAADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AA"
        "AAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAA"
        "QAAAAEAAAAAoY2xhcAAAADwAAAABAAAAKAAAAAH////8AAAAAv///+gAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWB"
        "AgMFhAAAAIptZGF0AAAAfigBrwY4iS58L/XzX///g0/2X9qo2ppl/U0VyP9Sg3//09/Jv/ATtj4bEh3y7TeLajADjQCol4sWRP7qKMKWEmfN"
        "Miz5Mj/Z/O/n+6OF0mh3b+enwqeNPhHYLsfAhdu7OvqBVfHznoBFjYNy7VVEQ8MWkn7z+1j2iqw93cJTgA=="
    ),
}


# ---------------------------------------------------------------- opening


@pytest.mark.parametrize("form", FORMS)
def test_every_format_opens_as_rgb_and_is_inspected(form: str) -> None:
    data = FORMS[form]
    image = open_rgb(data, LIMITS)
    assert (image.mode, image.size) == ("RGB", (60, 40))
    assert close(image.getpixel((5, 5)), RED)
    assert close(image.getpixel((55, 35)), BLUE)
    found = inspect(data, LIMITS)
    assert (found.width, found.height, found.format, found.size) == (60, 40, form, len(data))
    assert found.sha256 == sha256(data).hexdigest()


def test_compressed_tiff_opens() -> None:
    assert close(open_rgb(encoded(picture(), "TIFF", compression="tiff_lzw"), LIMITS).getpixel((5, 5)), RED)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr"])
def test_other_modes_become_rgb(mode: str) -> None:
    form = "JPEG" if mode in {"CMYK", "YCbCr"} else "PNG"
    image = open_rgb(encoded(picture().convert(mode), form), LIMITS)
    assert image.mode == "RGB"
    expected = picture().convert(mode).convert("RGB")
    assert close(image.getpixel((5, 5)), expected.getpixel((5, 5)))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_lies_on_white(mode: str) -> None:
    image = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 5, 10))
    shown = open_rgb(encoded(image.convert(mode), "TIFF" if mode == "PA" else "PNG"), LIMITS)
    assert shown.getpixel((2, 5)) == (0, 0, 0)
    assert shown.getpixel((8, 5)) == (255, 255, 255)


def test_a_transparent_palette_colour_lies_on_white() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    assert open_rgb(encoded(image, "PNG", transparency=0), LIMITS).getpixel((1, 1)) == (255, 255, 255)


@pytest.mark.parametrize(("brightest", "shown"), [(65_535, 255), (4_095, 255), (255, 255), (0, 0)])
def test_grey_of_many_bits_uses_the_whole_range(brightest: int, shown: int) -> None:
    values = np.linspace(0, brightest, 64, dtype=np.uint16).reshape(8, 8)
    grey = np.asarray(open_rgb(encoded(Image.fromarray(values), "PNG"), LIMITS))
    assert grey[0, 0, 0] == 0
    assert grey[7, 7, 0] == shown
    assert (np.diff(grey[..., 0].ravel().astype(int)) >= 0).all()


def test_float_tiff_opens_whatever_it_holds() -> None:
    values = np.array([[0.0, 0.5], [1.0, np.nan]], dtype=np.float32)
    grey = np.asarray(open_rgb(encoded(Image.fromarray(values), "TIFF"), LIMITS))[..., 0]
    assert grey.tolist() == [[0, 127], [255, 0]]
    values = np.array([[-5.0, 1e30], [np.inf, 0.0]], dtype=np.float32)
    assert np.asarray(open_rgb(encoded(Image.fromarray(values), "TIFF"), LIMITS))[0, 0, 0] == 0


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(form: str, orientation: int) -> None:
    upright = picture()
    upright.paste((255, 255, 255), (0, 0, 20, 20))  # marks the top left corner
    undo = [None, None, *(Image.Transpose(t) for t in (0, 3, 1, 5, 2, 6, 4))][orientation]
    stored = upright.transpose(undo) if undo is not None else upright
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    data = encoded(stored, form, exif=exif, **({"lossless": True} if form == "WEBP" else {}))
    shown = open_rgb(data, LIMITS)
    assert shown.size == (60, 40)
    assert close(shown.getpixel((5, 5)), (255, 255, 255))
    assert close(shown.getpixel((5, 35)), RED)
    assert close(shown.getpixel((55, 5)), BLUE)
    assert (inspect(data, LIMITS).width, inspect(data, LIMITS).height) == (60, 40)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning:PIL")  # as shared.images.opening does outside tests
def test_broken_exif_does_not_cost_the_pixels() -> None:
    data = encoded(picture(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert open_rgb(data, LIMITS).size == (60, 40)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_shown(form: str) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in (RED, BLUE)]
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:])
    assert close(open_rgb(data, LIMITS).getpixel((10, 10)), RED)
    assert inspect(data, LIMITS).format == form


def test_a_large_jpeg_is_decoded_at_reduced_scale_but_never_below_what_is_asked() -> None:
    data = encoded(picture(1200, 801), "JPEG")
    for at_least, size in {
        100: (150, 101),
        101: (300, 201),
        200: (300, 201),
        500: (1200, 801),
        5_000: (1200, 801),
    }.items():
        assert open_rgb(data, LIMITS, at_least=at_least).size == size
    assert open_rgb(data, LIMITS).size == (1200, 801)
    assert (inspect(data, LIMITS).width, inspect(data, LIMITS).height) == (1200, 801)


# ---------------------------------------------------------------- what says nothing about the pixels


def with_chunk(kind: bytes, content: bytes, *, sound: bool = True) -> bytes:
    """A PNG with one more chunk before its pixels."""
    data = FORMS["PNG"]
    at = data.index(b"IDAT") - 4
    check = zlib.crc32(kind + content) ^ (not sound)
    return data[:at] + struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check) + data[at:]


def with_segment(kind: int, content: bytes) -> bytes:
    """A JPEG with one more segment before its pixels."""
    data = FORMS["JPEG"]
    return data[:2] + bytes([0xFF, kind]) + struct.pack(">H", len(content) + 2) + content + data[2:]


PROFILE = b"profile\0\0" + zlib.compress(random.Random(0).randbytes(1_200_000), 0)
NOTED = {
    "a colour profile of 1.2 MB": with_chunk(b"iCCP", PROFILE),
    "1.5 MB of compressed text": with_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 1_500_000)),
    "1.5 MB of compressed text in UTF-8": with_chunk(
        b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"x" * 1_500_000)
    ),
    "text with a wrong checksum": with_chunk(b"tEXt", b"Comment\0hello", sound=False),
    "a profile that is no profile": with_chunk(b"iCCP", b"x\0\0nothing"),
    "a date that cannot be": with_chunk(b"tIME", b"\xff"),
    "EXIF that is cut off": with_chunk(b"eXIf", b"MM\0*\0\0", sound=False),
    "a profile in a JPEG": encoded(picture(), "JPEG", icc_profile=PROFILE, quality=95, subsampling=0),
    "a profile that is none in a JPEG": with_segment(0xE2, b"ICC_PROFILE\0"),
    "a cut off JFIF in a JPEG": with_segment(0xE0, b"JFIF\0"),
    "a cut off note of Adobe in a JPEG": with_segment(0xEE, b"Adobe"),
    "a comment in a GIF": encoded(picture(), "GIF", comment=b"x" * 1_500_000),
    "a profile in a WebP": encoded(picture(), "WEBP", icc_profile=PROFILE, lossless=True),
    "a profile in a TIFF": encoded(picture(), "TIFF", icc_profile=PROFILE),
}


@pytest.mark.parametrize("what", NOTED)
def test_no_text_or_profile_is_told_as_damage(what: str) -> None:
    limits = ImageLimits(10_000_000, 4_000_000)
    for check in (inspect, lambda data, limits: thumbnail(data, 16, limits)):
        check(NOTED[what], limits)
    image = open_rgb(NOTED[what], limits)
    assert close(image.getpixel((5, 5)), RED)
    assert close(image.getpixel((55, 35)), BLUE)


def test_damage_is_still_found_behind_such_text() -> None:
    data = NOTED["1.5 MB of compressed text"]
    with pytest.raises(ImageProblem, match="damaged or cut off"):
        inspect(data[: data.index(b"IDAT") + 40], LIMITS)


# ---------------------------------------------------------------- damage


def png_header(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and holds no pixels."""
    chunks = [b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT"]
    framed = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


@pytest.mark.parametrize("check", [inspect, open_rgb])
@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is empty"),
        (b"hello, I am a text", "is not an image"),
        (b"<html>", "is not an image"),
        (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "is a vector drawing"),
        (b"8BPS\0\1", "is a Photoshop file, which is not supported: save it as JPEG or PNG"),
        (b"\xff\x0a\0\0", "is a JPEG XL file"),
        (b"BM and then some text", "cannot be decoded"),
        (b"\xff\xd8\xff", "cannot be decoded"),
        (png_header(30_000, 30_000), "has 30,000 × 30,000 pixels"),
        (png_header(30, 30), "cannot be decoded"),
        (b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0) + b",\0\0\0\0\1\0\1\0\0\2\2D\1\0;", "has 60,000"),
        (bytes(LIMITS.max_bytes + 1), "has more than 1,000,000 bytes"),
    ],
)
def test_each_problem_of_an_image_is_a_sentence(check: object, data: bytes, problem: str) -> None:
    with pytest.raises(ImageProblem, match=problem):
        check(data, LIMITS)


def test_a_size_beyond_pillow_s_own_guard_is_ours_to_decide() -> None:
    side = 13_500  # 182 megapixels, where Image.open refuses
    data = encoded(Image.new("1", (side, side)), "PNG")
    assert inspect(data, ImageLimits(1_000_000, side * side)).width == side
    with pytest.raises(ImageProblem, match="max_image_pixels"):
        inspect(data, ImageLimits(1_000_000, side * side - 1))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "PPM", "JPEG2000"])
def test_half_a_file_is_found_by_inspecting_it(form: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    data = encoded(noise, form)
    inspect(data, LIMITS)
    with pytest.raises(ImageProblem):
        inspect(data[: len(data) // 2], LIMITS)


@settings(max_examples=300)
@given(
    form=st.sampled_from(sorted(FORMS)),
    length=st.floats(0, 1),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=8),
)
def test_no_damage_raises_anything_but_an_image_problem(
    form: str, length: float, flips: list[tuple[float, int]]
) -> None:
    data = bytearray(FORMS[form])
    for place, mask in flips:
        data[int(place * len(data))] ^= mask
    damaged = bytes(data[: round(length * len(data))])
    for check in (inspect, open_rgb, lambda content, limits: thumbnail(content, 16, limits)):
        with suppress(ImageProblem):
            check(damaged, LIMITS)


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_an_image_problem(data: bytes) -> None:
    for magic in (
        b"",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\0\0\0\0WEBPVP8 ",
        b"II*\0",
        b"MM\0*",
        b"GIF89a",
        b"BM",
        b"\0\0\0\x1cftypheic",
        b"\0\0\0\x1cftypavif",
        b"\xff\x4f\xff\x51",
        b"P6 ",
        b"qoif",
    ):
        with suppress(ImageProblem):
            open_rgb(magic + data, LIMITS)


def test_several_threads_may_decode_at_once() -> None:
    def sizes(_: int) -> set[tuple[int, int]]:
        return {open_rgb(data, LIMITS).size for data in FORMS.values()}

    with ThreadPoolExecutor(8) as threads:
        assert all(found == {(60, 40)} for found in threads.map(sizes, range(50)))


# ---------------------------------------------------------------- thumbnails


def test_a_thumbnail_fits_and_is_what_it_says() -> None:
    content, media_type = thumbnail(encoded(picture(1200, 800), "PNG"), 300, LIMITS)
    image = Image.open(BytesIO(content))
    assert (image.size, image.get_format_mimetype(), media_type) == ((300, 200), "image/jpeg", "image/jpeg")


def test_a_thumbnail_is_never_enlarged_and_tiny_ones_keep_every_pixel() -> None:
    digit = Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8))
    content, media_type = thumbnail(encoded(digit, "PNG"), 300, LIMITS)
    assert media_type == "image/webp"
    assert np.array_equal(np.asarray(Image.open(BytesIO(content)).convert("RGB")), np.asarray(digit))


def test_a_thumbnail_of_a_very_long_image_keeps_at_least_a_pixel() -> None:
    content, _ = thumbnail(encoded(Image.new("RGB", (3_000, 2)), "JPEG"), 200, LIMITS)
    assert Image.open(BytesIO(content)).size == (200, 1)
