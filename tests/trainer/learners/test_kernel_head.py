"""The head as the trainer uses it: fit on labels, ask for probabilities, save as arrays."""

import re

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.datasets import load_digits

from trainer.learners.kernel_head import Head, KernelHead, fit_head


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))  # the file is sorted by writer
    return unit(X - X.mean(axis=0))[order], y[order].astype(np.int64)


def test_it_learns_and_its_rows_are_probabilities(digits):
    Z, y = digits
    head = fit_head(Z[:300], y[:300])
    p = head.predict_proba(Z[300:])
    assert p.shape == (len(Z) - 300, 10)
    assert p.dtype == np.float32
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)
    assert (head.classes[p.argmax(axis=1)] == y[300:]).mean() > 0.9


def test_its_confidence_is_about_its_accuracy(digits):
    Z, y = digits
    head = fit_head(Z[:200], y[:200])
    p = head.predict_proba(Z[200:])
    accuracy = (head.classes[p.argmax(axis=1)] == y[200:]).mean()
    assert abs(p.max(axis=1).mean() - accuracy) < 0.1


def test_class_ids_may_be_any_integers(digits):
    Z, y = digits
    head = fit_head(Z[:100], 7 + 100 * y[:100])
    assert head.classes.tolist() == sorted({7 + 100 * int(c) for c in y[:100]})
    np.testing.assert_array_equal(head.predict_proba(Z[:50]), fit_head(Z[:100], y[:100]).predict_proba(Z[:50]))


@pytest.mark.parametrize("y", [[], [3], [3, 3, 3]])
def test_fewer_than_two_classes_are_refused(y):
    with pytest.raises(ValueError, match="two classes"):
        fit_head(np.ones((len(y), 4), dtype=np.float32), np.array(y, dtype=np.int64))


def test_two_labels_are_enough(digits):
    Z, y = digits
    rows = [int(np.flatnonzero(y == c)[0]) for c in (0, 1)]
    head = fit_head(Z[rows], y[rows])
    assert (head.classes[head.predict_proba(Z[rows]).argmax(axis=1)] == y[rows]).all()


def test_the_same_labels_give_the_same_head_and_their_order_does_not_matter(digits):
    Z, y = digits
    head, again = fit_head(Z[:120], y[:120]), fit_head(Z[:120], y[:120])
    np.testing.assert_array_equal(head.weights, again.weights)
    shuffled = np.random.default_rng(1).permutation(120)
    other = fit_head(Z[:120][shuffled], y[:120][shuffled])
    np.testing.assert_allclose(head.predict_proba(Z[200:300]), other.predict_proba(Z[200:300]), atol=1e-2)


def test_a_warm_start_finds_the_same_optimum(digits):
    Z, y = digits
    previous = fit_head(Z[:100], y[:100])
    warm, cold = fit_head(Z[:150], y[:150], previous=previous), fit_head(Z[:150], y[:150])
    np.testing.assert_allclose(warm.predict_proba(Z[200:]), cold.predict_proba(Z[200:]), atol=2e-2)


def test_identical_and_zero_rows_do_no_harm():
    Z = np.zeros((6, 8), dtype=np.float32)
    Z[:3, 0] = 1
    p = fit_head(Z, np.array([0, 0, 0, 1, 1, 1])).predict_proba(Z)
    assert np.isfinite(p).all()
    assert (p.argmax(axis=1) == [0, 0, 0, 1, 1, 1]).all()


def test_near_copies_do_no_harm():
    rng = np.random.default_rng(0)
    originals = unit(rng.normal(size=(200, 32)))
    Z = np.repeat(originals, 5, axis=0) * np.float32(1 + 2**-11) ** rng.integers(0, 2, (1_000, 32)).astype(np.float32)
    y = np.repeat(np.arange(200) % 4, 5)
    assert (fit_head(unit(Z), y).predict_proba(unit(Z)).argmax(axis=1) == y).mean() > 0.95


@pytest.mark.parametrize("values", [2, 3, 5])
def test_vectors_of_few_values_are_learned_from(values):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 1_000)
    Z = unit(rng.normal(size=(1_000, values)) + 4 * np.eye(values)[y])
    assert (fit_head(Z, y).predict_proba(Z).argmax(axis=1) == y).mean() > 0.95


def test_it_survives_as_arrays(digits):
    Z, y = digits
    head = fit_head(Z[:100], y[:100])
    tensors = head.to_tensors()
    assert all(isinstance(array, np.ndarray) and array.dtype != object for array in tensors.values())
    np.testing.assert_array_equal(Head.from_tensors(tensors).predict_proba(Z), head.predict_proba(Z))


def test_more_labels_than_landmarks_are_learned_too(digits):
    Z, y = digits
    head = fit_head(Z[:1_300], y[:1_300])
    assert len(head.landmarks) < 1_300
    assert set(head.classes) == set(range(10))
    assert (head.classes[head.predict_proba(Z[1_300:]).argmax(axis=1)] == y[1_300:]).mean() > 0.95


def test_how_to_use_a_saved_head_is_what_the_head_computes(digits):
    """The description is followed word by word, with nothing but the saved arrays."""
    head, learner = fit_head(digits[0][:100], digits[1][:100]), KernelHead()
    saved, rows = learner.save(head), digits[0][100:130]
    told = re.search(r"exp\(-([0-9.]+) \* squared distance to each of anchors\) @ weights", learner.how_to_use)
    assert told is not None
    gamma = float(told[1])
    squared = ((rows[:, None, :] - saved["anchors"][None]) ** 2).sum(axis=-1)
    logits = np.exp(-gamma * squared) @ saved["weights"] + saved["bias"]
    np.testing.assert_allclose(softmax(logits, axis=1), head.predict_proba(rows), atol=1e-4)
    np.testing.assert_array_equal(learner.predict(learner.load(saved), rows), head.predict_proba(rows))
