"""From which score on boxes are suggested: from where they would have cost the least actions on the last images.

A person corrects, draws or deletes a box with one action each, and accepts one with none. Each of the last images was
scored before it was learned, so what would have happened at another threshold can be counted. If suggestions cost more
than they save at every threshold, none are made. Pure functions: the caller keeps the list.
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
"""Images that count."""
ENOUGH = 3
"""Images before which the threshold stays at its first value."""
NONE = 1.0
"""The threshold at which nothing is suggested."""
STEPS = np.round(np.arange(0.05, 0.96, 0.05), 2)
"""Thresholds to choose from, besides NONE."""


@dataclass(frozen=True)
class Judged:
    """What was found in an image before it was learned, and what a person then answered: boxes (n, 4) x, y, width,
    height and class ids (n,)."""

    found: Detections
    boxes: Boxes
    labels: NDArray[np.int64]


def least_costly(judged: Sequence[Judged]) -> float:
    """The threshold that would have cost least on the LAST of these images, the latest last.

    Of equally cheap ones, the one nearest to FIRST_THRESHOLD.
    """
    last = judged[-LAST:]
    if len(last) < ENOUGH:
        return FIRST_THRESHOLD
    shown = [each.found.suggested(0.0) for each in last]  # which boxes are in one place depends on no threshold
    costs = {
        float(step): sum(_done(some.above(step), each).total for some, each in zip(shown, last, strict=True))
        for step in STEPS
    }
    costs[NONE] = sum(len(each.boxes) for each in last)
    return min(costs, key=lambda step: (costs[step], abs(step - FIRST_THRESHOLD)))


def actions(judged: Judged, threshold: float) -> Actions:
    """What the person would have done if the boxes from `threshold` on had been suggested."""
    return _done(judged.found.suggested(threshold), judged)


def _done(shown: Detections, judged: Judged) -> Actions:
    right = shown.classes[:, None] == judged.labels[None]
    return box_actions.actions(box_actions.used(shown.boxes, judged.boxes, right), len(shown), len(judged.boxes))
