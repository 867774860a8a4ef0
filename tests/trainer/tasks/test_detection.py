"""What a detector suggests to the person."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from trainer.evaluation.box_matching import Placed
from trainer.tasks.detection import Detection

NAMES = {1: "cat", 2: "dog"}


def suggested(*found: tuple[int, float, tuple[float, float, float, float]]) -> list[tuple[int, float]]:
    """Class and confidence of what is suggested of these: class, score, place."""
    classes, scores, places = zip(*found, strict=True)
    placed = Placed(np.array(classes), np.array(places, float), np.array(scores))
    told = Detection().boxes(SimpleNamespace(threshold=0.5), placed, NAMES)
    return [(each.label, each.confidence) for each in told]


def test_one_box_is_suggested_for_an_object_that_may_be_of_two_classes() -> None:
    here, beside, elsewhere = (10, 10, 40, 40), (10, 12, 40, 40), (30, 10, 40, 40)
    assert suggested((1, 0.6, here), (2, 0.9, beside), (1, 0.7, elsewhere)) == [(2, 0.9), (1, 0.7)]
    assert suggested((1, 0.9, here), (2, 0.4, here), (2, 0.6, (10, 10, 80, 80))) == [(1, 0.9), (2, 0.6)]


def test_why_there_is_no_challenger_is_plain_text_because_a_page_shows_it_as_it_is() -> None:
    assert "flywheel train" in Detection.no_network
    assert "page Models" not in Detection.no_network  # which shows it
    assert not set("`*_") & set(Detection.no_network)
