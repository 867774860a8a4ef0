"""The figures of several classes per image equal scikit-learn's. They leave out unknown answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, log_loss, precision_recall_fscore_support

from trainer.evaluation.metrics import wilson
from trainer.evaluation.multilabel_metrics import aligned, average_precision, evaluate, f1_scores

NAMES = {0: "cat", 2: "dog", 3: "fox"}
IDS = np.array([0, 2, 3])


def answers(seed, images=120, *, unknown=0.0, unlearned=()):
    """Truth over class ids 0 to 3, and a model that knows the classes of `NAMES` that are not `unlearned`."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((images, 4)) < [0.4, 0.5, 0.2, 0.3]).astype(np.int8)
    p = np.clip(0.3 + 0.4 * truth + rng.normal(0, 0.25, truth.shape), 0.01, 0.99).astype(np.float32)
    truth[rng.random(truth.shape) < unknown] = -1
    classes = np.array([each for each in IDS if each not in unlearned], np.int64)
    return truth, p[:, classes], np.full(len(classes), 0.45, np.float32), classes


def measured(*given):
    return evaluate(aligned(*given, NAMES), NAMES)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_known_answers_are_measured_as_by_scikit_learn(seed):
    truth, p, limits, classes = answers(seed)
    y, said = truth[:, IDS], p >= limits
    found = measured(truth, p, limits, classes).details
    assert found["macro_f1"] == pytest.approx(f1_score(y, said, average="macro"))
    assert found["micro_f1"].value == pytest.approx(f1_score(y, said, average="micro"))
    assert found["mean_average_precision"].value == pytest.approx(average_precision_score(y, p, average="macro"))
    losses = [log_loss(y[:, k], p[:, k].astype(np.float64), labels=[0, 1]) for k in range(3)]
    assert found["log_loss"] == pytest.approx(np.mean(losses))
    exact = int((y == said).all(axis=1).sum())
    assert found["exact_match"] == wilson(exact, len(y))
    for k, each in enumerate(found["classes"]):
        precision, recall, f1, _ = precision_recall_fscore_support(y[:, k], said[:, k], average="binary")
        assert (each.precision, each.recall, each.f1) == pytest.approx((precision, recall, f1))
        assert each.average_precision.value == pytest.approx(average_precision_score(y[:, k], p[:, k]))
        assert (each.support, each.learned) == (y[:, k].sum(), True)
        assert each.threshold == pytest.approx(0.45)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_unknown_answers_are_left_out_class_by_class(seed):
    truth, p, limits, classes = answers(seed, unknown=0.4)
    found = measured(truth, p, limits, classes).details
    whole = (truth[:, IDS] >= 0).all(axis=1)
    assert found["exact_match"].n == whole.sum()
    for k, each in enumerate(found["classes"]):
        known = truth[:, IDS[k]] >= 0
        y, scores = truth[known, IDS[k]], p[known, k]
        assert each.average_precision.n == known.sum()
        assert each.average_precision.value == pytest.approx(average_precision_score(y, scores))
        assert each.f1 == pytest.approx(f1_score(y, scores >= limits[k]))


def test_an_answer_about_one_class_changes_no_figure_of_another():
    truth, p, limits, classes = answers(1, unknown=0.5)
    other = truth.copy()
    other[:, 2] = np.where(truth[:, 2] == -1, 1, truth[:, 2])
    before, after = (measured(each, p, limits, classes).details["classes"] for each in (truth, other))
    assert [each.f1 for each in before][::2] == [each.f1 for each in after][::2]
    assert [each.average_precision.value for each in before][::2] == [each.average_precision.value for each in after][
        ::2
    ]


def test_a_class_that_is_not_learned_is_never_predicted_and_counts():
    truth, p, limits, classes = answers(0, unlearned=[2])
    found = measured(truth, p, limits, classes).details
    dog = found["classes"][1]
    assert (dog.name, dog.learned, dog.threshold, dog.f1) == ("dog", False, None, 0.0)
    assert dog.average_precision.value == pytest.approx(truth[:, 2].mean())
    assert found["macro_f1"] == pytest.approx(np.mean([each.f1 for each in found["classes"]]))


def test_tied_scores_are_one_step_of_the_curve():
    yes, scores = np.array([True, False, True, False]), np.array([0.5, 0.5, 0.5, 0.1])
    assert average_precision(yes, scores, np.ones((1, 4)))[0] == pytest.approx(average_precision_score(yes, scores))


def test_resampling_counts_an_image_as_often_as_it_is_drawn():
    rng = np.random.default_rng(0)
    yes, scores = rng.random(40) < 0.4, rng.random(40)
    drawn = rng.multinomial(40, np.full(40, 1 / 40), size=5)
    expected = [average_precision_score(np.repeat(yes, w), np.repeat(scores, w)) for w in drawn]
    np.testing.assert_allclose(average_precision(yes, scores, drawn.astype(np.float64)), expected)


def test_intervals_contain_what_many_images_say():
    truth, p, limits, classes = answers(7, images=20_000)
    everything = aligned(truth, p, limits, classes, NAMES)
    macro, micro = f1_scores(everything)
    inside = np.zeros(2)
    for start in range(0, 20_000, 200):
        found = measured(truth[start : start + 200], p[start : start + 200], limits, classes).details
        low, high = found["macro_f1_low"], found["macro_f1_high"]
        inside += [low <= macro <= high, found["micro_f1"].low <= micro <= found["micro_f1"].high]
    assert (inside >= 88).all()


def test_lower_bounds_are_the_lower_ends():
    found = measured(*answers(3))
    assert found.lower_bounds == {
        "accuracy": found.accuracy.low,
        "exact_match": found.details["exact_match"].low,
        "macro_f1": found.details["macro_f1_low"],
        "micro_f1": found.details["micro_f1"].low,
        "mean_average_precision": found.details["mean_average_precision"].low,
    }


def test_few_errors_do_not_make_the_interval_too_narrow():
    truth = np.tile(np.array([[1, 0, 1, 0], [0, 0, 0, 1]], np.int8), (6, 1))
    p = truth[:, IDS].astype(np.float32)
    found = measured(truth, p, np.full(3, 0.5, np.float32), IDS)
    assert found.details["macro_f1"] == 1
    assert found.lower_bounds["macro_f1"] < 0.85


def test_pairs_say_what_goes_together_and_what_is_mistaken():
    truth = np.array([[1, 0, 1, 0], [1, 0, 1, 0], [1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, -1]], np.int8)
    p = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1], [0, 1, 1], [0, 0, 1]], np.float32)
    found = measured(truth, p, np.full(3, 0.5, np.float32), IDS).details
    assert [(each.name, each.other_name, each.images, each.among) for each in found["together"]] == [
        ("cat", "dog", 2, 3),
        ("dog", "fox", 1, 3),
    ]
    assert [(each.name, each.other_name, each.images, each.among) for each in found["confused"]] == [
        ("cat", "fox", 1, 3)
    ]


def test_without_known_answers_nothing_is_measured():
    truth, p, limits, classes = answers(0)
    found = measured(np.full_like(truth, -1), p, limits, classes)
    assert (found.accuracy.n, dict(found.lower_bounds)) == (0, {})
    assert [each.learned for each in found.details["classes"]] == [True] * 3
