from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.tasks.iou import iou

SIDE, PLACE = st.floats(1, 1_000), st.floats(0, 1_000)
BOXES = st.lists(st.tuples(PLACE, PLACE, SIDE, SIDE), max_size=6)


def test_two_boxes_share_what_is_in_both() -> None:
    boxes = [[0, 0, 10, 10], [5, 0, 10, 10], [50, 50, 1, 1]]
    assert iou(boxes, boxes).round(3).tolist() == [[1, 0.333, 0], [0.333, 1, 0], [0, 0, 1]]


@given(BOXES, BOXES)
def test_it_is_from_0_to_1_and_does_not_depend_on_the_order(
    one: list[tuple[float, ...]], other: list[tuple[float, ...]]
) -> None:
    found = iou(one, other)
    assert found.shape == (len(one), len(other))
    assert ((found >= 0) & (found <= 1 + 1e-9)).all()
    assert found == pytest.approx(iou(other, one).T)
    assert np.diag(iou(one, one)) == pytest.approx(1)


def test_boxes_without_an_area_overlap_nothing() -> None:
    assert iou([[5, 5, 0, 0]], [[5, 5, 0, 0], [0, 0, 10, 10]]).tolist() == [[0, 0]]
