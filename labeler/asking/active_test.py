"""The active test: asks about hard test images more often, as the trainer suggests.

The trainer suggests rates. The order follows from the labeler's own `TestClock`, whose alarms the trainer does not
know. The clock is stored whenever it gets other rates, because the probabilities of all answers depend on it. From then
on every accuracy is weighted, even if the setting `test_order` returns to random and all rates are equal. Callers hold
the store's lock.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from labeler.asking.labeling_queue import LabelingQueue
from labeler.asking.random_sample import RandomSample
from labeler.asking.test_clock import TestClock
from labeler.errors import Conflict
from labeler.store.database import Store
from labeler.store.present import PresentImages
from shared.settings.services import LabelerSettings
from shared.wire.fields import Split
from shared.wire.log import TestChance
from shared.wire.queries import TestRates

KEY = "test_clock"


def stored_clock(store: Store, share: float) -> TestClock:
    """The workspace's clock. `share` is the share of the test split."""
    kept = store.kept(KEY)
    return TestClock(share, json.loads(kept) if kept is not None else None)


class ActiveTest:
    """The order of one workspace's test images."""

    def __init__(
        self,
        store: Store,
        queue: LabelingQueue,
        sample: RandomSample,
        clock: TestClock,
        present: PresentImages,
        settings: LabelerSettings,
    ) -> None:
        self._store, self._queue, self._sample, self._clock, self._settings = store, queue, sample, clock, settings
        self.follow_setting()
        self._order()
        present.follow(self.moved)

    def moved(self, image_id: int, _before: Split | None, split: Split | None, _place: float) -> None:
        """Update: the image is in another split now. The queue and the sample have been updated already."""
        if split == "test" and self._clock.used:
            self._queue.place_test(image_id, self._sample.due(image_id))

    def suggest(self, rates: TestRates) -> None:
        """Use these rates from now on. Raises Conflict if test images are asked at random."""
        if self._settings.test_order != "active":
            raise Conflict("Test images are asked at random here. To use rates, set test_order to active in Settings.")
        self._set_rates({each.image_id: each.rate for each in rates.rates})

    def follow_setting(self) -> None:
        """Make all rates equal if test images are to be asked at random again."""
        if self._settings.test_order == "random" and self._clock.used:
            self._set_rates({})

    def chances(self) -> list[TestChance]:
        """`RandomSample.chances` in the form that is sent to the trainer."""
        return [TestChance(image_id=each, chance=chance) for each, chance in self._sample.chances().items()]

    def _set_rates(self, rates: Mapping[int, float]) -> None:
        self._clock.set_rates(rates, self._sample.images, self._sample.last)
        self._store.keep(KEY, json.dumps(self._clock.to_json()))
        self._order()

    def _order(self) -> None:
        if not self._clock.used:
            return
        self._sample.order_again()
        for image_id in self._sample.images:
            self._queue.place_test(image_id, self._sample.due(image_id))
