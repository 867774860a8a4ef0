"""What a person does with the boxes suggested for an image: accepts, corrects or deletes each, and draws the others.

The trainer chooses by it from which score on boxes are suggested, and the simulated person acts by it.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shared.tasks.boxes import SAME_OBJECT
from shared.tasks.iou import iou

GOOD: Final = 0.75
"""IoU from which a suggestion of the right class is accepted as it is."""


@dataclass(frozen=True)
class Actions:
    """What a person does to the boxes of an image. Accepting a suggestion costs nothing; everything else counts one."""

    drawn: int = 0
    corrected: int = 0
    deleted: int = 0
    accepted: int = 0

    @property
    def total(self) -> int:
        """Actions in all."""
        return self.drawn + self.corrected + self.deleted

    def __add__(self, other: Actions) -> Actions:
        return Actions(*(one + two for one, two in zip(astuple(self), astuple(other), strict=True)))


def used(suggested: ArrayLike, wanted: ArrayLike, right: NDArray[np.bool_]) -> dict[int, tuple[int, bool]]:
    """Wanted box → the suggestion that the person uses for it, and whether that is good as it is; one to one.

    Boxes are x, y, width, height; `right` (suggested, wanted) tells which classes agree. Below an IoU of SAME_OBJECT,
    the person deletes a suggestion and draws. Those that can be accepted go first, then those of the right class, then
    the others; the best overlap first.
    """
    overlap = iou(suggested, wanted)
    good = right & (overlap >= GOOD)
    rows, columns = np.nonzero(overlap >= SAME_OBJECT)
    order = np.lexsort((-overlap[rows, columns], ~right[rows, columns], ~good[rows, columns]))
    found: dict[int, tuple[int, bool]] = {}
    taken = set[int]()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in taken and column not in found:
            taken.add(row)
            found[column] = row, bool(good[row, column])
    return found


def actions(used: dict[int, tuple[int, bool]], suggested: int, wanted: int) -> Actions:
    """How many actions it takes from `suggested` boxes to the `wanted` ones."""
    accepted = sum(good for _, good in used.values())
    return Actions(
        drawn=wanted - len(used), corrected=len(used) - accepted, deleted=suggested - len(used), accepted=accepted
    )
