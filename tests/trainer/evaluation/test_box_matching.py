"""Boxes in one place are one object."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shared.tasks.iou import iou
from trainer.evaluation.box_matching import SAME_PLACE, Placed, worths

SIDE = st.integers(1, 12)
BOX = st.tuples(st.integers(1, 3), st.integers(0, 12), st.integers(0, 12), SIDE, SIDE)


def test_one_object_is_suggested_once_as_the_class_that_is_likelier() -> None:
    found = Placed.of([(1, 10, 10, 40, 40), (2, 12, 11, 40, 40), (1, 30, 30, 40, 40)], [0.52, 0.8, 0.6])
    shown = found.suggested(0.5)
    assert (shown.classes.tolist(), shown.scores.tolist()) == ([2, 1], [0.8, 0.6])


def test_an_object_of_a_doubtful_class_is_suggested_and_a_doubtful_object_is_not() -> None:
    boxes = [(1, 0, 0, 40, 40), (2, 1, 0, 40, 40), (3, 0, 1, 40, 40), (1, 200, 0, 40, 40)]
    found = Placed.of(boxes, [0.4, 0.3, 0.2, 0.45])
    assert np.allclose(worths(found.places, found.classes, found.scores), [0.65, 0.6, 0.55, 0.45])
    assert found.suggested(0.5).scores.tolist() == [0.4]
    assert len(found.confident(0.5)) == 0


def test_the_worth_of_a_box_is_its_score_if_there_is_one_class() -> None:
    found = Placed.of([(1, 0, 0, 40, 40), (1, 1, 0, 40, 40), (1, 90, 0, 0, 0)], [0.9, 0.4, 0.3])
    assert worths(found.places, found.classes, found.scores)[[0, 2]].tolist() == [0.9, 0.3]


@given(st.lists(BOX, max_size=12), st.floats(0, 1))
def test_what_is_suggested(boxes: list[tuple[int, int, int, int, int]], least: float) -> None:
    scores = np.random.default_rng(len(boxes)).random(len(boxes))
    found = Placed.of([tuple(map(float, box)) for box in boxes], scores.tolist())  # type: ignore[misc]
    shown = found.suggested(least)
    shared = iou(shown.places, shown.places) >= SAME_PLACE
    assert (shared.sum(axis=1) == 1).all()  # no two in one place
    worth = dict(zip(found.scores, worths(found.places, found.classes, found.scores), strict=True))
    assert all(worth[score] >= least for score in shown.scores)
    for place, score in zip(found.places, found.scores, strict=True):
        # A box of sufficient worth is shown, or a better one is in its place.
        if min(worth[better] for better in found.scores if better >= score) >= least:
            better = shown.scores >= score
            assert (iou(place[None], shown.places[better]) >= SAME_PLACE).any()
