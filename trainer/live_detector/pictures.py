"""The detector's view of the catalogued images: their feature maps, and the boxes it finds, by image id.

Feature maps are computed once and kept on disk (`trainer.detection.feature_maps`). Found boxes are kept for one
detector only, because each round creates a new one. Only the loop's thread searches and learns; `hash_of`, `maps`,
`maps_of` and `find` are for all threads.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from shared.images.opening import ImageLimits, ImageProblem, dimensions
from shared.wire.images import ImageEntry
from trainer.evaluation.box_matching import Placed
from trainer.live_detector import canvas
from trainer.sync.replica import Replica

if TYPE_CHECKING:  # torch takes seconds to import
    from trainer.detection.detections import Detections
    from trainer.detection.detector import Detector
    from trainer.detection.feature_maps import FeatureMaps

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Images per detection chunk. Between chunks `should_stop` is called. A chunk takes a quarter of a second without
computing maps.
"""
RETRY_SECONDS = 30.0
"""Seconds until an unreadable image is tried again, because the labeler may have been offline. The pause doubles with
each failure, up to LONGEST_RETRY.
"""
LONGEST_RETRY = 3_600.0


class Pictures:
    """Images of the catalogue in `replica`. `open_maps` opens their feature maps, given a function that reads a file by
    its hash, and the side of the canvas in pixels. `fetch` reads a catalogued image or raises ImageProblem. A new
    detector learns from canvases of `canvas` pixels a side.
    """

    def __init__(
        self,
        replica: Replica,
        fetch: Callable[[ImageEntry], bytes],
        open_maps: Callable[[Callable[[str], bytes], int], FeatureMaps],
        limits: ImageLimits,
    ) -> None:
        self._replica = replica
        self._fetch = fetch
        self._open_maps = open_maps
        self._limits = limits
        self._opening = Lock()
        self._maps: dict[int, FeatureMaps] = {}  # by the size of the canvas
        self.canvas = canvas.USUAL
        self._sizes: dict[str, tuple[int, int]] = {}  # by hash, of images whose objects were measured
        self._ids: dict[str, int] = {}  # by hash, of images that were requested
        self._unreadable: dict[str, tuple[float, float]] = {}  # hash → time of the next try, and the pause before it
        self._of: Detector | None = None  # the detector that found …
        self._found: dict[str, Placed] = {}  # … these boxes, by hash

    @property
    def maps(self) -> FeatureMaps:
        """The feature maps of a new detector. Raises NotInstalledError if the frozen network is missing."""
        return self.maps_of(self.canvas)

    def maps_of(self, size: int) -> FeatureMaps:
        """The feature maps of canvases of `size` pixels. Raises NotInstalledError like `maps`."""
        with self._opening:  # a second one would delete what the first is writing
            if size not in self._maps:
                self._maps[size] = self._open_maps(self._read, size)
            return self._maps[size]

    def sizes(self, image_ids: Iterable[int]) -> dict[int, tuple[int, int]]:
        """Width and height in pixels of those images that can be read."""
        found = {}
        for image_id in image_ids:
            sha256 = self.hash_of(image_id)
            if sha256 is None:
                continue
            try:
                if sha256 not in self._sizes:
                    self._sizes[sha256] = dimensions(self._read(sha256), self._limits)
                found[image_id] = self._sizes[sha256]
            except ImageProblem as problem:
                self._give_up(sha256, problem)
        return found

    def start_over(self) -> None:
        """Follow another log. Maps stay, because they are keyed by content."""
        self._ids.clear()
        self._sizes.clear()
        self._unreadable.clear()
        self._found.clear()

    def hash_of(self, image_id: int) -> str | None:
        """The content hash of a catalogued image. None if the image is not in the catalogue or currently unreadable."""
        sha256 = self._replica.hash_of(image_id)
        if sha256 is None:
            return None
        until, _ = self._unreadable.get(sha256, (0.0, 0.0))
        if until > time.monotonic():
            return None
        self._ids[sha256] = image_id
        return sha256

    def has_views(self, image_id: int) -> bool:
        """Whether the image can be learned without computing anything first. True if it is unreadable."""
        sha256 = self.hash_of(image_id)
        return sha256 is None or self.maps.has_views(sha256)

    def make_views(self, image_id: int) -> None:
        """Compute the views from which the detector learns an image (0.5 s)."""
        sha256 = self.hash_of(image_id)
        if sha256 is not None and not self.maps.has_views(sha256):
            try:
                self.maps.view(sha256, 0)
            except ImageProblem as problem:
                self._give_up(sha256, problem)

    def make_plain(self, image_id: int) -> None:
        """Compute the maps in which boxes are detected (50 ms)."""
        sha256 = self.hash_of(image_id)
        if sha256 is not None and not self.maps.has_plain(sha256):
            try:
                self.maps.plain(sha256)
            except ImageProblem as problem:
                self._give_up(sha256, problem)

    def unseen(self, detector: Detector, image_ids: Iterable[int]) -> list[int]:
        """The images that the detector has not searched yet."""
        known = self._found if detector is self._of else {}
        hashes = ((image_id, self.hash_of(image_id)) for image_id in image_ids)
        return [image_id for image_id, sha256 in hashes if sha256 is not None and sha256 not in known]

    def look(
        self, detector: Detector, image_ids: Sequence[int], should_stop: Callable[[], bool] = lambda: False
    ) -> bool:
        """Detect boxes in these images. Return False if `should_stop` ended the search early."""
        if detector is not self._of:
            self._of, self._found = detector, {}
        coming = self.unseen(detector, image_ids)
        for start in range(0, len(coming), AT_ONCE):
            if start and should_stop():
                return False
            views = []
            for image_id in coming[start : start + AT_ONCE]:
                sha256 = self.hash_of(image_id)
                if sha256 is None:
                    continue
                try:
                    views.append((sha256, self.maps_of(detector.size).plain(sha256)))
                except ImageProblem as problem:
                    self._give_up(sha256, problem)
            found = detector.detect_all([view for _, view in views])
            for (sha256, _), each in zip(views, found, strict=True):
                self._found[sha256] = Placed(
                    each.classes, each.boxes.astype(np.float64), each.scores.astype(np.float64)
                )
        return True

    def found(self, detector: Detector, image_ids: Sequence[int]) -> list[Placed | None]:
        """The boxes found in each image, with any score, or None if it is unreadable. Detects where necessary."""
        self.look(detector, image_ids)
        hashes = [self.hash_of(image_id) for image_id in image_ids]
        return [self._found.get(each) if each is not None else None for each in hashes]

    def find(self, detector: Detector, data: bytes, limits: ImageLimits) -> Detections:
        """Detect the objects in any image file. Thread-safe. Raises ImageProblem."""
        from trainer.detection.feature_maps import View
        from trainer.detection.placement import Placement, opened

        pyramid = self.maps_of(detector.size).pyramid
        with opened(data, limits, pyramid.size) as (image, width, height):
            placement = Placement.letterbox(width, height, pyramid.size)
            painted = np.asarray(placement.paint(image, pyramid.background)).transpose(2, 0, 1)
        [maps] = pyramid.maps(np.ascontiguousarray(painted[None]))
        return detector.detect(View(maps, placement))

    def known(self, detector: Detector, image_id: int) -> Placed | None:
        """The boxes found in an image, or None if the detector has not searched it yet."""
        sha256 = self.hash_of(image_id)
        return self._found.get(sha256) if sha256 is not None and detector is self._of else None

    def _read(self, sha256: str) -> bytes:
        entry = self._entry(sha256)
        if entry is None:
            raise ImageProblem("no longer exists")
        return self._fetch(entry)

    def _entry(self, sha256: str) -> ImageEntry | None:
        return next(iter(self._replica.images([self._ids[sha256]])), None)

    def _give_up(self, sha256: str, problem: ImageProblem) -> None:
        _, last = self._unreadable.get(sha256, (0.0, 0.0))
        if not last:
            entry = self._entry(sha256)
            log.warning("Skipping box detection in %s for now: it %s.", entry.uri if entry else "an image", problem)
        pause = min(2 * last, LONGEST_RETRY) or RETRY_SECONDS
        self._unreadable[sha256] = time.monotonic() + pause, pause
