"""The sharper accuracy: values computed by hand, its limits, and how often its interval contains the truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.evaluation.metrics import wilson, wilson_at
from trainer.evaluation.prediction_powered import accuracy

NONE = np.empty(0)
shares = st.floats(0, 1, width=32)


def test_it_is_the_value_computed_by_hand():
    # 6 of 10 right, at 0.9; 4 wrong, of which 2 at 0.9 and 2 at 0.4. Mean confidence 0.8; cov = 0.06, var = 0.04.
    right = np.array([True] * 6 + [False] * 4)
    confidence = np.array([0.9] * 8 + [0.4] * 2)
    found = accuracy(right, confidence, NONE, np.full(90, 0.7))
    # λ = min(1, 0.06 / 0.04) = 1; all 100 have the mean 0.71, so θ = 0.6 − (0.8 − 0.71).
    assert found.value == pytest.approx(0.51)
    # gained: (2·0.06 − 0.04) / 0.24 = 1/3; left: 2/3 · 9/7 = 6/7; worth: 10 / (1 − 1/7 · 0.9).
    expected = wilson_at(0.51, 10 / (1 - 0.9 / 7), 10)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.n, found.unlabeled) == (10, 90)


def test_images_without_a_label_that_were_asked_count_as_seen():
    right = np.array([True] * 5 + [False] * 5)
    confidence = np.array([1.0] * 4 + [0.0] * 5 + [1.0])
    found = accuracy(right, confidence, np.array([0.5, 0.5]), np.full(88, 0.25))
    # 12 seen: mean 0.5, var = 10 · 0.25 / 12; cov of the labeled ones 0.15; λ = 0.72. The mean of all 100 is 0.28.
    assert found.value == pytest.approx(0.5 - 0.72 * (0.5 - 0.28))
    # gained: (2 · 0.72 · 0.15 − 0.72² · 2.5 / 12) · 10 / 12 / 0.25 = 0.36; left: 0.64 · 9/7; 12 of 100 were seen.
    expected = wilson_at(found.value, 10 / (1 - (1 - 0.64 * 9 / 7) * 0.88), 10)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.n, found.unlabeled) == (10, 90)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.booleans(), shares), min_size=1, max_size=60),
    st.lists(shares, max_size=20),
    st.lists(shares, max_size=60),
)
def test_the_interval_contains_its_value_within_0_and_1_and_is_never_wider_than_a_plain_one(cases, asked, unasked):
    right, confidence = (np.array(column) for column in zip(*cases, strict=True))
    found, plain = accuracy(right, confidence, np.array(asked), np.array(unasked)), wilson(int(right.sum()), len(right))
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.n == len(cases)
    if found.unlabeled == 0:
        assert found == plain
    else:
        assert found.unlabeled == len(asked) + len(unasked)
        width = wilson_at(found.value, found.n, found.n)
        assert found.high - found.low <= width.high - width.low + 1e-9


@pytest.mark.parametrize(
    ("right", "confidence", "unasked"),
    [
        ([True] * 25 + [False] * 5, [0.8] * 30, [0.1] * 50),  # a constant confidence says nothing
        ([True] * 25 + [False] * 5, [0.5] * 25 + [0.9] * 5, [0.1] * 50),  # more confident when it is wrong
        ([True] * 25 + [False] * 5, [0.9] * 25 + [0.1] * 5, []),  # all test images are labeled: nothing to correct
        ([True] * 30, np.linspace(0.5, 1, 30), [0.1] * 50),  # never wrong
        ([False] * 30, np.linspace(0.5, 1, 30), [0.1] * 50),  # never right
        ([True] * 28 + [False] * 2, [0.9] * 28 + [0.1] * 2, [0.1] * 50),  # wrong too rarely to know when
        ([True, False] * 15, [0.9, 0.9, 0.5, 0.5, 0.7, 0.7] * 5, [0.1] * 50),  # no correlation
    ],
)
def test_it_is_the_plain_interval_where_confidence_cannot_gain(right, confidence, unasked):
    found = accuracy(np.array(right), np.array(confidence), NONE, np.array(unasked))
    assert found == wilson(sum(right), len(right))


def test_it_becomes_the_share_of_right_answers_as_all_test_images_get_a_label():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.3, 1, 1_000)
    right = rng.random(1_000) < confidence
    for n in (100, 500, 990):
        found, plain = accuracy(right[:n], confidence[:n], NONE, confidence[n:]), wilson(int(right[:n].sum()), n)
        assert found.unlabeled == 1_000 - n
        gap, gain = abs(found.value - plain.value), (plain.high - plain.low) - (found.high - found.low)
        assert gap < 0.1 * (1 - n / 1_000)
        assert -1e-4 < gain < 0.05 * (1 - n / 1_000)


@pytest.mark.parametrize("true", [0.6, 0.9])
def test_it_contains_the_truth_as_often_as_the_plain_one_and_needs_fewer_labels(true):
    """800 projects of 60 test labels. A correction of the wrong sign covers 80 to 85 %."""
    rng = np.random.default_rng(1)
    hard = 1.6 * (1 - true)  # share of images on which the model is unsure
    confidence = np.where(rng.random((800, 600)) < hard, rng.uniform(0.1, 0.65, (800, 600)), 0.95)
    right = rng.random((800, 600)) < confidence
    expected = 0.375 * hard + 0.95 * (1 - hard)
    found = [accuracy(y[:60], c[:60], NONE, c[60:]) for y, c in zip(right, confidence, strict=True)]
    plain = [wilson(int(y[:60].sum()), 60) for y in right]
    assert 0.94 <= np.mean([each.low <= expected <= each.high for each in found]) <= 0.97
    saved = np.mean([each.high - each.low for each in plain]) / np.mean([each.high - each.low for each in found])
    assert saved**2 > 1.2
