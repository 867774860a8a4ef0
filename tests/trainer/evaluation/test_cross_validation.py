"""Labels are judged by models that have not seen them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.embeddings.transform import unit
from trainer.evaluation.cross_validation import FOLDS, deal, folds_of, lacking, out_of_fold
from trainer.tasks.classification import Classification


def clouds(per_class: list[int], seed: int = 0, width: float = 0.35):
    """Unit rows in one cloud per class, and the class of each."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 1, (len(per_class), 12))
    truth = np.repeat(np.arange(len(per_class)), per_class)
    return unit((centres[truth] + rng.normal(0, width, (len(truth), 12))).astype(np.float32)), truth + 5


def judge(rows, given_):
    return out_of_fold(np.arange(len(rows)) + 100, rows, given_, np.zeros(len(rows), bool), seed=0)


def test_a_wrong_label_gets_a_low_probability_and_the_right_one_a_high():
    rows, truth = clouds([40, 40, 40])
    given_ = truth.copy()
    given_[:6] = 6
    known = judge(rows, given_)
    own = known.probabilities[np.arange(120), given_ - 5]
    assert set(np.argsort(own)[:6]) == set(range(6))
    assert (known.probabilities[:6, 0] > 0.8).all()


def test_copies_with_the_same_wrong_label_do_not_support_each_other():
    rows, truth = clouds([40, 40, 40])
    rows[:4] = rows[0]
    given_ = truth.copy()
    given_[:4] = 6
    known = judge(rows, given_)
    own = known.probabilities[np.arange(120), given_ - 5]
    assert set(np.argsort(own)[:4]) == set(range(4))


def test_a_class_of_pictures_that_are_nearly_the_same_is_judged_all_the_same():
    rows, truth = clouds([20, 20], width=0.01)
    given_ = truth.copy()
    given_[3] = 6
    known = judge(rows, given_)
    assert known.judged.all()
    assert known.probabilities[np.arange(40), given_ - 5].argmin() == 3


def test_a_class_of_two_is_judged_and_a_class_of_one_is_not():
    rows, truth = clouds([30, 30, 2, 1])
    known = judge(rows, truth)
    assert known.judged.tolist() == [True] * 62 + [False]
    assert (known.probabilities[60:62, 2] > known.probabilities[:60, 2].max()).all()


def test_neighbours_are_the_nearest_others():
    rows, truth = clouds([15, 15])
    known = judge(rows, truth)
    cosine = rows @ rows.T
    np.fill_diagonal(cosine, -1)
    assert (known.neighbours[:, 0] == cosine.argmax(axis=1)).all()
    assert (np.diff(known.similarity, axis=1) <= 0).all()


def test_too_few_labels_are_not_judged():
    rows, truth = clouds([4, 4])
    assert judge(rows, truth) is None
    rows, truth = clouds([30])
    assert judge(rows, truth) is None


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 3)), min_size=1, max_size=60), st.integers(0, 5))
def test_folds_keep_groups_together_and_deal_classes_out_evenly(pairs, seed):
    groups = np.unique([group for group, _ in pairs], return_inverse=True)[1]
    at = np.unique([k for _, k in pairs], return_inverse=True)[1]
    fold = deal(groups, at, seed)
    assert ((fold >= 0) & (fold < FOLDS)).all()
    assert all(len(set(fold[groups == group])) == 1 for group in set(groups))
    alone = deal(np.arange(len(at)), at, seed)
    for k in set(at):
        counts = np.bincount(alone[at == k], minlength=FOLDS)
        assert counts.max() - counts.min() <= 1


def test_progress_goes_from_zero_towards_one():
    rows, truth = clouds([20, 20])
    told = []
    out_of_fold(np.arange(40), rows, truth, np.zeros(40, bool), seed=0, progress=told.append)
    assert told[0] == 0
    assert told == sorted(told)
    assert 0.9 < told[-1] < 1


@settings(max_examples=40)  # each example fits some thirty heads
@given(st.lists(st.integers(0, 3), max_size=14))
def test_the_number_of_missing_labels_is_never_too_high(labels):
    """Adding that many labels of the right classes is enough; adding one fewer never is."""
    given_ = np.array(labels, np.int64)
    wanted = lacking(given_)
    rows, _ = clouds([len(labels) + 10], width=1.0)
    if wanted > 0:
        assert judge(rows[: len(labels)], given_) is None
        rare = [k for k in range(2) for _ in range(max(0, 2 - labels.count(k)))]
        assert wanted <= len(rare) or len(labels) + wanted == 10
        filled = np.array([*labels, *rare, *[k % 2 for k in range(10)]][: max(len(labels) + len(rare), 10)], np.int64)
        assert lacking(filled) <= 0
        assert judge(rows[: len(filled)], filled) is not None


def test_a_head_answers_each_fold_after_learning_from_the_others():
    rows, truth = clouds([30, 30, 30])
    rows[:4] = rows[0]
    judged = np.arange(90) % 10 > 0
    fold = folds_of(rows, truth, judged, folds=3, seed=0)
    assert (fold[~judged] == -1).all()
    assert set(fold[judged].tolist()) == {0, 1, 2}
    assert len(set(fold[1:4].tolist())) == 1  # copies of one image
    task = Classification()
    said = task.says_out_of_fold(rows, truth, fold, seed=0)
    assert (np.array(said)[judged] == truth[judged]).mean() > 0.95
    assert {said[row] for row in np.flatnonzero(~judged)} == {None}
    wrong = truth.copy()
    wrong[21] = 6
    assert task.says_out_of_fold(rows, wrong, fold, seed=0)[21] == 5  # its own wrong label had no say
