"""The random baseline is an estimate from within the test sample and leaves no model behind."""

import gc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split

from shared.wire.evaluation import RandomEstimate
from tests.trainer.grids import strips
from trainer.embeddings.transform import fit_projection
from trainer.evaluation.random_baseline import (
    FOLDS,
    LEAST_TEST,
    MOST,
    beside_chosen,
    random_baseline,
    several_baseline,
    several_beside_chosen,
)
from trainer.learners.kernel_head import Head, fit_head
from trainer.learners.sigmoid_head import fit_sigmoids


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    X = X.astype(np.float32)
    return fit_projection(X.mean(axis=0), X).transform(X), y.astype(np.int64)


def sample(digits, n, seed=0):
    rows = np.random.default_rng(seed).permutation(len(digits[1]))[:n]
    return digits[0][rows], digits[1][rows]


def test_it_is_near_what_random_labels_give(digits):
    Z, truth = sample(digits, 400)
    estimates = random_baseline(Z, truth, seed=0)
    assert [each.labels for each in estimates] == [25, 50, 100, 200]
    for each in estimates:
        scores = []
        for seed in range(5):
            train, test = train_test_split(np.arange(len(digits[1])), train_size=each.labels, random_state=seed)
            head = fit_head(digits[0][train], digits[1][train])
            scores.append((head.classes[head.predict_proba(digits[0][test]).argmax(axis=1)] == digits[1][test]).mean())
        assert each.accuracy.value == pytest.approx(np.mean(scores), abs=0.06)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 150), st.integers(1, 3), st.integers(0, 5))
def test_it_estimates_no_more_labels_than_the_sample_allows(n, classes, seed):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    truth = rng.integers(classes, size=n)
    before = rows.copy(), truth.copy()
    estimates = random_baseline(rows, truth, seed=seed)
    np.testing.assert_array_equal(rows, before[0])
    np.testing.assert_array_equal(truth, before[1])
    assert estimates == random_baseline(rows, truth, seed=seed)
    assert bool(estimates) == (n >= LEAST_TEST)
    for each in estimates:
        assert each.labels <= min(MOST, n * (FOLDS - 1) / FOLDS)
        assert each.accuracy.n == n
        assert each.accuracy.low <= each.accuracy.value <= each.accuracy.high


def test_meaningless_labels_score_at_chance_level():
    """No image helps to judge itself: otherwise rows that contain the truth would score well."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((300, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    estimates = random_baseline(rows, rng.integers(2, size=300), seed=0)
    assert estimates
    for each in estimates:
        assert each.accuracy.value == pytest.approx(0.5, abs=0.12)


def test_chosen_labels_are_judged_beside_the_largest_estimate_that_they_reach(digits):
    Z, truth = sample(digits, 300)
    rows, judged = Z[:200], truth[:200]
    estimates = random_baseline(rows, judged, seed=0)
    assert [each.labels for each in estimates] == [20, 40, 80, 160]
    beside = beside_chosen(estimates, (Z[200:], truth[200:]), rows, judged)
    assert [each.chosen is not None for each in beside] == [False, False, True, False]
    head = fit_head(Z[200:280], truth[200:280])
    hits = head.classes[head.predict_proba(rows).argmax(axis=1)] == judged
    assert beside[2].chosen.value == hits.mean()
    assert beside_chosen(beside, (Z[200:210], truth[200:210]), rows, judged) == estimates


def heads_alive():
    gc.collect()
    return sum(type(each) is Head for each in gc.get_objects())


def test_no_head_outlives_the_function(digits):
    before = heads_alive()
    estimates = random_baseline(*sample(digits, 100), seed=0)
    estimates = beside_chosen(estimates, sample(digits, 50, seed=1), *sample(digits, 100))
    assert {type(each) for each in estimates} == {RandomEstimate}
    assert heads_alive() == before


@pytest.fixture(scope="module")
def pictures():
    """Images with up to four digits each, and which of four they have."""
    rows, shown = strips(900, digits=range(4))
    return rows, shown[:, :4].astype(np.int8)


def test_with_several_classes_it_is_the_macro_f1_that_random_labels_give(pictures):
    rows, truth = pictures
    estimates = several_baseline(rows[:250], truth[:250], seed=0, learn=fit_sigmoids)
    assert [each.labels for each in estimates] == [25, 50, 100, 200]
    for each in estimates[1:]:
        head = fit_sigmoids(rows[250 : 250 + each.labels], truth[250 : 250 + each.labels])
        judged = slice(450, 900)
        said = np.zeros(truth[judged].shape, bool)
        said[:, head.classes] = head.decide(head.predict_proba(rows[judged]))
        reached = f1_score(truth[judged], said, average="macro")
        assert each.accuracy.value == pytest.approx(reached, abs=0.08)
        assert each.accuracy.low <= each.accuracy.value <= each.accuracy.high
    assert estimates[-1].accuracy.value > estimates[0].accuracy.value
    beside = several_beside_chosen(
        estimates, (rows[250:380], truth[250:380]), rows[:250], truth[:250], learn=fit_sigmoids
    )
    assert [each.labels for each in beside if each.chosen is not None] == [100]


def test_with_nothing_to_learn_random_labels_of_several_classes_give_nothing(pictures):
    rows, truth = pictures
    all_have_it = np.ones((80, 1), np.int8)
    estimates = several_baseline(rows[:80], all_have_it, seed=0, learn=fit_sigmoids)
    assert {each.accuracy.value for each in estimates} == {0.0}
    assert several_baseline(rows[:20], truth[:20], seed=0, learn=fit_sigmoids) == []
