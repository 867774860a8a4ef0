"""The interface of all sources of images. The services use sources only through it.

A source names each of its images by a URI without credentials. It is relative to the source, so that the source can
move. A permanent fault of an image raises `ImageProblem`. If its store does not answer now, `ImageAway` is raised, and
nobody may conclude that the image is broken or gone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from io import BufferedReader
from typing import Protocol

from shared.images.finding import Passed, counted, is_left_out
from shared.images.opening import ImageLimits, ImageProblem
from shared.images.sources.addresses import Place, climbs

Stamp = tuple[int, int]
"""Two numbers, of which at least one changes with the content: the size (1 if unknown), and another number, such as the
modification time. Zeros mean that there is no such image."""
Listed = tuple[str, Stamp | None]
"""An image in a listing: its URI, and its stamp if the listing includes it, which saves a request for it."""
NONE: Stamp = (0, 0)
LONGEST_NAME = 1_024


class ImageAway(ImageProblem):
    """The image cannot be read now, but may be fine. Trying again later may help."""


class ImageSource(Protocol):
    """One source of images. Thread-safe."""

    readers: int
    """How many images to read in parallel: few from a disk, many from a remote store."""
    far: bool
    """Whether reading goes over a network, so that it may take seconds."""

    @property
    def place(self) -> Place:
        """Its path or address."""

    def listed(self, passed: Passed) -> Iterator[Listed]:
        """All images; `passed` counts what is skipped. Raises ImageProblem, also in the middle."""

    def stamp(self, uri: str) -> Stamp:
        """The stamp of an image. When it changes, the image is read again. Raises ImageAway."""

    def read(self, uri: str, limits: ImageLimits) -> bytes:
        """The content of an image. Raises ImageProblem, ImageAway."""

    def open(self, uri: str) -> BufferedReader | None:
        """The open file of an image, if it can be sent in chunks; else None. Raises ImageProblem."""

    def is_there(self) -> bool:
        """Whether the source exists, as far as can be told without waiting."""


def is_image_name(name: str, passed: Passed) -> bool:
    """Whether a member or object with this name is listed. If not, count it in `passed`."""
    parts = name.split("/")
    if climbs("/" + name) or not all(parts) or not name.isprintable() or len(name) > LONGEST_NAME:
        passed.unusable[name[:80]] += 1
        return False
    for depth, part in enumerate(parts):
        if is_left_out(part):
            passed.hidden[part + ("/" if depth < len(parts) - 1 else "")] += 1
            return False
    return counted(parts[-1], passed)


def folded(*values: object) -> int:
    """A 63-bit hash of the values."""
    digest = hashlib.blake2b("\0".join(map(str, values)).encode(errors="surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
