"""Matches the boxes of several people: boxes that overlap by at least half (IoU) are the same object.

The pairs with the highest overlap are matched first. A group of matched boxes has at most one box per person. The
result does not depend on the order of the people.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

import numpy as np

from shared.tasks.boxes import SAME_OBJECT, Box, Boxes, Origin
from shared.tasks.iou import iou
from shared.tasks.task import majority
from shared.wire.fields import MOST_BOXES

_CHUNK = 10_000
Group = dict[int, Box]
"""Person (position in the sequence of answers) → that person's box of one object."""


def groups(answers: Sequence[Boxes]) -> list[Group]:
    """The objects, each with the boxes that people drew around it."""
    boxes = [each.boxes for each in answers]
    group_of: dict[tuple[int, int], dict[int, int]] = {
        (who, k): {who: k} for who, some in enumerate(boxes) for k in range(len(some))
    }
    for one, k, other, j in _pairs(answers, boxes):
        first, second = group_of[one, k], group_of[other, j]
        if first is not second and not first.keys() & second.keys():
            first |= second
            for member in second.items():
                group_of[member] = first
    distinct = {id(each): each for each in group_of.values()}
    return [{who: boxes[who][k] for who, k in sorted(each.items())} for each in distinct.values()]


def matched(first: Boxes, second: Boxes) -> list[tuple[Box, Box]]:
    """The pairs of boxes that two people drew around the same objects."""
    return [(each[0], each[1]) for each in groups([first, second]) if len(each) == 2]


class Joint(NamedTuple):
    """The combination of several people's answers."""

    merged: Boxes | None  # boxes of the majority, at their mean place, with its class; None: a tie
    differ: bool  # somebody has not drawn a box, or drawn it with another class
    tied: tuple[int, ...]  # the classes of the boxes with a tie


@lru_cache(maxsize=1 << 14)
def joint(answers: tuple[Boxes, ...]) -> Joint:
    """Combine the answers of at least two people. Cached, because every page and every log row asks for it."""
    people, found = len(answers), groups(answers)
    ties = [each for each in found if _is_tied(each, people)]
    kept = [mean(each) for each in found if 2 * len(each) > people] if not ties else []
    return Joint(
        None if ties or len(kept) > MOST_BOXES else Boxes(sorted(kept)),
        any(len(each) < people or len(_labels(each)) > 1 for each in found),
        tuple(sorted({label for each in ties for label in _labels(each)})),
    )


def mean(group: Group) -> Box:
    """One box for the object: the mean place and the majority's class. Raises ValueError for a tie."""
    label, boxes = _class_of(group), list(group.values())
    if label is None:
        raise ValueError("the votes for the class are a tie")
    origins: set[Origin] = {box.origin for box in boxes}
    left, top, right, bottom = (
        sum(edges) / len(boxes)
        for edges in zip(*((box.x, box.y, box.x + box.w, box.y + box.h) for box in boxes), strict=True)
    )
    return Box(label, left, top, right - left, bottom - top, origins.pop() if len(origins) == 1 else "drawn")


def _class_of(group: Group) -> int | None:
    found: int | None = majority(box.label for box in group.values())
    return found


def _labels(group: Group) -> set[int]:
    return {box.label for box in group.values()}


def _is_tied(group: Group, people: int) -> bool:
    return 2 * len(group) == people or (2 * len(group) > people and _class_of(group) is None)


def _pairs(answers: Sequence[Boxes], boxes: Sequence[Sequence[Box]]) -> Iterator[tuple[int, int, int, int]]:
    """Pairs of boxes of two people that overlap enough, highest overlap first: person, box, other person, other box.

    Among equal overlaps, pairs of the same class come first. The order depends on the boxes alone.
    """
    rank = {box: k for k, box in enumerate(sorted({box for some in boxes for box in some}))}
    ranks = [np.array([rank[box] for box in some], np.int64) for some in boxes]
    found = []
    for one, other in combinations(range(len(answers)), 2):
        overlap = iou(answers[one].steps, answers[other].steps)
        k, j = np.nonzero(overlap >= SAME_OBJECT)
        first, second = ranks[one][k], ranks[other][j]
        differ = np.array(answers[one].labels)[k] != np.array(answers[other].labels)[j]
        order = np.minimum(first, second), np.maximum(first, second)
        people = np.full(len(k), one), np.full(len(k), other)
        found.append(np.stack([-overlap[k, j].round(9), differ, *order, people[0], k, people[1], j]))
    if not found:
        return
    columns = np.concatenate(found, axis=1)
    order_of_all = np.lexsort(columns[3::-1])
    for start in range(0, len(order_of_all), _CHUNK):
        pairs = columns[4:, order_of_all[start : start + _CHUNK]].astype(int)
        yield from zip(*pairs.tolist(), strict=True)
