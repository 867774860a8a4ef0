"""The accuracy of an active test."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.active_testing import ask
from trainer.evaluation import prediction_powered
from trainer.evaluation.active_sample import EVEN, accuracy, rates
from trainer.evaluation.metrics import wilson

N, LABELS = 600, 100


@pytest.fixture(scope="module")
def judged():
    """Right or wrong, and confidence: calibrated, and right on 94 %."""
    rng = np.random.default_rng(0)
    confidence = 1 - 0.5 * rng.random(N) ** 7
    return rng.random(N) < confidence, confidence


def test_equal_chances_give_the_prediction_powered_estimate(judged):
    right, confidence = judged
    chance = np.full(LABELS, LABELS / N)
    found = accuracy(right[:LABELS], confidence[:LABELS], chance, still_open=confidence[LABELS:])
    same = prediction_powered.accuracy(right[:LABELS], confidence[:LABELS], np.empty(0), confidence[LABELS:])
    assert found.value == pytest.approx(same.value)
    assert (found.low, found.high) == pytest.approx((same.low, same.high), abs=0.01)
    assert found.unlabeled == N - LABELS


def test_over_many_draws_it_is_unbiased_holds_and_is_sharper_than_a_random_sample(judged):
    right, confidence = judged
    truth, wanted = right.mean(), rates(confidence)
    random, active = [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        rows, chance = ask([(wanted, LABELS)], rng)
        active.append(
            accuracy(right[rows], confidence[rows], chance, still_open=np.delete(confidence, rows)),
        )
        rows = rng.permutation(N)
        some, rest = rows[:LABELS], rows[LABELS:]
        random.append(prediction_powered.accuracy(right[some], confidence[some], np.empty(0), confidence[rest]))
    assert abs(np.mean([each.value for each in active]) - truth) < 0.004
    assert np.mean([each.low <= truth <= each.high for each in active]) > 0.93
    widths = [np.mean([each.high - each.low for each in found]) for found in (random, active)]
    assert widths[0] / widths[1] > 1.05


def test_images_asked_without_a_label_count_as_seen(judged):
    right, confidence = judged
    rows = np.arange(LABELS)
    hard = np.argsort(confidence)[:10]
    left = np.setdiff1d(rows, hard)
    chance = np.full(len(left), LABELS / N)
    rest = np.delete(confidence, np.union1d(rows, hard))
    known = accuracy(
        right[left],
        confidence[left],
        chance,
        asked=confidence[hard],
        asked_chance=np.full(10, LABELS / N),
        still_open=rest,
    )
    unknown = accuracy(right[left], confidence[left], chance, still_open=rest)
    assert known.value > unknown.value  # with the hard ones, the images asked are no easier than the rest


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_rates_are_bounded_and_one_on_average(confidence):
    found = rates(np.array(confidence))
    assert found.mean() == pytest.approx(1)
    assert found.min() >= EVEN


@given(st.integers(0, 40), st.integers(1, 40), st.integers(0, 1_000))
def test_every_sample_has_an_interval_that_contains_its_value(hits, n, seed):
    rng = np.random.default_rng(seed)
    right = np.arange(n) < hits
    found = accuracy(right, rng.random(n), rng.uniform(0.01, 1, n), still_open=rng.random(5))
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.n == n


def test_with_few_errors_the_interval_is_never_narrower_than_the_plain_one():
    right = np.arange(100) >= 2
    found = accuracy(right, np.linspace(0.5, 1, 100), np.linspace(0.9, 0.1, 100), still_open=np.full(900, 0.99))
    plain = wilson(98, 100)
    assert found.high - found.low >= plain.high - plain.low
    assert found.unlabeled == 0
