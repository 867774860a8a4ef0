import os
import random
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from shared.images import ImageLimits, ImageProblem, find_images, inspect, locate, open_rgb, read, thumbnail

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


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning:PIL")  # as shared.images does outside tests
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
        (b"BM and then some text", "cannot be decoded"),
        (b"\xff\xd8\xff", "cannot be decoded"),
        (png_header(30_000, 30_000), "has 30,000 × 30,000 pixels"),
        (png_header(30, 30), "cannot be decoded"),
        (b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0) + b",\0\0\0\0\1\0\1\0\0\2\2D\1\0;", "has 60,000"),
        (bytes(LIMITS.max_bytes + 1), "has more than 1,000,000 bytes"),
    ],
)
def test_what_is_no_usable_image_is_told_in_words(check: object, data: bytes, problem: str) -> None:
    with pytest.raises(ImageProblem, match=problem):
        check(data, LIMITS)


def test_a_size_beyond_pillow_s_own_guard_is_ours_to_decide() -> None:
    side = 13_500  # 182 megapixels, where Image.open refuses
    data = encoded(Image.new("1", (side, side)), "PNG")
    assert inspect(data, ImageLimits(1_000_000, side * side)).width == side
    with pytest.raises(ImageProblem, match="max_image_pixels"):
        inspect(data, ImageLimits(1_000_000, side * side - 1))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
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
def test_random_bytes_are_no_image(data: bytes) -> None:
    for magic in (
        b"",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\0\0\0\0WEBPVP8 ",
        b"II*\0",
        b"MM\0*",
        b"GIF89a",
        b"BM",
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


# ---------------------------------------------------------------- files


def test_images_are_found_sorted_in_all_folders_and_nothing_else(tmp_path: Path) -> None:
    names = ["a/1.jpg", "a/b/2.PNG", "a-b.jpg", "a.jpg", "Z.webp", "ü 😀 'x' \"y\".tif", "d" * 246 + ".gif"]
    for name in [*names, "a/notes.txt", ".hidden.jpg", ".git/x.jpg", "__MACOSX/._a.jpg", "noend", "jpg"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(FORMS["PNG"])
    (tmp_path / "folder.jpg").mkdir()
    assert list(find_images(tmp_path)) == sorted(names)
    for name in names:
        assert read(name, tmp_path, LIMITS) == FORMS["PNG"]


def test_walking_takes_a_folder_at_a_time(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "x.jpg").touch()
    found = find_images(tmp_path)
    assert next(found) == "0/x.jpg"
    (tmp_path / "2" / "later.jpg").touch()
    assert list(found) == ["1/x.jpg", "2/later.jpg", "2/x.jpg"]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ImageProblem, match="is not a folder"):
        list(find_images(tmp_path / "nowhere"))


def test_links_are_not_walked_in_circles_and_do_not_lead_out(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.jpg").write_bytes(FORMS["JPEG"])
    (root / "real.jpg").write_bytes(FORMS["JPEG"])
    (root / "again.jpg").symlink_to("real.jpg")
    (root / "out.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "round.jpg").symlink_to("round.jpg")
    (root / "gone.jpg").symlink_to("nowhere.jpg")
    (root / "loop").symlink_to(root, target_is_directory=True)
    (root / "up").symlink_to(tmp_path, target_is_directory=True)
    assert list(find_images(root)) == ["again.jpg", "gone.jpg", "out.jpg", "real.jpg", "round.jpg"]
    assert read("again.jpg", root, LIMITS) == FORMS["JPEG"]
    for uri, problem in {
        "out.jpg": "out of the image folder",
        "up/secret.jpg": "out of the image folder",
        "round.jpg": "cannot be read|not there",
        "gone.jpg": "is not there",
    }.items():
        with pytest.raises(ImageProblem, match=problem):
            read(uri, root, LIMITS)


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("../../etc/passwd", "outside the image folder"),
        ("a/../../../etc/passwd", "outside the image folder"),
        ("/etc/passwd", "outside the image folder"),
        ("file:///etc/passwd", "address of another kind"),
        ("http://127.0.0.1:3333/status", "address of another kind"),
        ("S3://bucket/key.jpg", "address of another kind"),
        ("", "is not a file"),
        (".", "is not a file"),
        ("sub", "is not a file"),
        ("nowhere.jpg", "is not there any more"),
        ("a.jpg/b.jpg", "cannot be read|is not there"),
        ("nul\0byte.jpg", "cannot be read"),
        ("x" * 5_000, "cannot be read"),
        ("lone\ud800surrogate.jpg", "cannot be read"),
    ],
)
def test_a_uri_that_names_no_file_of_the_folder_is_refused(tmp_path: Path, uri: str, problem: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.jpg").write_bytes(FORMS["JPEG"])
    with pytest.raises(ImageProblem, match=problem):
        locate(uri, tmp_path)


@given(st.text(max_size=40))
def test_no_uri_raises_anything_but_an_image_problem(uri: str) -> None:
    root = Path(__file__).parent
    with suppress(ImageProblem):
        assert locate(uri, root).is_relative_to(root.resolve())


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX alone")
def test_a_name_that_is_not_utf_8_is_listed_and_refused_with_advice(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")).write_bytes(FORMS["JPEG"])
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (uri,) = find_images(tmp_path)
    assert uri.encode("utf-8") == rb"caf\udce9.jpg"
    with pytest.raises(ImageProblem, match="rename the file"):
        read(uri, tmp_path, LIMITS)


def test_a_file_that_vanished_was_emptied_or_grew_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(FORMS["JPEG"])
    assert read("a.jpg", tmp_path, LIMITS) == FORMS["JPEG"]
    path.write_bytes(b"")
    with pytest.raises(ImageProblem, match="is empty"):
        read("a.jpg", tmp_path, LIMITS)
    path.write_bytes(random.Random(0).randbytes(LIMITS.max_bytes + 1))
    with pytest.raises(ImageProblem, match="more than 1,000,000 bytes"):
        read("a.jpg", tmp_path, LIMITS)
    path.unlink()
    with pytest.raises(ImageProblem, match="is not there any more"):
        read("a.jpg", tmp_path, LIMITS)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageProblem, match="is not a file"):
        read("pipe.jpg", tmp_path, LIMITS)
