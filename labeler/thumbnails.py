"""Smaller copies of images, made once and kept in the workspace by content hash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from labeler.problems import Gone, Invalid
from shared.files import write_whole
from shared.images import ImageLimits, ImageProblem, thumbnail

SIZES = (160, 320, 640)
_SUFFIXES = {".jpg": "image/jpeg", ".webp": "image/webp"}


class Thumbnails:
    """The copies of one workspace: the sizes of `SIZES`, and that of the card."""

    def __init__(self, folder: Path, display_pixels: int, limits: ImageLimits) -> None:
        self.sizes = tuple(sorted({*SIZES, display_pixels}))
        self._folder = folder
        self._limits = limits

    def get(self, sha256: str, size: int, load: Callable[[], bytes]) -> tuple[bytes, str]:
        """Bytes and media type; `load` gives the original when there is no copy yet.

        Raises Invalid for another size, Gone when the image cannot be decoded any more.
        """
        if size not in self.sizes:
            raise Invalid(f"There are no thumbnails of {size} pixels, only of {', '.join(map(str, self.sizes))}.")
        stem = self._folder / sha256[:2] / f"{sha256}-{size}"
        for suffix, media_type in _SUFFIXES.items():
            try:
                return stem.with_name(stem.name + suffix).read_bytes(), media_type
            except FileNotFoundError:
                continue
        try:
            data, media_type = thumbnail(load(), size, self._limits)
        except ImageProblem as problem:
            raise Gone(f"The image {problem}.") from None
        suffix = next(suffix for suffix, known in _SUFFIXES.items() if known == media_type)
        write_whole(stem.with_name(stem.name + suffix), data)
        return data, media_type
