"""Checks and opens images. It knows pixels, but nothing about folders, the catalogue, labels or models.

Every image file passes through here, including damaged and hostile content. Whatever is wrong with it is raised as an
`ImageProblem` whose text ends the sentence "this file …"; no other exception leaves this module. Design choices:

- The first bytes of a file determine its format, never its name. Each format has one decoder of Pillow (HEIC has one of
libheif). `Image.open` is not used: its guard against decompression bombs is a process-wide number that warns or
raises. Ours is an argument, is checked on the header before any pixel is decoded, and is thread-safe.
- The memory that a decoder will take is also estimated from the header. A file that would take more than BYTES_A_PIXEL
for each pixel of the limit is refused. All decoding of a process shares one limit: `shared.images.decoding_limit`.
Decoded images are processed in blocks, to avoid second and third copies.
- A JPEG is decoded at a half, a quarter or an eighth of its size where that is enough. The file is still read to its
end, so that a truncated one is found.
- Text, colour profiles and other metadata do not affect the pixels, so they are no reason to refuse a file.
"""

from __future__ import annotations

import hashlib
import re
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    QoiImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from shared.images import decoder_memory, decoding_limit, sixteen_bits
from shared.images.decoder_memory import pixel_bytes
from shared.images.metadata import jpeg_without_segments, png_without_notes

LOSSLESS_BELOW = 128
"""Pixels. Thumbnails up to this size are enlarged on screen, where JPEG artifacts would show."""
HEAD_BYTES = 64
"""Number of first bytes that identify an image."""
BYTES_A_PIXEL = 10
"""Memory that decoding one image may take, per pixel of the pixel limit."""

# Pillow warns on stderr about odd metadata, which does not affect the pixels and which nobody reads.
warnings.filterwarnings("ignore", module=r"PIL\.")


class ImageProblem(ValueError):  # noqa: N818 – it says what is wrong with a file, not with the program
    """A file is not usable as an image. The message completes a sentence about the file: "is not an image …"."""


class ImageWaits(ImageProblem):
    """Nothing is wrong with the file: other images used all memory for decoding. Trying again may help."""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """The largest file (bytes) and the largest image (pixels) that are read."""

    max_bytes: int
    max_pixels: int


@dataclass(frozen=True, slots=True)
class Inspected:
    """Facts about a file. `width` and `height` are pixels as displayed (after EXIF rotation), `size` is bytes."""

    sha256: str
    width: int
    height: int
    format: str
    size: int


def is_image(head: bytes) -> bool:
    """Whether a file that begins with these HEAD_BYTES is an image, even of an unsupported format."""
    return any(magic.match(head) for magic, _ in (*_DECODERS, *_UNREAD))


def check_bytes(size: int, limits: ImageLimits) -> None:
    """Raise ImageProblem if a file is empty or too large."""
    if size == 0:
        raise ImageProblem("is empty")
    if size > limits.max_bytes:
        raise ImageProblem(f"has more than {limits.max_bytes:,} bytes, the limit set by max_image_bytes")


def inspect(data: bytes, limits: ImageLimits) -> Inspected:
    """Check that `data` is an image that decodes to its end, and return its facts. Raises ImageProblem."""
    with _told_as_problem():
        form, width, height = _decoded(data, limits)
        return Inspected(hashlib.sha256(data).hexdigest(), width, height, form, len(data))


def _decoded(data: bytes, limits: ImageLimits) -> tuple[str, int, int]:
    """Format, and width and height as displayed. Raises whatever decoding raises."""
    image = _header(data, limits)
    width, height = image.size
    _draft(image, at_least=1)
    with _room(decoder_memory.of(image, data).peak, len(data), limits):
        sixteen_bits.high_bytes(image)
        sideways = _orientation(image) in _SIDEWAYS
    return image.format or "", height if sideways else width, width if sideways else height


def dimensions(data: bytes, limits: ImageLimits) -> tuple[int, int]:
    """Width and height in pixels as stored, from the header alone. Raises ImageProblem."""
    with _told_as_problem():
        return _header(data, limits).size


@contextmanager
def hold_rgb(data: bytes, limits: ImageLimits, *, at_least: int | None = None) -> Iterator[Image.Image]:
    """The image of `open_rgb`, with its memory reserved until the end of the block. Raises ImageProblem."""
    with _held(data, limits, at_least) as image:
        try:
            yield image
        finally:
            image.close()  # close it even if still referenced, because the next one starts at once


@contextmanager
def _held(data: bytes, limits: ImageLimits, at_least: int | None) -> Iterator[Image.Image]:
    with _told_as_problem():
        images = [_header(data, limits)]
        if at_least is not None:
            _draft(images[0], at_least)
        room = _room(_peak(images[0], data), len(data), limits)
        room.__enter__()
    shown = None
    try:
        with _told_as_problem():
            shown = _shown(images.pop(), data)
        yield shown
    finally:
        del shown  # free it even while an exception is still inspected
        room.__exit__(None, None, None)


