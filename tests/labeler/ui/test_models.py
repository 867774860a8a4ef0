"""What the page Models says of a prediction, for each kind of answer."""

from __future__ import annotations

from typing import Any

import pytest

from labeler.ui.models import in_words
from shared.wire.models import PredictedBox, Prediction


def box(label: str) -> PredictedBox:
    return PredictedBox(label=label, confidence=0.9, x=1, y=2, w=3, h=4)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"label": "cat"}, "**cat**, 90% sure"),
        ({"label": "cat;dog", "labels": ["cat", "dog"]}, "**cat, dog**"),
        ({"label": "", "labels": []}, "**None of these**"),
        ({"label": "dog", "labels": ["dog"], "boxes": [box("dog"), box("cat"), box("dog")]}, "**dog: 2, cat: 1**"),
        ({"label": "", "labels": [], "boxes": []}, "**No objects**"),
    ],
)
def test_a_prediction_in_words(said: dict[str, Any], words: str) -> None:
    assert in_words(Prediction(**said, confidence=0.9, probabilities={})).replace("\\", "") == words
