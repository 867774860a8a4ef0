"""Finds images to check for reasons other than their label: copies with different labels, copies across splits, and
images that are dark, blurred, tiny or of extreme shape.

Darkness and sharpness need the pixels of every image, so a separate thread measures them on thumbnails once somebody
opens the list. An image is odd if it differs much from the rest of the project: among digits of 8 × 8 pixels, none is
tiny. Only train images are listed.
"""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable
from io import BytesIO

from PIL import Image, ImageFilter, ImageStat

from labeler.errors import Busy, Problem
from labeler.images.catalog import Catalog
from labeler.store.database import Store
from labeler.trainer_link.controls import Trainer
from labeler.visibility import Visibility
from shared.wire.review import NearDuplicates, Oddities

DARK = 25.0  # mean brightness, 0 … 255
BLURRED = 0.1  # share of the median variance of the Laplacian
TINY = 0.25  # share of the median shorter side
EXTREME = 3.0  # aspect ratio; also at least twice the median
FEWEST = 20  # minimum images for comparisons with the median
SIZE = 160  # pixels of the thumbnails measured
LISTED = 200
_BATCH = 500
_EDGES = ImageFilter.Kernel((3, 3), [0, 1, 0, 1, -4, 1, 0, 1, 0], scale=1, offset=128)


class OddImages:
    """The odd images of one workspace. `thumbnail` returns a small copy: bytes, media type, content hash."""

    def __init__(
        self,
        store: Store,
        visibility: Visibility,
        catalog: Catalog,
        trainer: Trainer,
        thumbnail: Callable[[int, int], tuple[bytes, str, str]],
    ) -> None:
        self._store = store
        self._visibility = visibility
        self._catalog = catalog
        self._trainer = trainer
        self._thumbnail = thumbnail
        self._measured: dict[int, tuple[float, float] | None] = {}  # (brightness, sharpness); None: unreadable
        self._starting = threading.Lock()
        self._closing = threading.Event()
        self._worker: threading.Thread | None = None
        self._known: tuple[object, NearDuplicates] | None = None  # the trainer's state, and the copies in that state

    def lists(self) -> Oddities:
        """The odd images found so far. Measuring continues in the background."""
        with self._store.lock:
            train = self._visibility.all_listable()
        self._measure(train)
        shapes = self._shapes(train)
        measured = {image_id: self._measured[image_id] for image_id in train if image_id in self._measured}
        light = {image_id: each[0] for image_id, each in measured.items() if each is not None}
        sharp = {image_id: each[1] for image_id, each in measured.items() if each is not None}
        short = {image_id: float(min(shape)) for image_id, shape in shapes.items()}
        long = {image_id: max(shape) / min(shape) for image_id, shape in shapes.items()}
        copies = self._copies()
        there = set(train)
        return Oddities(
            differing=[pair for pair in copies.differing if there.issuperset(pair)],
            across=[image_id for image_id in copies.across if image_id in there],
            dark=_below(light, DARK),
            blurred=_below(sharp, BLURRED * _median(sharp)),
            tiny=_below(short, TINY * _median(short)),
            extreme=_below({each: -ratio for each, ratio in long.items()}, -max(EXTREME, 2 * _median(long))),
            measured=len(measured),
            total=len(train),
        )

    def close(self) -> None:
        """Stop measuring."""
        self._closing.set()
        if self._worker is not None:
            self._worker.join(10)

    def _copies(self) -> NearDuplicates:
        """Near copies from the trainer, requested again only after new labels or images, because pages poll every few
        seconds.
        """
        status, known = self._trainer.status(), self._known
        state = status and (status.log_id, status.acked_seq, status.embedding)
        if known is not None and known[0] == state:
            return known[1]
        try:
            copies = self._trainer.near_duplicates(LISTED)
        except Problem:  # nothing is embedded, or no trainer: the other lists do not need it
            return NearDuplicates(differing=[], across={})
        self._known = (state, copies)
        return copies

    def _shapes(self, image_ids: list[int]) -> dict[int, tuple[int, int]]:
        shapes: dict[int, tuple[int, int]] = {}
        for start in range(0, len(image_ids), _BATCH):
            shapes |= self._catalog.shapes(image_ids[start : start + _BATCH])
        return shapes

    def _measure(self, image_ids: list[int]) -> None:
        with self._starting:
            busy = self._worker is not None and self._worker.is_alive()
            left = [image_id for image_id in image_ids if image_id not in self._measured]
            if left and not busy and not self._closing.is_set():
                self._worker = threading.Thread(target=self._run, args=(left,), name="oddities", daemon=True)
                self._worker.start()

    def _run(self, image_ids: list[int]) -> None:
        for image_id in image_ids:
            if self._closing.is_set():
                return
            try:
                self._measured[image_id] = measure(self._thumbnail(image_id, SIZE)[0])
            except Busy:
                continue  # it is measured when it can be read
            except (Problem, OSError):
                self._measured[image_id] = None


def measure(data: bytes) -> tuple[float, float]:
    """Mean brightness (0 … 255) and sharpness (variance of the Laplacian) of an encoded image."""
    with Image.open(BytesIO(data)) as image:
        grey = image.convert("L")
    width, height = grey.size
    inner = (1, 1, width - 1, height - 1)  # the filter does not process the outermost pixels
    sharpness = ImageStat.Stat(grey.filter(_EDGES).crop(inner)).var[0] if min(grey.size) > 2 else 0.0
    return ImageStat.Stat(grey).mean[0], sharpness


def _median(values: dict[int, float]) -> float:
    return statistics.median(values.values()) if len(values) >= FEWEST else 0.0


def _below(values: dict[int, float], threshold: float) -> list[int]:
    found = sorted((value, image_id) for image_id, value in values.items() if value < threshold)
    return [image_id for _, image_id in found[:LISTED]]
