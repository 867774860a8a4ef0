"""Schedules the detector's slow work in short steps, most urgent first: find boxes in the next images, train a round,
find boxes in the rest of the list, evaluate. While there is no detector yet, the maps of the next images are computed,
so that the first one finds their boxes sooner.

An evaluation detects in all labeled test images. So it waits until a person's suggestions are up to date, and takes at
most a quarter of the time. Once started, it finishes before the next training round, because its figures must belong to
one detector.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Literal

from shared.wire.queries import QueryPush
from trainer.evaluation.box_matching import Placed
from trainer.live_detector.live_detector import LiveDetector

NEXT = 10
"""Number of images at the top of the list that get boxes before any other work."""
SHOWN = 50
"""Number of images in the list that get boxes."""
STEP_SECONDS = 0.5
"""Maximum seconds of detection at a time, because a person's new answers may be waiting."""
REST = 3.0
"""Minimum pause between evaluations while there is something to learn, as a multiple of the last one's duration."""

Work = Literal["look", "learn", "measure"]
Untested = Callable[[], Sequence[int] | None]


class Studies:
    """The next work for `live`. `untested` returns the test images to evaluate, or None if the figures would not
    change. Only the loop's thread uses it.
    """

    def __init__(self, live: LiveDetector) -> None:
        self.live = live
        self._listed: list[int] = []
        self._tested: list[int] | None = None  # images of the current evaluation
        self._took = 0.0  # seconds of the last evaluation
        self._measured = float("-inf")  # when it ended
        self._mapped: set[tuple[int, int]] = set()  # canvas and image of maps computed before there was a detector
        self._offered: tuple[str, int] = ("", 0)  # version and number of images with boxes in the last list

    def start_over(self) -> None:
        """Follow another log."""
        self._listed, self._tested, self._offered = [], None, ("", 0)
        self._mapped = set()
        self.live.start_over()

    def asked(self, push: QueryPush) -> None:
        """Remember the latest list, and find boxes in its first images before it is sent.

        A new list has other images at its top, and a new detector has searched none of them. Sent at once, they would
        be without boxes for a second, in which somebody draws by hand.
        """
        self._listed = [query.image_id for query in push.queries[:SHOWN]]
        detector, pictures = self.live.detector, self.live.pictures
        self._mapped &= {(pictures.canvas, each) for each in self._listed}
        if detector is not None:
            with suppress(OSError):  # the list is needed also where a disk is full, which the next search reports
                pictures.look(detector, self._listed[:NEXT], _soon(lambda: False))

    def known(self, image_id: int) -> Placed | None:
        """The boxes that the current detector has found in an image, or None if it has not searched it yet."""
        detector = self.live.detector
        return self.live.pictures.known(detector, image_id) if detector is not None else None

    def due(self, untested: Untested) -> Work | None:
        """The most urgent work."""
        detector, pictures = self.live.detector, self.live.pictures
        if detector is not None and pictures.unseen(detector, self._listed[:NEXT]):
            return "look"
        if detector is not None and self._tested is not None:
            return "measure"
        if self.live.due:
            return "learn"
        if detector is not None and pictures.unseen(detector, self._listed):
            return "look"
        if detector is None:
            return "look" if self._unmapped() else None
        return "measure" if self._begins(untested) else None

    def look(self, should_stop: Callable[[], bool]) -> bool:
        """Detect in the listed images. Return whether it is worth sending a list with more boxes now."""
        detector, pictures = self.live.detector, self.live.pictures
        if detector is None:
            self._map(_soon(should_stop))
            return False
        first = pictures.unseen(detector, self._listed[:NEXT])
        pictures.look(detector, first or self._listed, _soon(should_stop))
        left = len(pictures.unseen(detector, self._listed))
        seen = (self.live.version, len(self._listed) - left)
        whole = not left or (bool(first) and not pictures.unseen(detector, self._listed[:NEXT]))
        whole = whole or (not self._offered[0] and left < len(self._listed))  # a person waits for the first boxes
        if not whole or seen == self._offered:
            return False
        self._offered = seen
        return True

    def learned(self, untested: Untested, *, first: bool) -> None:
        """Tell that there is a new detector. It is evaluated before the next round, unless the last evaluation was
        recent, or this is the `first` detector: the next round soon makes a better one.
        """
        if not first and time.monotonic() - self._measured > REST * self._took:
            self._begins(untested)

    def measure(self, should_stop: Callable[[], bool]) -> bool:
        """Detect in test images. Return whether all are done, so that the metrics can be computed."""
        detector, tested = self.live.detector, self._tested
        if detector is None or tested is None:
            return False
        began = time.monotonic()
        whole = self.live.pictures.look(detector, tested, _soon(should_stop))
        if whole:
            self._tested = None
        self._took += time.monotonic() - began
        self._measured = time.monotonic()
        return whole

    def _unmapped(self) -> list[int]:
        canvas = self.live.pictures.canvas
        coming = self._listed[:NEXT] if self.live.expected else []
        return [each for each in coming if (canvas, each) not in self._mapped]

    def _map(self, should_stop: Callable[[], bool]) -> None:
        for image_id in self._unmapped():
            self.live.pictures.make_plain(image_id)
            self._mapped.add((self.live.pictures.canvas, image_id))
            if should_stop():
                return

    def _begins(self, untested: Untested) -> bool:
        found = untested()
        if found is None:
            return False
        self._tested, self._took = list(found), 0.0
        return True


def _soon(should_stop: Callable[[], bool]) -> Callable[[], bool]:
    deadline = time.monotonic() + STEP_SECONDS
    return lambda: should_stop() or time.monotonic() > deadline
