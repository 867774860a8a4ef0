"""Advice follows the curve, and is absent without enough data."""

from uuid import uuid4

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls
from sklearn.metrics import cohen_kappa_score

from shared.wire.evaluation import Evaluation, Interval
from tests.trainer.logs import LOG, WHEN
from trainer.evaluation.learning_curve import (
    APART,
    EXPONENTS,
    Point,
    Stability,
    _power_law,
    advise,
    flat,
    forecast,
    kappa,
    labels_needed,
    slope,
    stable,
)


def curve(error, n=400, last=300):
    return [Point(labels, 1 - error(labels), n) for labels in range(30, last + 1, 30)]


POWER = curve(lambda labels: 0.05 + 2.0 * labels**-0.6)


def test_kappa_is_cohens():
    rng = np.random.default_rng(0)
    a = rng.integers(4, size=200)
    b = np.where(rng.random(200) < 0.8, a, rng.integers(4, size=200))
    assert kappa(a, b) == pytest.approx(cohen_kappa_score(a, b))
    assert kappa(np.ones(5, dtype=int), np.ones(5, dtype=int)) == 1


def test_stable_needs_three_models_that_agree():
    assert not stable([1.0, 1.0])
    assert stable([0.5, 0.99, 0.99, 0.995])
    assert not stable([0.99, 0.99, 0.95])


@pytest.mark.parametrize("points", [[], POWER[:4], [Point(p.labels, p.accuracy, 99) for p in POWER]])
def test_without_enough_data_there_is_no_advice(points):
    assert slope(points) is None
    assert not flat(points)
    assert forecast(points, [1_000]) == []
    assert labels_needed(points, 0.9) is None


def test_a_rising_curve_is_not_flat_and_a_level_one_is():
    assert slope(curve(lambda labels: 0.5 - labels / 1_000)) == pytest.approx(0.1)
    assert not flat(curve(lambda labels: 0.5 - labels / 1_000))
    assert flat(curve(lambda labels: 0.1))


def test_the_forecast_of_a_power_law_is_that_law():
    (ahead,) = forecast(POWER, [600])
    assert ahead.accuracy == pytest.approx(1 - (0.05 + 2.0 * 600**-0.6), abs=0.01)
    assert ahead.low < ahead.accuracy < ahead.high
    assert ahead.high - ahead.low > 0.02


def test_a_larger_test_sample_narrows_the_band():
    few, many = (forecast(curve(lambda labels: 0.05 + 2.0 * labels**-0.6, n), [600])[0] for n in (100, 2_000))
    assert many.high - many.low < few.high - few.low


def test_labels_needed_is_where_the_curve_reaches_the_goal():
    needed = labels_needed(POWER, 0.9)
    true = (2.0 / 0.05) ** (1 / 0.6) - 300
    assert needed.labels == pytest.approx(true, rel=0.15)
    assert needed.low <= needed.labels


def test_a_goal_beyond_the_curve_is_reported_as_such():
    needed = labels_needed(curve(lambda labels: 0.3, n=2_000), 0.99)
    assert needed.labels is None
    assert needed.high is None


@given(st.lists(st.floats(0, 1), min_size=6, max_size=6))
def test_the_fit_is_that_of_non_negative_least_squares(errors):
    points = [
        Point(labels, 0.0, n) for labels, n in zip([5, 10, 30, 60, 100, 300], [9, 20, 50, 90, 100, 100], strict=True)
    ]
    x, root = np.array([p.labels for p in points]) / 5, np.sqrt([p.n for p in points])
    designs = [np.stack([np.ones(6), x**-c], axis=1) * root[:, None] for c in EXPONENTS]
    best = min(nnls(design, root * errors)[1] for design in designs)
    fitted = _power_law(points, np.array([errors]), np.array([p.labels for p in points], dtype=float))[0]
    assert np.linalg.norm(root * (fitted - errors)) == pytest.approx(best, abs=1e-6)


def evaluation(labels, accuracy, n):
    return Evaluation(
        id=uuid4(),
        log_id=LOG,
        acked_seq=labels,
        model_version="m",
        round=1,
        labels=labels,
        spent=labels + n,
        created_at=WHEN,
        accuracy=Interval(value=accuracy, low=0, high=1, n=n),
        macro_f1=None,
        log_loss=None,
    )


def course(n=400):
    return [evaluation(p.labels, p.accuracy, n) for p in POWER]


def test_advice_needs_five_numbers_of_labels_and_a_hundred_test_labels():
    assert advise(course()[:4], []) is None
    assert advise(course(99), []) is None
    assert advise([*course()[:4], *course()[3:4]], []) is None  # measured twice with the same labels
    assert advise(course()[:5], []) is not None


def test_advice_counts_to_the_goal_or_to_the_next_round_figure():
    assert advise(course(), [], goal=0.92).needed.goal == 0.92
    assert advise(course(), []).needed.goal == 0.9  # the curve is at 0.884
    assert advise(course(), [], goal=0.5).needed is None  # reached
    assert [each.labels for each in advise(course(), []).forecast] == [300, 360, 420, 480, 540, 600]


def test_advice_ignores_evaluations_before_an_undo():
    assert advise([*course(), evaluation(90, 0.7, 400)], []) is None


def test_agreement_needs_no_test_labels():
    advice = advise([evaluation(300, 0.9, 5)], [0.99, 1.0, 0.995])
    assert advice.stable
    assert advice.agreement == pytest.approx(0.995)
    assert advice.forecast == []
    assert advise([evaluation(300, 0.9, 5)], [0.99, 1.0]) is None


def test_models_are_compared_a_fixed_number_of_labels_apart():
    ids, stability = np.arange(100), Stability()
    for labels in range(10, 10 + 4 * APART, 10):
        stability.observe(labels, ids, ids % 4)
    assert stability.kappas == [1.0, 1.0, 1.0]
    stability.observe(10 + 4 * APART, ids[50:], (ids[50:] + 1) % 4)  # images that are gone are left out
    assert stability.kappas[:2] == [1.0, 1.0]
    assert stability.kappas[2] < 0


def test_labels_taken_back_begin_the_comparison_anew():
    ids, stability = np.arange(100), Stability()
    for labels in (10, 10 + APART, 10):
        stability.observe(labels, ids, ids % 4)
    assert stability.kappas == []
