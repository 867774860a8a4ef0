"""Smaller copies of images, made once and stored in the workspace by content hash."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from labeler.errors import Busy, Gone, Invalid
from shared.images.opening import ImageLimits, ImageProblem, ImageWaits, thumbnail
from shared.storage.disk_errors import Disk
from shared.storage.whole_files import write_whole

logger = logging.getLogger(__name__)

SIZES = (160, 320, 640)
LARGE_PIXELS = 12_000_000
"""Images larger than this are decoded on separate threads, because decoding them takes long."""
_SUFFIXES = {".jpg": "image/jpeg", ".webp": "image/webp"}


def thumbnail_url(image_id: int, sha256: str, size: int | None = None) -> str:
    """The URL of an image's smaller copy. Browsers may cache it for ever, because it contains the content hash.

    Without a size, the page chooses one; see `resized`.
    """
    given = "" if size is None else f"size={size}&"
    return f"/api/images/{image_id}/thumbnail?{given}v={sha256[:12]}"


def resized(url: str, size: int) -> str:
    """Add a size to a URL that has none."""
    return f"{url}&size={size}"


class Thumbnails:
    """The copies of one workspace, in the sizes `SIZES` and that of the card."""

    def __init__(self, folder: Path, display_pixels: int, limits: ImageLimits, disk: Disk | None = None) -> None:
        self.sizes = tuple(sorted({*SIZES, display_pixels}))
        self._folder = folder
        self._limits = limits
        self._disk = disk or Disk(folder)
        self._warned = False

    def get(self, sha256: str, size: int, load: Callable[[], bytes]) -> tuple[bytes, str]:
        """Bytes and media type; `load` returns the original if there is no copy yet.

        Raises Invalid for another size, Gone if the image cannot be decoded any more, and Busy while other images use
        all memory for decoding.
        """
        kept = self.kept(sha256, size)
        if kept is not None:
            return kept
        try:
            data, media_type = thumbnail(load(), size, self._limits)
        except ImageWaits as problem:
            raise Busy(f"The image {problem}.") from None
        except ImageProblem as problem:
            raise Gone(f"The image {problem}.") from None
        suffix = next(suffix for suffix, known in _SUFFIXES.items() if known == media_type)
        if self._disk.trouble is None:
            try:
                write_whole(self._path(sha256, size, suffix), data)
            except OSError as error:  # the copy only saves time
                if self._disk.notice(error) is None and not self._warned:
                    self._warned = True
                    logger.warning("Thumbnails cannot be stored: %s.", error)
        return data, media_type

    def kept(self, sha256: str, size: int) -> tuple[bytes, str] | None:
        """The stored copy, if any. Raises Invalid for a size that does not exist."""
        if size not in self.sizes:
            raise Invalid(f"There are no thumbnails of {size} pixels, only of {', '.join(map(str, self.sizes))}.")
        for suffix, media_type in _SUFFIXES.items():
            try:
                return self._path(sha256, size, suffix).read_bytes(), media_type
            except OSError:  # missing or unreadable: it is made again
                continue
        return None

    def _path(self, sha256: str, size: int, suffix: str) -> Path:
        return self._folder / sha256[:2] / f"{sha256}-{size}{suffix}"
