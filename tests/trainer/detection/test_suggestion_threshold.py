"""The threshold for suggestions is the one that would have cost the fewest actions."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from shared.tasks.box_actions import Actions
from trainer.detection.detections import Detections
from trainer.detection.suggestion_threshold import LAST, NONE, Judged, actions, least_costly


def judged(found, truth):
    """`found`: (x, class, score), `truth`: (x, class), all boxes 10 × 10 at (x, 0)."""
    found = sorted(found, key=lambda each: -each[2])
    return Judged(
        Detections(
            np.array([(x, 0, 10, 10) for x, _, _ in found], np.float32).reshape(-1, 4),
            np.array([k for _, k, _ in found], np.int64),
            np.array([s for _, _, s in found], np.float32),
        ),
        np.array([(x, 0, 10, 10) for x, _ in truth], np.float32).reshape(-1, 4),
        np.array([k for _, k in truth], np.int64),
    )


def test_each_action_counts_one():
    image = judged(
        [(0, 1, 0.9), (52, 1, 0.8), (100, 2, 0.7), (200, 1, 0.6)],  # right, loose, wrong class, nothing there
        [(0, 1), (50, 1), (100, 1), (300, 1)],  # and one that was missed
    )
    assert actions(image, 0.5) == Actions(drawn=1, corrected=2, deleted=1, accepted=1)
    assert actions(image, 0.65) == Actions(drawn=1, corrected=2, deleted=0, accepted=1)
    assert actions(image, 0.95) == Actions(drawn=4)
    assert actions(judged([(0, 1, 0.9)], []), 0.5) == Actions(deleted=1)
    assert (actions(image, 0.5) + actions(image, 0.95)).total == 8


def test_a_class_that_is_right_is_matched_before_one_that_is_wrong():
    image = judged([(0, 1, 0.9), (2, 2, 0.8)], [(1, 2), (-1.3, 1)])  # the first is nearer to the wrong one
    assert actions(image, 0.5) == Actions(accepted=2)


def test_of_two_boxes_in_one_place_the_better_is_shown():
    assert actions(judged([(0, 1, 0.9), (1, 2, 0.8)], [(0, 1)]), 0.5) == Actions(accepted=1)


def test_it_begins_at_one_half_and_follows_the_answers():
    sure = judged([(0, 1, 0.3), (100, 1, 0.32)], [(0, 1), (100, 1)])
    assert least_costly([]) == 0.5
    assert least_costly([sure] * 2) == 0.5
    assert least_costly([sure] * 3) == 0.3
    noisy = judged([(0, 1, 0.9), (100, 1, 0.78)], [(0, 1)])
    assert least_costly([noisy] * 3) == 0.8
    assert least_costly([sure] * 3 + [noisy] * LAST) == 0.8  # only the last count
    wrong = judged([(500, 1, 0.99), (600, 1, 0.98)], [(0, 1)])
    assert least_costly([wrong] * 3) == NONE
    assert actions(wrong, NONE).deleted == 0


@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.integers(0, 99), st.integers(1, 2), st.floats(0.05, 0.99)), max_size=8),
            st.lists(st.tuples(st.integers(0, 99), st.integers(1, 2)), max_size=8),
        ),
        min_size=3,
        max_size=8,
    )
)
@example([([], []), ([], []), ([(0, 1, 0.95)], [])])  # as float32, 0.95 is a little smaller
def test_suggestions_would_never_have_cost_more_than_they_saved(images):
    last = [judged(*each) for each in images]
    threshold = least_costly(last)
    assert sum(actions(each, threshold).total for each in last) <= sum(len(each.boxes) for each in last)
    for each in last:
        done = actions(each, threshold)
        assert done.drawn + done.corrected + done.accepted == len(each.boxes)
        assert done.deleted + done.corrected + done.accepted == len(each.found.suggested(threshold))
