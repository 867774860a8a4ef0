"""What the page Models says of a prediction, for each kind of answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from labeler.ui.models import in_words
from labeler.ui.sections import version_files
from shared.tasks.registry import TASKS
from shared.wire.models import ModelClass, ModelList, ModelVersion, PredictedBox, Prediction


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


@pytest.mark.parametrize(
    ("task", "words"), [("classification", "2 labels"), ("multilabel", "2 labels"), ("detection", "2 labeled images")]
)
def test_a_deletion_counts_the_labels_in_the_words_of_the_task(task: str, words: str) -> None:
    version = ModelVersion(
        version="one",
        learner="detector",
        architecture="resnet18",
        classes=[ModelClass(id=1, name="car")],
        log_id="log",
        acked_seq=2,
        labels=2,
        saved_at=datetime.now(UTC),
        parameters=1,
        bytes=1,
        sha256="0",
    )
    said = version_files.in_words(version, ModelList(models=[version]), TASKS[task].counted)
    assert f"which learned from {words} of 1 class." in said
    assert not version.opens_in_fastai  # the page does not offer it