def _shown(image: ImageFile.ImageFile, data: bytes) -> Image.Image:
    stored = sixteen_bits.loaded(image, lambda: _opened(data))
    return _upright(_to_rgb(stored), _orientation(image))


def open_rgb(data: bytes, limits: ImageLimits, *, at_least: int | None = None) -> Image.Image:
    """Decode to RGB as displayed: EXIF rotation applied, transparency on white, 8 bits per channel, first frame.

    With `at_least`, a JPEG may be decoded at a half, a quarter or an eighth of its size, as long as its shorter side is
    not below `at_least` pixels. Images are never enlarged. Raises ImageProblem.
    """
    with _held(data, limits, at_least) as image:
        return image


def thumbnail(data: bytes, longest: int, limits: ImageLimits) -> tuple[bytes, str]:
    """Encode a copy whose longer side is at most `longest` pixels, never enlarged; returns bytes and media type.

    Uses JPEG, which encodes ten times faster than WebP, but lossless WebP for tiny images. Raises ImageProblem.
    """
    width, height = dimensions(data, limits)
    at_least = -(-longest * min(width, height) // max(width, height))
    with hold_rgb(data, limits, at_least=max(at_least, 1)) as image, _told_as_problem():
        image.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=2.0)
        encoded = BytesIO()
        if max(image.size) <= LOSSLESS_BELOW:
            image.save(encoded, "WEBP", lossless=True)
            return encoded.getvalue(), "image/webp"
        image.save(encoded, "JPEG", quality=85)
        return encoded.getvalue(), "image/jpeg"


# ---------------------------------------------------------------- pixels


def _heif(stream: BytesIO) -> ImageFile.ImageFile:
    from pi_heif.as_plugin import HeifImageFile  # rarely needed, and slow to import

    image: ImageFile.ImageFile = HeifImageFile(stream)
    return image


class _WebP(WebPImagePlugin.WebPImageFile):
    """Frees the decoder, which holds two canvases, before the image is allocated: only the first frame is read."""

    def load_prepare(self) -> None:
        self._decoder = None
        super().load_prepare()


class _Avif(AvifImagePlugin.AvifImageFile):
    """Frees the decoder and its planes, as in _WebP."""

    def load_prepare(self) -> None:
        self._decoder = None
        super().load_prepare()


def _png(stream: BytesIO) -> ImageFile.ImageFile:
    return PngImagePlugin.PngImageFile(BytesIO(png_without_notes(stream.getvalue())))


def _jpeg(stream: BytesIO) -> ImageFile.ImageFile:
    try:
        return JpegImagePlugin.JpegImageFile(stream)
    except Exception:  # many types; perhaps only its metadata is broken
        return JpegImagePlugin.JpegImageFile(BytesIO(jpeg_without_segments(stream.getvalue())))


