"""Chooses the threshold for suggested boxes: the one that would have cost the fewest actions on recent images.

A box is suggested if its worth (`trainer.evaluation.box_matching.worths`) reaches the threshold.

To correct, draw or delete a box takes a person one action; to accept one takes none. Each recent image was scored
before it was learned, so the cost of any threshold can be computed afterwards. If suggestions would cost more than they
save at every threshold, none are made. Pure functions: the caller keeps the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.tasks import box_actions
from shared.tasks.box_actions import Actions
from trainer.detection.detections import Detections
from trainer.detection.detector import FIRST_THRESHOLD
from trainer.detection.placement import Boxes

LAST = 15
"""Number of recent images that count."""
ENOUGH = 3
"""Minimum number of images before the threshold is changed."""
NONE = 1.0
"""The threshold at which nothing is suggested."""
STEPS = np.round(np.arange(0.05, 0.96, 0.05), 2)
"""Candidate thresholds, besides NONE."""


@dataclass(frozen=True)
class Judged:
    """Detections in an image before it was learned, and the person's answer: boxes (n, 4) as x, y, width, height, and
    class ids (n,).
    """

    found: Detections
    boxes: Boxes
    labels: NDArray[np.int64]


def least_costly(judged: Sequence[Judged]) -> float:
    """The threshold that would have cost the fewest actions on the last LAST of these images (oldest first).

    If several are equally good, the one nearest to FIRST_THRESHOLD.
    """
    last = judged[-LAST:]
    if len(last) < ENOUGH:
        return FIRST_THRESHOLD
    worths = [each.found.worths() for each in last]  # independent of the threshold
    costs = {
        step: sum(_done(each.found.only(worth >= step), each).total for each, worth in zip(last, worths, strict=True))
        for step in map(float, STEPS)  # as numpy scalars, they would compare with float32 in another way
    }
    costs[NONE] = sum(len(each.boxes) for each in last)
    return min(costs, key=lambda step: (costs[step], abs(step - FIRST_THRESHOLD)))


def actions(judged: Judged, threshold: float) -> Actions:
    """Count the actions that suggestions from `threshold` on would have caused."""
    return _done(judged.found.suggested(threshold), judged)


def _done(shown: Detections, judged: Judged) -> Actions:
    right = shown.classes[:, None] == judged.labels[None]
    return box_actions.actions(box_actions.used(shown.boxes, judged.boxes, right), len(shown), len(judged.boxes))
