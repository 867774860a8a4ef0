import numpy as np
import pytest
from sklearn.datasets import load_digits

from trainer.embeddings.neighbourhood import PUPILS, Neighbourhood
from trainer.embeddings.transform import unit
from trainer.learners import teacher
from trainer.learners.kernel_head import Head, fit_head, kernel


@pytest.fixture(scope="module")
def digits():
    """Unit rows of 1,200 digits for the pool and of 597 others, and their classes."""
    X, y = load_digits(return_X_y=True)
    rows = unit((X - X[:1_200].mean(axis=0)).astype(np.float32))
    return rows[:1_200], y[:1_200], rows[1_200:], y[1_200:]


@pytest.fixture(scope="module")
def around(digits):
    return Neighbourhood.of(digits[0], seed=0)


def taught_head(labeled, targets, pool, around, without):
    pupils = pool[around.pupils(len(labeled), len(pool), without=without)]
    coordinates = around.coordinates(np.concatenate([labeled, pupils]), pool)
    return teacher.taught_head(labeled, targets, pupils, coordinates, seed=0)


def accuracy(head, rows, y):
    return float((head.classes[head.predict_proba(rows).argmax(axis=1)] == y).mean())


def few(y, seed, count=20):
    """So many rows at random."""
    return np.random.default_rng(seed).permutation(len(y))[:count]


def test_a_head_that_was_taught_knows_more_from_the_same_few_labels(digits, around):
    pool, y, others, truth = digits
    gains = []
    for seed in range(5):
        rows = few(y, seed)
        taught = taught_head(pool[rows], y[rows], pool, around, rows)
        gains.append(accuracy(taught, others, truth) - accuracy(fit_head(pool[rows], y[rows]), others, truth))
    assert min(gains) > 0
    assert np.mean(gains) > 0.03


def test_it_is_a_head_like_any_other_and_is_saved_like_one(digits, around):
    pool, y, others, _ = digits
    rows = few(y, 0)
    head = taught_head(pool[rows], y[rows], pool, around, rows)
    assert len(head.landmarks) == len(rows) + PUPILS
    assert np.array_equal(head.landmarks[: len(rows)], pool[rows])
    again = Head.from_tensors(head.to_tensors())
    assert np.array_equal(again.predict_proba(others), head.predict_proba(others))
    assert np.allclose(head.predict_proba(others).sum(axis=1), 1, atol=1e-5)


def test_the_same_labels_in_another_order_give_the_same_answers(digits, around):
    pool, y, others, _ = digits
    rows = few(y, 1)
    one = taught_head(pool[rows], y[rows], pool, around, rows).predict_proba(others)
    other = taught_head(pool[rows[::-1]], y[rows[::-1]], pool, around, rows).predict_proba(others)
    assert np.abs(one - other).max() < 0.01


def test_labels_are_few_if_there_are_few_for_each_class():
    assert teacher.has_teacher(100, classes=2)
    assert not teacher.has_teacher(101, classes=2)
    few = 30 * teacher.PER_CLASS
    assert teacher.has_teacher(few, classes=30)
    assert not teacher.has_teacher(few + 1, classes=30)
    assert not teacher.has_teacher(501, classes=100)  # so that a fit stays quick


def test_it_learns_the_nearest_function_of_its_own_kernel_also_where_that_of_the_pupils_is_known(digits, around):
    pool, y, _, _ = digits
    rows = few(y, 2, 40)
    labeled, pupils = pool[rows], pool[around.pupils(40, len(pool), without=rows)]
    both = np.concatenate([labeled, pupils]).astype(np.float64)
    coordinates = around.coordinates(both.astype(np.float32), pool)
    said = []

    def fit(beside):
        said.append(fit_head(beside, y[rows]))
        return said[-1]

    known = kernel(both[40:], both[40:])
    heads = [teacher.taught(labeled, pupils, coordinates, fit, among_pupils=each) for each in (None, known)]
    assert np.array_equal(heads[0].weights, heads[1].weights)
    beside = np.hstack([np.sqrt(0.5) * both, np.sqrt(0.5) * coordinates]).astype(np.float32)
    logits = kernel(beside, said[0].landmarks) @ said[0].weights + said[0].bias
    ridge = teacher.RIDGE * np.eye(len(both))
    weights = np.linalg.solve(kernel(both, both) + ridge, logits - logits.mean(axis=0))
    np.testing.assert_allclose(heads[0].weights, weights, atol=1e-3 * np.abs(weights).max())
