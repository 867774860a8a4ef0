"""Metrics agree with scikit-learn where it has the same one, and are defined in the edge cases."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, f1_score, log_loss

from shared.wire.evaluation import Evaluation
from trainer.evaluation.metrics import calibrate, evaluate, wilson

NAMES = {10: "shirt", 20: "hat", 30: "shoes"}
CLASSES = np.array([10, 20, 30])


def random_case(n=200, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet([0.5] * 3, size=n).astype(np.float32)
    y = np.where(rng.random(n) < 0.6, CLASSES[p.argmax(axis=1)], rng.choice(CLASSES, n))
    return y, p


def test_it_agrees_with_scikit_learn():
    y, p = random_case()
    measured, predicted = evaluate(y, p, CLASSES, NAMES), CLASSES[p.argmax(axis=1)]
    assert measured.accuracy.value == pytest.approx((y == predicted).mean())
    assert measured.macro_f1 == pytest.approx(f1_score(y, predicted, average="macro"))
    assert measured.confusion == confusion_matrix(y, predicted, labels=CLASSES).tolist()
    clipped = np.clip(p.astype(float), 1e-6, 1)
    assert measured.log_loss == pytest.approx(log_loss(y, clipped / clipped.sum(axis=1, keepdims=True)), rel=1e-3)
    assert [c.name for c in measured.classes] == ["shirt", "hat", "shoes"]
    assert measured.classes[0].f1 == pytest.approx(f1_score(y == 10, predicted == 10))


@pytest.mark.parametrize(
    ("share", "n", "low", "high"),
    [(0.95, 100, 0.888, 0.978), (0.95, 200, 0.910, 0.973), (0.95, 400, 0.924, 0.967)],
)
def test_wilson_gives_the_known_intervals(share, n, low, high):
    interval = wilson(round(share * n), n)
    assert (round(interval.low, 3), round(interval.high, 3)) == (low, high)


@given(st.integers(1, 2000), st.data())
def test_wilson_stays_between_0_and_1_around_its_value(n, data):
    interval = wilson(data.draw(st.integers(0, n)), n)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1


@pytest.mark.parametrize("n", [1, 2, 7, 60, 199, 5_000])
def test_wilson_is_scipys(n):
    for successes in {0, 1, n // 3, n // 2, n - 1, n}:
        interval, known = wilson(successes, n), binomtest(successes, n).proportion_ci(method="wilson")
        assert (interval.low, interval.high) == pytest.approx((known.low, known.high), abs=1e-9)


def test_without_test_images_nothing_is_known():
    measured = evaluate(np.empty(0, dtype=np.int64), np.empty((0, 3), dtype=np.float32), CLASSES, NAMES)
    assert (measured.accuracy.low, measured.accuracy.high, measured.accuracy.n) == (0, 1, 0)
    assert measured.macro_f1 is None
    assert measured.log_loss is None
    assert measured.lower_bounds == {"accuracy": 0, "macro_f1": 0}


def test_a_class_that_the_head_does_not_know_is_a_miss():
    y = np.array([10, 40, 40])
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8]], dtype=np.float32)
    measured = evaluate(y, p, np.array([10, 20]), {**NAMES, 40: "dress"})
    assert measured.accuracy.value == pytest.approx(1 / 3)
    dress = next(c for c in measured.classes if c.name == "dress")
    assert (dress.recall, dress.precision, dress.support) == (0.0, None, 2)
    assert np.isfinite(measured.log_loss)


def test_a_class_without_a_name_is_reported_by_its_number():
    measured = evaluate(np.array([99]), np.ones((1, 1), dtype=np.float32), np.array([99]), NAMES)
    assert [c.name for c in measured.classes] == ["shirt", "hat", "shoes", "99"]


def test_the_lower_bound_of_macro_f1_lies_below_it_and_rises_with_more_images():
    few, many = (evaluate(*random_case(n), CLASSES, NAMES) for n in (60, 2000))
    assert few.lower_bounds["macro_f1"] < few.macro_f1
    assert many.macro_f1 - many.lower_bounds["macro_f1"] < few.macro_f1 - few.lower_bounds["macro_f1"]
    assert few.lower_bounds["accuracy"] == few.accuracy.low
    for each in (few, many):
        low, high = each.macro_f1_interval
        assert low == each.lower_bounds["macro_f1"]
        assert low < each.macro_f1 < high


def test_calibration_compares_confidence_with_how_often_it_was_right():
    right = np.array([True] * 3 + [False] + [True] * 4)
    confidence = np.array([0.75] * 4 + [1.0] * 4, np.float32)
    (unsure, sure), error = calibrate(right, confidence)
    assert (unsure.low, unsure.high, unsure.confidence, unsure.accuracy.value, unsure.accuracy.n) == (
        0.7,
        0.8,
        0.75,
        0.75,
        4,
    )
    assert (sure.low, sure.accuracy.value) == (0.9, 1)
    assert error == pytest.approx(0)
    assert calibrate(np.zeros(4, bool), confidence[:4])[1] == pytest.approx(0.75)  # always wrong at 75 %
    assert calibrate(right[:0], confidence[:0]) == ([], None)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1, width=32)), min_size=1, max_size=200))
def test_every_image_is_in_one_bin_and_the_error_is_the_mean_distance(cases):
    right, confidence = (np.array(column) for column in zip(*cases, strict=True))
    bins, error = calibrate(right, confidence.astype(np.float32))
    assert sum(each.accuracy.n for each in bins) == len(cases)
    assert sum(each.accuracy.value * each.accuracy.n for each in bins) == pytest.approx(right.sum())
    assert all(each.low - 1e-6 <= each.confidence <= each.high + 1e-6 for each in bins)
    assert [each.low for each in bins] == sorted({each.low for each in bins})
    distances = [each.accuracy.n * abs(each.accuracy.value - each.confidence) for each in bins]
    assert error == pytest.approx(sum(distances) / len(cases), abs=1e-6)


def test_it_fits_the_message():
    y, p = random_case()
    measured = evaluate(y, p, CLASSES, NAMES)
    fields = Evaluation.model_fields
    assert {"accuracy", "macro_f1", "log_loss", "classes", "confusion"} <= set(fields)
    assert all(isinstance(row, list) and all(isinstance(n, int) for n in row) for row in measured.confusion)


def test_the_lower_bound_of_macro_f1_is_rarely_above_the_truth_when_there_are_few_errors():
    """Ten classes, 95 % right: a bootstrap alone was too high in 35 % of the projects with 20 test images."""
    rng = np.random.default_rng(0)
    classes, names = np.arange(10), {k: str(k) for k in range(10)}
    above = 0
    for _ in range(100):
        y = rng.integers(10, size=20)
        said = np.where(rng.random(20) < 0.95, y, rng.integers(10, size=20))
        above += evaluate(y, np.eye(10, dtype=np.float32)[said], classes, names).lower_bounds["macro_f1"] > 0.95
    assert above <= 3
    low, high = evaluate(y, np.eye(10, dtype=np.float32)[y], classes, names).macro_f1_interval
    assert (low, high) == (wilson(20, 20).low, 1)
