"""Find, read, check and open images. Knows files and pixels; knows nothing of catalogue, labels or models.

Everything a folder of photos may hold passes through here, damaged and hostile files too. Whatever is wrong with one is
told as an `ImageProblem` whose text ends the sentence "this file …"; no other exception leaves this module. Two choices
behind that:

- Files are opened with Pillow's own decoders for six formats, picked by their first bytes, and not with `Image.open`,
  whose guard against decompression bombs is a process-wide number that warns or raises. Ours is an argument, checked on
  the header before a pixel is decoded, and safe in any number of threads.
- A JPEG is decoded at a half, a quarter or an eighth of its size where that is enough. The file is still read to its
  end, so that a truncated one is found.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

log = logging.getLogger(__name__)

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
"""What `find_images` lists, lower case."""

LOSSLESS_BELOW = 128
"""Pixels. A thumbnail this small is enlarged on screen, where JPEG's blocks would show."""

# Pillow warns on stderr about odd metadata, which says nothing about the pixels and reaches nobody.
warnings.filterwarnings("ignore", module=r"PIL\.")


class ImageProblem(ValueError):  # noqa: N818 – it says what is wrong with a file, not with the program
    """What is wrong with a file. The text ends a sentence about it: "is not an image …"."""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """The largest file and the largest image that are read."""

    max_bytes: int
    max_pixels: int


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a file is. `width` and `height` are pixels as displayed (after EXIF rotation), `size` is bytes."""

    sha256: str
    width: int
    height: int
    format: str
    size: int


def find_images(root: Path) -> Iterator[str]:
    """Walk the images under `root`: POSIX paths relative to it, in code point order, hidden files and folders left out.

    Holds one folder's names at a time. A link to a file is listed (and refused on opening if it leads out of `root`), a
    link to a folder is not followed, so that no loop is walked. A name that is not UTF-8 is listed with its odd bytes
    escaped; opening it says what to do. Raises ImageProblem when `root` is not a folder that can be read.
    """
    try:
        yield from _walk(root, "")
    except OSError as error:
        raise ImageProblem(f"is not a folder that can be read ({error.strerror})") from None


def locate(uri: str, root: Path) -> Path:
    """Real path of the file that `uri` names under `root`.

    Raises ImageProblem when it leads out of `root`, by its text or over a link, is not there, or is not a file.
    """
    if _SCHEME.match(uri):
        raise ImageProblem("has an address of another kind: only files in the image folder are read")
    relative = PurePosixPath(uri)
    if relative.is_absolute() or ".." in relative.parts:
        raise ImageProblem("lies outside the image folder")
    try:
        base = root.resolve(strict=True)
        path = (base / relative).resolve(strict=True)
        is_file = path.is_file()
    except FileNotFoundError:
        if _ESCAPED.search(uri):
            raise ImageProblem("has a file name that is not UTF-8: rename the file") from None
        raise ImageProblem("is not there any more") from None
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a loop of links, up to Python 3.12
        raise ImageProblem(f"cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not path.is_relative_to(base):
        raise ImageProblem("is a link that leads out of the image folder")
    if not is_file:
        raise ImageProblem("is not a file")
    return path


def read(uri: str, root: Path, limits: ImageLimits) -> bytes:
    """Content of the file that `uri` names under `root`; raises ImageProblem, also when it is empty or too large."""
    path = locate(uri, root)
    try:
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ImageProblem("is not a file")
            _check_bytes(status.st_size, limits)
            data = stream.read(limits.max_bytes + 1)  # it may grow while it is read
    except FileNotFoundError:
        raise ImageProblem("is not there any more") from None
    except OSError as error:
        raise ImageProblem(f"cannot be read ({error.strerror})") from None
    _check_bytes(len(data), limits)
    return data


def inspect(data: bytes, limits: ImageLimits) -> Inspected:
    """Check that `data` is an image that decodes to its end, and say what it is. Raises ImageProblem."""
    with _told_as_problem():
        image = _header(data, limits)
        width, height = image.size
        _decode(image, at_least=1)
        if _orientation(image) in _SIDEWAYS:
            width, height = height, width
        return Inspected(hashlib.sha256(data).hexdigest(), width, height, image.format or "", len(data))


def dimensions(data: bytes, limits: ImageLimits) -> tuple[int, int]:
    """Width and height in pixels as stored, from the header alone. Raises ImageProblem."""
    with _told_as_problem():
        return _header(data, limits).size


def open_rgb(data: bytes, limits: ImageLimits, *, at_least: int | None = None) -> Image.Image:
    """Decode to RGB as displayed: EXIF rotation applied, transparency on white, 8 bits a channel, first frame.

    With `at_least`, a JPEG may come back at a half, a quarter or an eighth of its size, its short side not below
    `at_least` pixels (nor the image enlarged). Raises ImageProblem.
    """
    with _told_as_problem():
        image = _header(data, limits)
        _decode(image, at_least)
        return _upright(_to_rgb(image), _orientation(image))


def thumbnail(data: bytes, longest: int, limits: ImageLimits) -> tuple[bytes, str]:
    """Encode a copy whose longer side is at most `longest` pixels, never enlarged; returns bytes and media type.

    JPEG, which encodes ten times faster than WebP; lossless WebP for tiny images. Raises ImageProblem.
    """
    with _told_as_problem():
        header = _header(data, limits)
        at_least = -(-longest * min(header.size) // max(header.size))
        image = open_rgb(data, limits, at_least=max(at_least, 1))
        image.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=2.0)
        encoded = BytesIO()
        if max(image.size) <= LOSSLESS_BELOW:
            image.save(encoded, "WEBP", lossless=True)
            return encoded.getvalue(), "image/webp"
        image.save(encoded, "JPEG", quality=85)
        return encoded.getvalue(), "image/jpeg"


# ---------------------------------------------------------------- names

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_ESCAPED = re.compile(r"\\udc[89a-f][0-9a-f]")


def _walk(folder: Path, prefix: str) -> Iterator[str]:
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                names.append(entry.name + "/")  # sorts the folder's content where its URIs belong
            elif Path(entry.name).suffix.lower() in SUFFIXES:
                names.append(entry.name)
    for name in sorted(names):
        if not name.endswith("/"):
            yield (prefix + name).encode("utf-8", "backslashreplace").decode()
            continue
        try:
            yield from _walk(folder / name, prefix + name)
        except OSError as error:
            log.warning("The folder %r is left out: %s.", prefix + name, error.strerror)


def _check_bytes(size: int, limits: ImageLimits) -> None:
    if size == 0:
        raise ImageProblem("is empty")
    if size > limits.max_bytes:
        raise ImageProblem(f"has more than {limits.max_bytes:,} bytes, the limit that max_image_bytes sets")


# ---------------------------------------------------------------- pixels

_DECODERS: tuple[tuple[re.Pattern[bytes], Callable[..., ImageFile.ImageFile]], ...] = (
    (re.compile(rb"\xff\xd8\xff"), JpegImagePlugin.JpegImageFile),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), PngImagePlugin.PngImageFile),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), WebPImagePlugin.WebPImageFile),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), TiffImagePlugin.TiffImageFile),
    (re.compile(rb"GIF8[79]a"), GifImagePlugin.GifImageFile),
    (re.compile(rb"BM"), BmpImagePlugin.BmpImageFile),
)

_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = frozenset({5, 6, 7, 8})


@contextmanager
def _told_as_problem() -> Iterator[None]:
    """Pillow raises OSError, SyntaxError, ValueError, struct.error, EOFError, KeyError and more on damaged files."""
    try:
        yield
    except ImageProblem:
        raise
    except (MemoryError, Image.DecompressionBombError):  # the latter: Pillow's own guard, inside some decoders
        raise ImageProblem("is too large to be decoded") from None
    except Exception:
        raise ImageProblem("cannot be decoded: it is damaged or cut off") from None


def _header(data: bytes, limits: ImageLimits) -> ImageFile.ImageFile:
    """The image with its header read and its size checked, nothing decoded yet."""
    _check_bytes(len(data), limits)
    decoder = next((decoder for magic, decoder in _DECODERS if magic.match(data)), None)
    if decoder is None:
        raise ImageProblem("is not an image (JPEG, PNG, WebP, BMP, TIFF or GIF)")
    image = decoder(BytesIO(data))
    width, height = image.size
    if width * height > limits.max_pixels:
        raise ImageProblem(
            f"has {width:,} × {height:,} pixels, more than the {limits.max_pixels:,} that max_image_pixels allows"
        )
    return image


def _decode(image: ImageFile.ImageFile, at_least: int | None) -> None:
    if at_least is not None and isinstance(image, JpegImagePlugin.JpegImageFile):
        image.draft(None, (at_least, at_least))
    image.load()


def _orientation(image: Image.Image) -> int:
    """EXIF orientation of a decoded image, 1 to 8; 1 where the tag is broken, and for a TIFF, which Pillow turned."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # of many kinds; broken metadata is no reason to refuse the pixels
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TRANSPOSES[orientation]) if orientation in _TRANSPOSES else image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        image = _to_8_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Grey of more than 8 bits, down to 8 by the power of two that its brightest pixel needs.

    Cameras put 10, 12 or 14 bits into 16-bit files; dividing by 256 would show those almost black.
    """
    values = np.nan_to_num(np.asarray(image, dtype=np.float32)).clip(0)  # (H, W)
    brightest = float(values.max(initial=0))
    if image.mode == "F" and brightest <= 1:
        return Image.fromarray((values * 255).astype(np.uint8))
    _, bits = math.frexp(brightest)
    return Image.fromarray((values / 2.0 ** max(bits - 8, 0)).astype(np.uint8))
