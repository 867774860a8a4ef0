"""The feature maps of images: computed once, kept on disk, and found by the content hash of the image.

A labeled image has VIEWS views, from which the detector learns. Any other image has only its plain view, in which boxes
are detected. On a canvas of 320 pixels, a view takes 282 kB as float16, so a labeled image takes 2.3 MB. Files are
memory-mapped: frequently used maps stay in the system's file cache, which shrinks when memory is needed, so this
process holds only the maps of one batch. The maps of one network and canvas take at most `most_bytes`: the least
recently used ones are deleted first and computed again when needed. A damaged file counts as missing. Files are written
atomically.

This module knows no labels: a view depends only on the hash of the image, and boxes are placed on it later.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from shared.images.opening import ImageLimits
from shared.storage.whole_files import write_whole
from trainer.detection.placement import Placement, opened
from trainer.detection.pyramid import Maps, Pyramid

VIEWS = 8
"""Views of a labeled image: the plain one, and seven zoomed, shifted, mirrored and recoloured ones."""
MOST_BYTES = 4 * 10**9
"""Default size limit of these files: at 320 pixels, enough for 1,700 labeled images, or 14,000 plain views."""
COLOUR = 0.25
"""A view's brightness, contrast and saturation change by at most this share."""
DEFINITION = 1
"""Version of the canvas and of the views. Maps of another version are not used."""
LEVELS = ("low", "middle", "high")


@dataclass(frozen=True, slots=True)
class View:
    """The maps of one view of an image, and where the image lies on its canvas."""

    maps: Maps
    placement: Placement


class FeatureMaps:
    """Maps under `folder`. Thread-safe.

    `fetch` returns the content of an image by its hash. It is called when maps are missing, and may raise ImageProblem.
    Every method that computes maps then raises it too. All methods raise OSError if the disk fails.
    """

    def __init__(
        self,
        folder: Path,
        pyramid: Pyramid,
        limits: ImageLimits,
        fetch: Callable[[str], bytes],
        *,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.pyramid = pyramid
        self._folder = folder / f"{pyramid.key}-views{DEFINITION}"
        self._folder.mkdir(parents=True, exist_ok=True)
        for torn in self._folder.glob(".*.part"):
            torn.unlink(missing_ok=True)
        self._limits = limits
        self._fetch = fetch
        self._most_bytes = most_bytes
        self._lock = Lock()
        self._bytes = sum(each.stat().st_size for each in self._folder.glob("*.safetensors"))

    def has_plain(self, sha256: str) -> bool:
        """Whether the plain view is on disk."""
        return self._path(sha256, views=True).is_file() or self._path(sha256, views=False).is_file()

    def has_views(self, sha256: str) -> bool:
        """Whether the views to learn from are on disk."""
        return self._path(sha256, views=True).is_file()

    def plain(self, sha256: str) -> View:
        """The plain view, computed if it is missing (50 ms on one core)."""
        for views in (True, False):
            found = self._read(sha256, 0, views=views)
            if found is not None:
                return found
        return self._computed(sha256, views=False)[0]

    def view(self, sha256: str, number: int) -> View:
        """One of the VIEWS views. If it is missing, all of them are computed (0.5 s on one core)."""
        found = self._read(sha256, number, views=True)
        return found if found is not None else self._computed(sha256, views=True)[number]

    def forget(self, keep: Collection[str]) -> None:
        """Delete the maps of all images except `keep`."""
        for path in self._folder.glob("*.safetensors"):
            if path.name.partition("-")[0] not in keep:
                self._delete(path)

    # ---------------------------------------------------------------- details

    def _path(self, sha256: str, *, views: bool) -> Path:
        return self._folder / f"{bytes.fromhex(sha256).hex()}-{'views' if views else 'plain'}.safetensors"

    def _read(self, sha256: str, number: int, *, views: bool) -> View | None:
        path = self._path(sha256, views=views)
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                placement = Placement.of_numbers(file.get_slice("placements")[number].numpy())
                low, middle, high = (file.get_slice(level)[number] for level in LEVELS)
        except (SafetensorError, OSError, ValueError, IndexError):
            self._delete(path)
            return None
        with suppress(OSError):
            os.utime(path)  # mark it as recently used
        return View((low, middle, high), placement)

    def _computed(self, sha256: str, *, views: bool) -> list[View]:
        canvases, placements = self._canvases(self._fetch(sha256), sha256, VIEWS if views else 1)
        maps = self.pyramid.maps(canvases)
        tensors = {level: torch.stack([each[i] for each in maps]) for i, level in enumerate(LEVELS)}
        tensors["placements"] = torch.tensor([each.numbers() for each in placements], dtype=torch.float64)
        data = save(tensors)
        self._make_room(len(data))
        path = self._path(sha256, views=views)
        before = path.stat().st_size if path.is_file() else 0
        write_whole(path, data)
        with self._lock:
            self._bytes += len(data) - before
        if views:  # the plain view is one of them
            self._delete(self._path(sha256, views=False))
        return [View(each, placement) for each, placement in zip(maps, placements, strict=True)]

    def _canvases(self, data: bytes, sha256: str, count: int) -> tuple[NDArray[np.uint8], list[Placement]]:
        size, background = self.pyramid.size, self.pyramid.background
        draws = np.random.default_rng(int(sha256[:16], 16))
        with opened(data, self._limits, size) as (image, width, height):
            placements = [Placement.letterbox(width, height, size)]
            painted = [placements[0].paint(image, background)]
            for _ in range(count - 1):
                placements.append(Placement.drawn(width, height, size, draws))
                painted.append(_recoloured(placements[-1].paint(image, background), draws))
        return np.stack([np.asarray(each).transpose(2, 0, 1) for each in painted]), placements

    def _make_room(self, coming: int) -> None:
        """Delete the least recently used files until `coming` bytes fit."""
        with self._lock:
            if self._bytes + coming <= self._most_bytes:
                return
        files = []
        for path in self._folder.glob("*.safetensors"):
            with suppress(FileNotFoundError):
                files.append((path.stat().st_mtime_ns, path))
        for _, path in sorted(files):
            with self._lock:
                if self._bytes + coming <= 0.9 * self._most_bytes:
                    return
            self._delete(path)

    def _delete(self, path: Path) -> None:
        with suppress(FileNotFoundError):
            size = path.stat().st_size
            path.unlink()
            with self._lock:
                self._bytes -= size


def _recoloured(canvas: Image.Image, draws: np.random.Generator) -> Image.Image:
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        canvas = change(canvas).enhance(1 + float(draws.uniform(-COLOUR, COLOUR)))
    return canvas
