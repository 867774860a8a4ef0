"""What a person does with the boxes suggested for an image: accepts, corrects or deletes each, and draws the rest.

From these counts the trainer chooses the score threshold for suggestions, and the simulated person acts accordingly.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shared.tasks.boxes import SAME_OBJECT
from shared.tasks.iou import iou

GOOD: Final = 0.75
"""Minimum IoU at which a person accepts a suggestion of the right class unchanged."""


@dataclass(frozen=True)
class Actions:
    """A person's actions on the boxes of an image. Accepting a suggestion costs nothing; every other action
    costs one.
    """

    drawn: int = 0
    corrected: int = 0
    deleted: int = 0
    accepted: int = 0

    @property
    def total(self) -> int:
        """Total number of actions that cost something."""
        return self.drawn + self.corrected + self.deleted

    def __add__(self, other: Actions) -> Actions:
        return Actions(*(one + two for one, two in zip(astuple(self), astuple(other), strict=True)))


def used(suggested: ArrayLike, wanted: ArrayLike, right: NDArray[np.bool_]) -> dict[int, tuple[int, bool]]:
    """Map each wanted box to the suggestion that the person uses for it, and whether it is accepted unchanged; one to
    one.

    Boxes are x, y, width, height; `right` (suggested, wanted) tells which classes agree. Below an IoU of SAME_OBJECT,
    the person deletes the suggestion and draws a new box. Acceptable suggestions are matched first, then those of the
    right class, then the others; the highest overlap first.
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
    """Count the actions that turn `suggested` boxes into the `wanted` ones."""
    accepted = sum(good for _, good in used.values())
    return Actions(
        drawn=wanted - len(used), corrected=len(used) - accepted, deleted=suggested - len(used), accepted=accepted
    )
