import numpy as np
import pytest
from sklearn.datasets import load_digits

from trainer.embeddings.neighbourhood import PUPILS, Neighbourhood
from trainer.embeddings.transform import unit
from trainer.learners import teacher
from trainer.learners.kernel_head import Head, fit_head, kernel
from trainer.tasks.classification import Classification


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


def test_the_part_of_the_teacher_shrinks_slowly_once_each_class_has_labels():
    assert teacher.part_of_teacher(0, classes=1) == teacher.part_of_teacher(100, classes=2) == 1
    assert 0.95 < teacher.part_of_teacher(101, classes=2) < 1
    few = 30 * teacher.PER_CLASS
    assert teacher.part_of_teacher(few, classes=30) == 1
    for classes in (2, 30, 1_000):
        parts = [teacher.part_of_teacher(labels, classes) for labels in range(1_002)]
        steps = np.diff(parts)
        assert steps.max() <= 0
        assert steps.min() > -0.02  # no label changes the model at once
        assert parts[999] > 0 == parts[1_000]  # none from there on, so that a fit stays quick


def test_a_mixed_head_is_a_weighted_mean_of_both(digits, around):
    pool, y, others, _ = digits
    rows = few(y, 3, 60)
    plain, taught = fit_head(pool[rows], y[rows]), taught_head(pool[rows], y[rows], pool, around, rows)
    mixed = teacher.mixed(taught, plain, 0.3)
    logits = [kernel(others, head.landmarks) @ head.weights + head.bias for head in (taught, plain, mixed)]
    np.testing.assert_allclose(logits[2], 0.3 * logits[0] + 0.7 * logits[1], atol=2e-3)


def test_the_model_does_not_jump_when_the_teacher_begins_to_shrink(digits):
    """Where the teacher ended at once, one label changed a few percent of all answers."""
    pool, y, others, _ = digits
    task, kept = Classification(), {}
    order = few(y, 0, 152)

    def answers(count):
        rows = order[:count]
        return task.fit(pool[rows], y[rows], pool=pool, kept=kept, without=rows).predict_proba(others)

    before, at, after = answers(149), answers(150), answers(151)
    assert np.abs(after - at).mean() < 2 * np.abs(at - before).mean()


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
    first, second = said[:2]
    seen = np.hstack([np.sqrt(0.5) * both, np.sqrt(0.5) * coordinates]).astype(np.float32)
    near = teacher.within_classes(both.astype(np.float32), first.predict_proba(seen))
    seen = np.hstack([np.sqrt(0.5) * near, np.sqrt(0.5) * coordinates]).astype(np.float32)
    logits = kernel(seen, second.landmarks) @ second.weights + second.bias
    ridge = teacher.RIDGE * np.eye(len(both))
    weights = np.linalg.solve(kernel(both, both) + ridge, logits - logits.mean(axis=0))
    np.testing.assert_allclose(heads[0].weights, weights, atol=1e-3 * np.abs(weights).max())


def test_a_part_is_learned_from_the_teacher_that_sees_neighbours_and_the_rest_without_them(digits, around):
    pool, y, _, _ = digits
    rows = few(y, 4, 30)
    pupils = pool[around.pupils(30, len(pool), without=rows)]
    coordinates = around.coordinates(np.concatenate([pool[rows], pupils]), pool)

    def weights(part):
        return teacher.taught_head(pool[rows], y[rows], pupils, coordinates, part=part, seed=0).weights

    with_them, without = weights(1.0), weights(0.0)
    assert np.abs(with_them - without).max() > 0.1
    np.testing.assert_allclose(weights(0.4), 0.4 * with_them + 0.6 * without, atol=1e-4)


def test_images_of_one_class_come_nearer_to_each_other_and_stay_of_unit_length():
    rng = np.random.default_rng(0)
    y = np.arange(300) % 3
    rows = np.zeros((300, 6), np.float32)
    rows[np.arange(300), y] = 1.0  # three directions tell the classes apart, the others are noise
    rows += rng.normal(0, [0.1, 0.1, 0.1, 1.0, 1.0, 1.0], (300, 6)).astype(np.float32)
    rows = unit(rows)
    near = teacher.within_classes(rows, np.eye(3)[y])
    assert near.shape == rows.shape
    np.testing.assert_allclose(np.linalg.norm(near, axis=1), 1, atol=1e-5)
    same = y[:, None] == y

    def ratio(of):
        squared = 2 - 2 * of @ of.T
        return squared[same].mean() / squared[~same].mean()

    assert ratio(near) < 0.9 * ratio(rows)


def test_rows_that_are_copies_or_have_more_values_than_there_are_rows_have_a_metric_too():
    rng = np.random.default_rng(1)
    wide = unit(rng.normal(size=(20, 50)).astype(np.float32))
    for rows in (wide, np.repeat(wide[:1], 20, axis=0), np.zeros((20, 50), np.float32)):
        near = teacher.within_classes(rows, np.eye(2)[np.arange(20) % 2])
        assert np.isfinite(near).all()
        assert np.linalg.norm(near, axis=1).max() < 1 + 1e-5


def test_with_many_labels_a_head_learns_in_part_from_a_teacher_without_neighbours(digits, around):
    pool, y, others, truth = digits
    rows = few(y, 4, 60)
    pupils = pool[around.pupils(len(rows), len(pool), without=rows)]
    coordinates = around.coordinates(np.concatenate([pool[rows], pupils]), pool)
    whole, none, part = (
        teacher.taught_head(pool[rows], y[rows], pupils, coordinates, part=part, seed=0) for part in (1.0, 0.0, 0.3)
    )
    logits = [kernel(others, head.landmarks) @ head.weights + head.bias for head in (whole, none, part)]
    np.testing.assert_allclose(logits[2], 0.3 * logits[0] + 0.7 * logits[1], atol=1e-2)
    assert accuracy(whole, others, truth) > accuracy(none, others, truth)


def test_teachers_fade_without_a_step_before_they_end():
    parts = [teacher.part_of_all_teachers(labels) for labels in range(1_002)]
    assert parts[0] == parts[500] == 1
    assert parts[1_000] == parts[1_001] == 0
    steps = np.diff(parts)
    assert steps.max() <= 0
    assert steps.min() > -0.01
