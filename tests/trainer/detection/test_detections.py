"""Many points of a canvas find the same object: one box is left for each, and all of them contribute to its place."""

import numpy as np
import pytest
import torch

from tests.trainer.detection.squares import overlap
from trainer.detection.detections import pick
from trainer.detection.placement import Placement

CANVAS = Placement.letterbox(100, 100, 100)
CLASSES = np.array([3, 7])


def picked(*found):
    """The boxes that remain of these (left, top, right, bottom), which have a score for each of CLASSES."""
    return pick(torch.tensor([scores for _, scores in found]), torch.tensor([box for box, _ in found]), CLASSES, CANVAS)


def test_a_box_is_at_the_mean_place_of_the_points_that_found_it():
    truth = (20, 20, 40, 40)
    shown = picked(
        ((23.0, 23.0, 63.0, 63.0), (0.9, 0.0)),  # the most confident box is too far to the lower right
        ((19.0, 20.0, 59.0, 60.0), (0.85, 0.0)),
        ((20.0, 19.0, 60.0, 59.0), (0.85, 0.0)),
        ((20.0, 20.0, 60.0, 60.0), (0.8, 0.0)),
    )
    assert shown.classes.tolist() == [3]
    assert shown.scores.tolist() == pytest.approx([0.9])
    assert overlap((23, 23, 40, 40), truth) < 0.75
    assert overlap(shown.boxes[0], truth) > 0.85


def test_other_objects_and_classes_do_not_move_a_box():
    alone = picked(((20.0, 20.0, 60.0, 60.0), (0.9, 0.0)))
    assert alone.boxes == pytest.approx(np.array([[20, 20, 40, 40]]))
    crowded = picked(
        ((20.0, 20.0, 60.0, 60.0), (0.9, 0.0)),
        ((22.0, 22.0, 62.0, 62.0), (0.0, 0.8)),
        ((50.0, 20.0, 90.0, 60.0), (0.7, 0.0)),
    )
    assert crowded.boxes == pytest.approx(np.array([[20, 20, 40, 40], [22, 22, 40, 40], [50, 20, 40, 40]]))
    assert crowded.classes.tolist() == [3, 7, 3]


def test_boxes_without_an_area_are_no_objects():
    shown = picked(((30.0, 30.0, 30.0, 60.0), (0.9, 0.0)), ((20.0, 20.0, 60.0, 60.0), (0.8, 0.0)))
    assert shown.boxes == pytest.approx(np.array([[20, 20, 40, 40]]))
    assert len(picked(((30.0, 30.0, 30.0, 30.0), (0.9, 0.0)))) == 0