_DECODERS: tuple[tuple[re.Pattern[bytes], Callable[[BytesIO], ImageFile.ImageFile]], ...] = (
    (re.compile(rb"\xff\xd8\xff"), _jpeg),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), _png),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), _WebP),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), TiffImagePlugin.TiffImageFile),
    (re.compile(rb"GIF8[79]a"), GifImagePlugin.GifImageFile),
    (re.compile(rb"BM"), BmpImagePlugin.BmpImageFile),
    (re.compile(rb"....ftyp(avi[fs]|(mi|ms)(f1|af).{4,44}?avi[fs])", re.DOTALL), _Avif),
    (re.compile(rb"....ftyp(he[iv][cxms]|m[is]f1)", re.DOTALL), _heif),
    (re.compile(rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n"), Jpeg2KImagePlugin.Jpeg2KImageFile),
    (re.compile(rb"P[1-6]\s|Pf\s"), PpmImagePlugin.PpmImageFile),
    (re.compile(rb"qoif"), QoiImagePlugin.QoiImageFile),
)
_UNREAD: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n"), "a JPEG XL file"),
    (re.compile(rb"8BPS"), "a Photoshop file"),
    (re.compile(rb"\0\0[\1\2]\0[^\0]\0"), "an icon"),
    (re.compile(rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?<(svg|!DOCTYPE svg)"), "a vector drawing"),
    (re.compile(rb"FUJIFILMCCD-RAW|IIU\0|IIR[OS]|....ftypcrx ", re.DOTALL), "a camera's raw file"),
    (re.compile(rb"v/1\x01"), "an OpenEXR file"),
    (re.compile(rb"DDS "), "a texture"),
    (re.compile(rb"SIMPLE  ="), "a FITS file"),
)
"""Formats that people call images but that are not supported, with their names."""
READ = "JPEG, PNG, WebP, AVIF, HEIC, JPEG 2000, TIFF, GIF, BMP, PPM or QOI"

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
    """Turn any error into ImageProblem: on damaged files, Pillow raises OSError, SyntaxError, ValueError, struct.error,
    EOFError, KeyError and more."""
    try:
        yield
    except ImageProblem:
        raise
    except Exception as error:
        _let_go(error)
        raise _problem(error) from None


def _let_go(error: BaseException | None) -> None:
    """Clear the frames of an error's traceback, which would hold the image as long as the error is held."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _problem(error: Exception) -> ImageProblem:
    if isinstance(error, decoding_limit.NoRoom):
        return ImageWaits("waited too long for other large images to be decoded: try again")
    if isinstance(
        error, MemoryError | Image.DecompressionBombError
    ):  # the latter: Pillow's own guard, in some decoders
        return ImageProblem("is too large to be decoded")
    if _UNSUPPORTED.search(str(error)):
        return ImageProblem(
            "cannot be decoded: its format is rare, or it is damaged. Save it as a JPEG or a PNG of 8 bits"
        )
    return ImageProblem("cannot be decoded: it is damaged or cut off")


def _header(data: bytes, limits: ImageLimits) -> ImageFile.ImageFile:
    """Read the header and check the size; nothing is decoded yet."""
    check_bytes(len(data), limits)
    image = _opened(data)
    width, height = image.size
    if width * height > limits.max_pixels:
        raise ImageProblem(
            f"has {width:,} × {height:,} pixels, more than the {limits.max_pixels:,} that max_image_pixels allows"
        )
    pixels = decoder_memory.of(image, data).pixels
    if pixels > limits.max_pixels:
        raise ImageProblem(
            f"has {width:,} × {height:,} pixels, but is stored in pieces of {pixels:,}, more than the "
            f"{limits.max_pixels:,} that max_image_pixels allows: save it again as JPEG or PNG"
        )
    return image


def _draft(image: ImageFile.ImageFile, at_least: int) -> None:
    """Tell a JPEG decoder to decode at a fraction of the size."""
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        image.draft(None, (at_least, at_least))


def _peak(image: ImageFile.ImageFile, data: bytes) -> int:
    """Bytes needed to decode an image and convert it to upright RGB."""
    own = pixel_bytes(image.mode) * image.width * image.height
    deep = sixteen_bits.is_deep(image)
    decoding = decoder_memory.of(image, data).peak + (own if deep else 0)
    turned = "exif" in image.info or "xmp" in image.info or b"eXIf" in data  # perhaps: only decoding could tell
    if image.mode == "RGB" and not turned and not image.has_transparency_data:
        return decoding
    return max(decoding, own * (2 if deep and image.has_transparency_data else 1) + 4 * image.width * image.height)


@contextmanager
def _room(peak: int, read: int, limits: ImageLimits) -> Iterator[None]:
    """Reserve memory for `peak` bytes and the `read` bytes of the file. Raises ImageProblem if that exceeds the limit,
    and NoRoom.
    """
    most = BYTES_A_PIXEL * limits.max_pixels
    if peak > most:
        raise ImageProblem(
            f"takes {peak / 1e6:,.0f} MB to decode, more than the {most / 1e6:,.0f} MB that max_image_pixels allows: "
            "save it as a JPEG, or a PNG of 8 bits"
        )
    with decoding_limit.room(peak + read, limits.max_pixels):
        yield


def _opened(data: bytes) -> ImageFile.ImageFile:
    decoder = next((decoder for magic, decoder in _DECODERS if magic.match(data)), None)
    if decoder is None:
        kind = next((kind for magic, kind in _UNREAD if magic.match(data)), None)
        if kind is not None:
            raise ImageProblem(f"is {kind}, which is not supported: save it as JPEG or PNG")
        raise ImageProblem(f"is not an image ({READ})")
    image = decoder(BytesIO(data))
    if isinstance(image, TiffImagePlugin.TiffImageFile) and _is_raw(image, data):
        raise ImageProblem("is a camera's raw file, which is not supported: save it as JPEG or PNG")
    return image


def _is_raw(image: TiffImagePlugin.TiffImageFile, data: bytes) -> bool:
    """Whether it is a camera's raw file: a TIFF whose first image is often a small preview, which nobody wants to
    label."""
    tags = image.tag_v2
    preview = tags.get(_SUBFILE_TYPE) == _REDUCED and _SUB_IMAGES in tags
    return preview or _DNG_VERSION in tags or data[8:10] == b"CR"


_DNG_VERSION, _SUB_IMAGES, _SUBFILE_TYPE, _REDUCED = 50_706, 330, 254, 1
_UNSUPPORTED = re.compile("unknown|unsupported|not supported|cannot handle", re.IGNORECASE)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation of a decoded image, 1 to 8; 1 if the tag is broken, and for TIFF, which Pillow has already
    turned."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # many types; broken metadata is no reason to refuse the pixels
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TRANSPOSES[orientation]) if orientation in _TRANSPOSES else image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        return sixteen_bits.grey(image)
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    shown = Image.new("RGB", image.size)
    for box in sixteen_bits.blocks(image.size):
        block = image.crop(box).convert("RGBA")
        shown.paste(Image.alpha_composite(Image.new("RGBA", block.size, "white"), block).convert("RGB"), box)
    return shown
