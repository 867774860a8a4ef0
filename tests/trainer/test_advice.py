"""Advice follows the curve, and says nothing without ground."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from trainer.advice import Point, flat, forecast, kappa, labels_needed, slope, stable


def curve(error, n=400, last=300):
    return [Point(labels, 1 - error(labels), n) for labels in range(30, last + 1, 30)]


POWER = curve(lambda labels: 0.05 + 2.0 * labels**-0.6)


def test_kappa_is_cohens():
    rng = np.random.default_rng(0)
    a = rng.integers(4, size=200)
    b = np.where(rng.random(200) < 0.8, a, rng.integers(4, size=200))
    assert kappa(a, b) == pytest.approx(cohen_kappa_score(a, b))
    assert kappa(np.ones(5, dtype=int), np.ones(5, dtype=int)) == 1


def test_stable_wants_three_that_agree():
    assert not stable([1.0, 1.0])
    assert stable([0.5, 0.99, 0.99, 0.995])
    assert not stable([0.99, 0.99, 0.95])


@pytest.mark.parametrize("points", [[], POWER[:4], [Point(p.labels, p.accuracy, 99) for p in POWER]])
def test_without_ground_it_says_nothing(points):
    assert slope(points) is None
    assert not flat(points)
    assert forecast(points, 1_000) is None
    assert labels_needed(points, 0.9) is None


def test_a_rising_curve_is_not_flat_and_a_level_one_is():
    assert slope(curve(lambda labels: 0.5 - labels / 1_000)) == pytest.approx(0.1)
    assert not flat(curve(lambda labels: 0.5 - labels / 1_000))
    assert flat(curve(lambda labels: 0.1))


def test_the_forecast_of_a_power_law_is_that_law():
    ahead = forecast(POWER, 600)
    assert ahead.accuracy == pytest.approx(1 - (0.05 + 2.0 * 600**-0.6), abs=0.01)
    assert ahead.low < ahead.accuracy < ahead.high
    assert ahead.high - ahead.low > 0.02


def test_a_larger_test_sample_narrows_the_band():
    few, many = (forecast(curve(lambda labels: 0.05 + 2.0 * labels**-0.6, n), 600) for n in (100, 2_000))
    assert many.high - many.low < few.high - few.low


def test_labels_needed_is_where_the_curve_gets_there():
    needed = labels_needed(POWER, 0.9)
    true = (2.0 / 0.05) ** (1 / 0.6) - 300
    assert needed.labels == pytest.approx(true, rel=0.15)
    assert needed.low <= needed.labels


def test_a_goal_beyond_the_curve_is_said_to_be_so():
    needed = labels_needed(curve(lambda labels: 0.3, n=2_000), 0.99)
    assert needed.labels is None
    assert needed.high is None
