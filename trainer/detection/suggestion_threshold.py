"""Chooses the threshold for suggested boxes: one that would have cost few actions on recent images.

A box is suggested if its worth (`trainer.evaluation.box_matching.worths`) reaches the threshold.

To correct, draw or delete a box takes a person one action; to accept one takes none. Each recent image was scored
before it was learned, so the cost of any threshold can be computed afterwards. If suggestions would cost more than they
save at every threshold, none are made.

A few images cannot tell apart thresholds that lie near each other: which one is cheapest is chance. Of those that are
hardly dearer, the one nearest to the break-even is taken: the worth from which a suggestion saves more than it costs,
according to a line through what each recent box would have saved (docs/measurements/figures.md has the gain). Pure
functions: the caller keeps the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.tasks import box_actions
from shared.tasks.box_actions import GOOD, Actions
from shared.tasks.boxes import SAME_OBJECT
from shared.tasks.iou import iou
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
CHANCE = 1.5
"""A threshold is hardly dearer than the cheapest one if it is dearer by at most so many standard errors."""
DOUBTED = 0.35
"""Boxes that are worth less do not count for the break-even: few are near the decision."""
PRIOR = 10.0
"""How firmly the line through the savings holds to what worth promises: a worth of 0.5 saves nothing, and one of 1 an
action. As a number of boxes."""
LEAST_SLOPE = 0.2
"""If the line is flatter, worth says nothing about savings, and the highest of these thresholds is taken."""


@dataclass(frozen=True)
class Judged:
    """Detections in an image before it was learned, and the person's answer: boxes (n, 4) as x, y, width, height, and
    class ids (n,).
    """

    found: Detections
    boxes: Boxes
    labels: NDArray[np.int64]


def least_costly(judged: Sequence[Judged]) -> float:
    """The threshold nearest to the break-even among those that would have cost hardly more than the cheapest one on the
    last LAST of these images (oldest first), and no more than without suggestions. NONE if there is no such threshold.
    """
    last = judged[-LAST:]
    if len(last) < ENOUGH:
        return FIRST_THRESHOLD
    worths = [each.found.worths() for each in last]  # independent of the threshold
    steps = list(map(float, STEPS))  # as numpy scalars, they would compare with float32 in another way
    costs = np.array([_costs(each, worth, steps) for each, worth in zip(last, worths, strict=True)])
    total = costs.sum(axis=0)
    cheapest = min(range(len(steps)), key=lambda i: (total[i], abs(steps[i] - FIRST_THRESHOLD)))
    dearer = costs - costs[:, cheapest : cheapest + 1]
    alike = dearer.sum(axis=0) <= CHANCE * np.sqrt(np.square(dearer).sum(axis=0))
    alike &= total <= sum(len(each.boxes) for each in last)
    even = _break_even(last, worths)
    among = [step for step, fits in zip(steps, alike, strict=True) if fits]
    return min(among, key=lambda step: (abs(step - even), abs(step - FIRST_THRESHOLD)), default=NONE)


def _costs(each: Judged, worth: NDArray[np.float32], steps: Sequence[float]) -> list[float]:
    return [float(_done(each.found.only(worth >= step), each).total) for step in steps]


def _break_even(last: Sequence[Judged], worths: Sequence[NDArray[np.float32]]) -> float:
    """The worth at which the line through the savings is zero, at least DOUBTED: below, there is no line."""
    kept = [worth >= DOUBTED for worth in worths]
    saved = np.concatenate([_saved(each, on) for each, on in zip(last, kept, strict=True)])
    worth = np.concatenate([each[on] for each, on in zip(worths, kept, strict=True)]).astype(np.float64)
    line = np.stack([np.ones(len(worth)), worth - 0.5], axis=1)
    promised = line @ [0.0, 2.0]
    shift = np.linalg.solve(line.T @ line + PRIOR * np.eye(2), line.T @ (saved - promised))
    slope = 2.0 + shift[1]
    return max(float(0.5 - shift[0] / slope), DOUBTED) if slope > LEAST_SLOPE else NONE


def _saved(each: Judged, kept: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The actions that each of these boxes saves: 1 if it is accepted, 0 if corrected, -1 if deleted."""
    overlap = iou(each.found.boxes[kept], each.boxes)
    right = each.found.classes[kept][:, None] == each.labels[None]
    good, near = (right & (overlap >= GOOD)).any(axis=1), (overlap >= SAME_OBJECT).any(axis=1)
    return np.where(good, 1.0, np.where(near, 0.0, -1.0))


def actions(judged: Judged, threshold: float) -> Actions:
    """Count the actions that suggestions from `threshold` on would have caused."""
    return _done(judged.found.suggested(threshold), judged)


def _done(shown: Detections, judged: Judged) -> Actions:
    right = shown.classes[:, None] == judged.labels[None]
    return box_actions.actions(box_actions.used(shown.boxes, judged.boxes, right), len(shown), len(judged.boxes))
