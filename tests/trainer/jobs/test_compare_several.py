"""Versions that predict several classes per image, compared on the same answers."""

from __future__ import annotations

import numpy as np
import pytest

from shared.wire.jobs import ComparisonRequest
from trainer.jobs.compare_several import SeveralAnswers, compared, differences, targets
from trainer.work.job_context import LabeledImage

NAMES = {1: "hat", 2: "shoe", 3: "bag"}
HATS, SHOES = np.arange(40) % 2 == 0, np.arange(40) % 3 == 0
NOTHING = np.zeros(40, np.bool_)


def answers(hats, shoes, version="base", **more) -> SeveralAnswers:
    """A version that knows hats and shoes, and is fairly confident about both."""
    yes = np.stack([hats, shoes], axis=1)
    return SeveralAnswers(version, np.array([1, 2]), np.where(yes, 0.8, 0.3).astype(np.float32), yes, 1_000, **more)


def images(hats, shoes, unknown=()) -> list[LabeledImage]:
    found = []
    for number, (hat, shoe) in enumerate(zip(hats, shoes, strict=True)):
        said: dict[str, list[int]] = {"yes": [], "no": [3]}
        said["yes" if hat else "no"].append(1)
        if number not in unknown:
            said["yes" if shoe else "no"].append(2)
        found.append(LabeledImage(number, f"{number}.png", "0", "test", None, answer=said))
    return found


def request(**more) -> ComparisonRequest:
    return ComparisonRequest(base="base", candidate="candidate", min_delta={"macro_f1": 0.01}, **more)


def test_the_version_that_finds_more_classes_wins():
    no_shoes, right = answers(HATS, NOTHING), answers(HATS, SHOES, "candidate", latency_ms=3.0)
    found = compared(targets(images(HATS, SHOES)), no_shoes, right, NAMES, request(significant=True))
    assert (found.decision, found.winner) == ("update_model", "candidate")
    gain = found.macro_f1_gain
    assert gain is not None
    assert found.base.macro_f1 is not None
    assert found.candidate.macro_f1 == 1
    assert gain.value == pytest.approx(1 - found.base.macro_f1)
    assert 0 < gain.low <= gain.value <= gain.high
    assert found.candidate.accuracy is not None
    assert found.candidate.accuracy.value == 1  # every class of every image is right; no image shows a bag
    back = compared(targets(images(HATS, SHOES)), right, no_shoes, NAMES, request())
    assert (back.decision, back.winner) == ("discard", "candidate")


def test_a_gain_on_one_image_is_not_significant():
    slightly = HATS.copy()
    slightly[0] = False
    truth = targets(images(HATS, SHOES))
    worse, right = answers(slightly, SHOES), answers(HATS, SHOES, "candidate")
    assert compared(truth, worse, right, NAMES, request()).decision == "update_model"
    found = compared(truth, worse, right, NAMES, request(significant=True))
    assert found.decision == "discard"
    assert "gain in macro F1 is not significant" in found.reason


@pytest.mark.parametrize(("count", "decision"), [(1, "discard"), (5, "discard"), (6, "update_model")])
def test_a_gain_on_each_of_a_few_images_can_be_chance(count, decision):
    """Each resample of images that all agree says the same."""
    yes = np.ones(count, np.bool_)
    base, candidate = answers(yes, ~yes), answers(yes, yes, "candidate")
    found = compared(targets(images(yes, yes)), base, candidate, NAMES, request(significant=True))
    assert found.macro_f1_gain is not None
    assert found.macro_f1_gain.value == pytest.approx(0.5)
    assert found.decision == decision


def test_unknown_answers_favour_no_version():
    unknown = list(np.flatnonzero(SHOES))
    truth = targets(images(HATS, SHOES, unknown))
    found = compared(truth, answers(HATS, NOTHING), answers(HATS, SHOES, "candidate"), NAMES, request())
    assert found.base.macro_f1 == found.candidate.macro_f1  # no image with a known answer about shoes has any
    assert found.base.classes[1].support == 0


def test_images_with_different_predictions_come_with_both_predictions():
    looked = [
        *images(HATS[:2], SHOES[:2]),
        LabeledImage(7, "7.png", "0", "train", None),
    ]
    base = answers(np.array([True, False, True]), np.array([True, False, False]))
    candidate = answers(np.array([True, False, False]), np.array([False, False, False]), "candidate")
    found = differences(looked, base, candidate, NAMES)
    assert [(each.image_id, each.label, each.base, each.candidate) for each in found] == [
        (0, "hat; shoe", "hat; shoe", "hat"),
        (7, None, "hat", "none of these"),
    ]
    assert found[0].base_confidence is None
