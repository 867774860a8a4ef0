"""The head for several classes per image: unknown is not no, and a single class is like a head of two classes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit
from sklearn.metrics import average_precision_score, f1_score

from tests.trainer.grids import strips, unit
from trainer.learners.kernel_head import fit_head
from trainer.learners.sigmoid_head import SigmoidHead, fit_sigmoids, learnable
from trainer.learners.teacher import mixed, taught
from trainer.learners.thresholds import best_threshold, calibrate

SAME = 0.03
"""Difference in probability that the search leaves open: it stops when the loss hardly falls any more."""


@pytest.fixture(scope="module")
def grids():
    return strips(900)


def some(seed, images=40, classes=4):
    rng = np.random.default_rng(seed)
    rows = unit(rng.standard_normal((images, 6)))
    targets = (rows @ rng.standard_normal((6, classes)) > 0.2).astype(np.int8)
    targets[rng.random(targets.shape) < 0.3] = -1
    return rows, targets


def test_it_learns_and_its_probabilities_are_of_single_classes(grids):
    rows, shown = grids
    model = fit_sigmoids(rows[:300], shown[:300])
    p = model.predict_proba(rows[300:])
    assert p.shape == (600, 10)
    assert p.dtype == np.float32
    assert p.sum(axis=1).std() > 0.1
    assert average_precision_score(shown[300:], p, average="macro") > 0.8
    assert abs(p.mean() - shown[300:].mean()) < 0.05


def test_thresholds_make_the_most_of_few_labels(grids):
    rows, shown = grids
    gained = []
    for n in (40, 100):
        model = fit_sigmoids(rows[:n], shown[:n])
        p, truth = model.predict_proba(rows[300:]), shown[300:, model.classes]
        at_half = f1_score(truth, p >= 0.5, average="macro", zero_division=0)
        gained.append(f1_score(truth, model.decide(p), average="macro", zero_division=0) - at_half)
    assert min(gained) > 0.02


def test_out_of_fold_the_confidence_is_about_right(grids):
    rows, shown = grids
    plain, model = (fit_sigmoids(rows[:150], shown[:150], calibrated=each) for each in (False, True))

    def loss(head):
        p = np.clip(head.predict_proba(rows[300:]), 1e-6, 1 - 1e-6)
        return -np.log(np.where(shown[300:, head.classes] == 1, p, 1 - p)).mean()

    assert loss(model) < loss(plain) - 0.01


@pytest.mark.parametrize("images", [30, 200])
def test_one_known_class_is_a_head_of_two(grids, images):
    rows, shown = grids
    one = fit_sigmoids(rows[:images], shown[:images, 3:4], calibrated=False)
    two = fit_head(rows[:images], shown[:images, 3].astype(np.int64))
    np.testing.assert_allclose(one.predict_proba(rows[300:])[:, 0], two.predict_proba(rows[300:])[:, 1], atol=SAME)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_the_order_of_labels_does_not_matter(seed):
    rows, targets = some(seed)
    order = np.random.default_rng(seed).permutation(len(rows))
    one, other = fit_sigmoids(rows, targets), fit_sigmoids(rows[order], targets[order])
    np.testing.assert_array_equal(one.classes, other.classes)
    np.testing.assert_allclose(one.predict_proba(rows), other.predict_proba(rows), atol=SAME)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1]))
@settings(max_examples=15, deadline=None)
def test_an_unknown_answer_says_nothing_about_other_classes(seed, becomes):
    rows, targets = some(seed)
    known = targets.copy()
    known[:, 0] = np.where(targets[:, 0] == -1, becomes, targets[:, 0])
    one, other = (fit_sigmoids(rows, each, calibrated=False) for each in (targets, known))
    there = np.intersect1d(one.classes, other.classes)
    there = there[there > 0]
    before = one.predict_proba(rows)[:, np.isin(one.classes, there)]
    after = other.predict_proba(rows)[:, np.isin(other.classes, there)]
    np.testing.assert_allclose(before, after, atol=SAME)


def test_unknown_is_not_no(grids):
    rows, shown = grids
    targets = shown[:200].copy()
    missing = np.flatnonzero(targets[:, 5] == 1)[::2]
    targets[missing, 5] = -1
    silent = fit_sigmoids(rows[:200], targets, calibrated=False)
    left_out = fit_sigmoids(np.delete(rows[:200], missing, 0), np.delete(targets, missing, 0), calibrated=False)
    targets[missing, 5] = 0
    wrong = fit_sigmoids(rows[:200], targets, calibrated=False)
    p = [each.predict_proba(rows[300:])[:, 5] for each in (silent, left_out, wrong)]
    assert np.abs(p[0] - p[1]).max() < SAME
    assert p[0].mean() > 1.2 * p[2].mean()


def test_a_class_is_learned_from_a_yes_and_a_no(grids):
    rows, shown = grids
    targets = shown[:60].copy()
    targets[:, 2] = np.where(targets[:, 2] == 1, 1, -1)  # no answer says no to this class
    targets[:, 7] = 0  # and none says yes to this one
    assert learnable(targets).tolist() == [0, 1, 3, 4, 5, 6, 8, 9]
    assert fit_sigmoids(rows[:60], targets).classes.tolist() == learnable(targets).tolist()
    with pytest.raises(ValueError, match="some images have and others lack"):
        fit_sigmoids(rows[:60], targets[:, [2, 7]])


def test_an_earlier_head_only_saves_time(grids):
    rows, shown = grids
    earlier = fit_sigmoids(rows[:120], shown[:120])
    cold, warm = (fit_sigmoids(rows[:150], shown[:150], previous=each) for each in (None, earlier))
    np.testing.assert_allclose(cold.predict_proba(rows), warm.predict_proba(rows), atol=SAME)
    np.testing.assert_array_equal(cold.thresholds, warm.thresholds)


def test_with_many_labels_a_subset_serves_as_landmarks(monkeypatch, grids):
    rows, shown = grids
    exact = fit_sigmoids(rows[:600], shown[:600])
    monkeypatch.setattr("trainer.learners.kernel_head.EXACT", 200)
    monkeypatch.setattr("trainer.learners.kernel_head.LANDMARKS", (150, 150))
    some_of_them = fit_sigmoids(rows[:600], shown[:600])
    assert len(some_of_them.landmarks) == 150
    scores = [average_precision_score(shown[600:], each.predict_proba(rows[600:])) for each in (exact, some_of_them)]
    assert abs(scores[0] - scores[1]) < 0.06


def test_saved_and_loaded_it_is_the_same(grids):
    rows, shown = grids
    learner = SigmoidHead()
    model = learner.fit(rows[:80], shown[:80])
    again = learner.load(learner.save(model))
    np.testing.assert_array_equal(model.predict_proba(rows), again.predict_proba(rows))
    np.testing.assert_array_equal(model.thresholds, again.thresholds)


def test_a_pupil_keeps_the_thresholds_of_its_teacher(grids):
    rows, shown = grids
    labeled, pupils = rows[:50], rows[50:200]
    coordinates = unit(np.random.default_rng(0).standard_normal((200, 5)))
    pupil = taught(labeled, pupils, coordinates, lambda beside: fit_sigmoids(beside, shown[:50]))
    assert len(pupil.landmarks) == 200
    assert pupil.predict_proba(rows[200:]).shape == (700, len(pupil.classes))


def test_a_small_part_of_a_teacher_hardly_changes_what_is_predicted(grids):
    """Its own temperature and thresholds must not outweigh those that suit the labels."""
    rows, shown = grids
    coordinates = unit(np.random.default_rng(0).standard_normal((200, 5)))
    pupil = taught(rows[:50], rows[50:200], coordinates, lambda beside: fit_sigmoids(beside, shown[:50]))
    plain = fit_sigmoids(rows[:50], shown[:50])
    assert not np.allclose(pupil.thresholds, plain.thresholds, atol=0.02)
    for part, one in ((0.0, plain), (1e-4, plain), (1.0, pupil)):
        found = mixed(pupil, plain, part)
        np.testing.assert_allclose(found.predict_proba(rows), one.predict_proba(rows), atol=2e-3)
        np.testing.assert_allclose(found.thresholds, one.thresholds, atol=1e-3)
    half, logits = mixed(pupil, plain, 0.5), [logit(each.predict_proba(rows)) for each in (pupil, plain)]
    np.testing.assert_allclose(logit(half.predict_proba(rows)), np.mean(logits, axis=0), atol=2e-3)


@given(st.lists(st.tuples(st.floats(0.01, 0.99), st.booleans()), min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_no_other_threshold_has_a_better_f1(answers):
    p, yes = np.array([each for each, _ in answers]), np.array([each for _, each in answers])
    yes[0] = True
    chosen = f1_score(yes, p >= best_threshold(p, yes))
    assert chosen >= max(f1_score(yes, p >= limit, zero_division=0) for limit in [*p, 0.5]) - 1e-9


def test_too_few_answers_calibrate_nothing():
    plain = calibrate(np.zeros((8, 2)), np.eye(8, 2, dtype=bool), np.ones((8, 2), bool))
    assert (plain.thresholds.tolist(), plain.temperature) == ([0.5, 0.5], 1.0)
