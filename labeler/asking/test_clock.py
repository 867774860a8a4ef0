"""Orders test images when hard ones are to come more often, and tells the probability that each has come by now.

Each test image has an alarm, a random number derived from its salted hash. Its exposure grows with time at the image's
rate, and the image comes when its exposure passes its alarm. If all rates are equal, this is the order of the hashes.
The trainer may suggest other rates as its model changes; the exposure so far stays. So the probability that an image
has come depends only on its exposure, however the rates have changed: 1 − exp(−exposure). This is equivalent to drawing
each next image at random, in proportion to the rates of those left (Rosén 1997).

Probabilities are those at the time of the next image in line. With this threshold and constant rates, labels divided by
their probability add up to an unbiased total (Duffield, Lund & Thorup 2007). A change of rates, which takes effect at
the time of the last image that came, adds a bias that `benchmarks.active_testing` measures.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

HIGHEST = 1 - 1e-12  # upper limit of a hash, so that every alarm is finite


class TestClock:
    """Rates and exposures of the test images. `share` is the share of the test split; 0 means that hashes fill 0 … 1.

    Until the first rates arrive, nothing is stored, and the order is that of the hashes.
    """

    __test__ = False  # for pytest

    def __init__(self, share: float, stored: Mapping[str, Any] | None = None) -> None:
        self._share = share
        self._began = float(stored["began"]) if stored else 0.0  # time of the latest rates
        known = stored["images"] if stored else {}
        self._images: dict[int, tuple[float, float]] = {int(key): (each[0], each[1]) for key, each in known.items()}

    @property
    def used(self) -> bool:
        """Whether rates were ever suggested. From then on, probabilities differ."""
        return bool(self._images)

    def due(self, image_id: int, place: float) -> float:
        """The time at which the image comes."""
        exposure, rate = self._images.get(image_id, (self._began, 1.0))
        return self._began + (self._alarm(place) - exposure) / rate

    def chance(self, image_id: int, now: float) -> float:
        """The probability that the image has come until `now`."""
        exposure, rate = self._images.get(image_id, (self._began, 1.0))
        return -math.expm1(-(exposure + rate * max(0.0, now - self._began)))

    def set_rates(self, rates: Mapping[int, float], images: Iterable[int], now: float) -> None:
        """Give `images` new rates from `now` on; 1 for images that are not in `rates`."""
        passed = max(0.0, now - self._began)
        fresh = {}
        for image_id in {
            *self._images,
            *images,
        }:  # including images that are away now, for example on an unplugged disk
            exposure, rate = self._images.get(image_id, (self._began, 1.0))
            fresh[image_id] = (exposure + rate * passed, rates.get(image_id, 1.0))
        self._began, self._images = self._began + passed, fresh

    def to_json(self) -> dict[str, Any]:
        """The state, in the form that the constructor takes as `stored`."""
        return {"began": self._began, "images": {str(key): each for key, each in self._images.items()}}

    def _alarm(self, place: float) -> float:
        place = place / self._share if place < self._share else place
        return -math.log1p(-min(place, HIGHEST))
