"""The estimated number of wrong labels: the interval contains the truth, and hard images are not counted as errors."""

import numpy as np
import pytest

from trainer.review.label_noise import SAMPLE, count_errors


def drawn(seed, labels=400, classes=5, sure=3.0, share=0.0, similar=False):
    """Predictions of a calibrated model for images, some of them hard, and labels of which a share is wrong."""
    rng = np.random.default_rng(seed)
    logits = sure * rng.standard_normal((labels, classes))
    said = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (rng.random((labels, 1)) >= said.cumsum(axis=1)[:, :-1]).sum(axis=1)
    given, errors = truth.copy(), rng.choice(labels, round(share * labels), replace=False)
    away = 1 if similar else rng.integers(1, classes, len(errors))
    given[errors] = (truth[errors] + away) % classes
    return said.astype(np.float32), given, truth


def nobody(given):
    return np.zeros(len(given), bool), np.full(len(given), -1)


def test_hard_images_with_right_labels_are_no_errors():
    for seed in range(20):
        said, given, _ = drawn(seed, sure=2.0)
        contradicted = np.count_nonzero(said.argmax(axis=1) != given)
        assert contradicted > 80  # as many as a plain count would call errors
        found = count_errors([said], given, *nobody(given))
        assert found.low == 0
        assert found.count <= 20
        assert found.enough
    said, given, _ = drawn(0)
    assert np.count_nonzero(count_errors([said], given, *nobody(given)).wrong > 0.05) < 40


@pytest.mark.parametrize("share", [0.02, 0.08, 0.2])
@pytest.mark.parametrize("similar", [False, True])
def test_the_interval_holds_the_truth_nineteen_times_in_twenty(share, similar):
    hits, seeds = 0, range(40)
    for seed in seeds:
        said, given, truth = drawn(seed, share=share, similar=similar)
        found = count_errors([said], given, *nobody(given))
        hits += int(found.low <= np.count_nonzero(given != truth) <= found.high)
    assert hits >= 36


def test_mistakes_that_a_model_has_learned_in_part_are_in_the_interval():
    """A fifth of the images have the label of the next class, and the model partly agrees for every fourth of them."""
    hits = 0
    for seed in range(40):
        said, given, truth = drawn(seed, labels=1000, sure=6.0, share=0.2, similar=True)
        said[::4] = 0.8 * said[::4] + 0.2 * np.roll(said[::4], 1, axis=1)
        found = count_errors([said], given, *nobody(given))
        hits += int(found.low <= np.count_nonzero(given != truth) <= found.high)
    assert hits >= 36


def test_verdicts_say_how_many_are_left():
    said, given, truth = drawn(3, share=0.1)
    confirmed, before = nobody(given)
    first = count_errors([said], given, confirmed, before)
    looked = np.argsort(-first.wrong)[:60]
    now = given.copy()
    now[looked], confirmed[looked], before[looked] = truth[looked], True, given[looked]
    left = np.count_nonzero(now != truth)
    found = count_errors([said], now, confirmed, before)
    assert found.low <= left <= found.high < first.high
    assert found.high - found.low < first.high - first.low


def test_once_the_clear_errors_are_found_hard_images_are_not_surely_more_of_them():
    """80 clear errors are fixed; of 20 other images the model is sure too, and their labels are right."""
    labels, rows = np.arange(600) % 4, np.arange(600)
    said = np.full((600, 4), 0.01, np.float32)
    said[rows, labels] = 0.97
    said[80:100] = 0.02
    said[rows[80:100], labels[80:100]] = 0.1
    said[rows[80:100], (labels[80:100] + 1) % 4] = 0.86
    confirmed, before = nobody(labels)
    confirmed[:80], before[:80] = True, (labels[:80] + 1) % 4
    found = count_errors([said], labels, confirmed, before)
    assert found.low == 0 < found.count < found.high


def test_where_every_verdict_keeps_the_label_fewer_errors_are_expected():
    said, given, _ = drawn(5, share=0.08)
    confirmed, before = nobody(given)
    first = count_errors([said], given, confirmed, before)
    looked = np.argsort(-first.wrong)[:25]
    confirmed[looked], before[looked] = True, given[looked]
    assert count_errors([said], given, confirmed, before).count < first.count - 10


def test_few_labels_are_too_few_to_tell():
    said, given, _ = drawn(0, labels=99)
    assert not count_errors([said], given, *nobody(given)).enough
    said, given, _ = drawn(0, labels=150, classes=40)
    assert not count_errors([said], given, *nobody(given)).enough  # 40 classes need more
    said, given, _ = drawn(0, labels=200, classes=40)
    assert count_errors([said], given, *nobody(given)).enough


def test_all_confirmed_leaves_nothing_wrong():
    said, given, _ = drawn(0, labels=120)
    found = count_errors([said], given, np.ones(120, bool), given)
    assert (found.count, found.low, found.high) == (0, 0, 0)


def test_many_labels_are_estimated_from_a_sample_and_all_counted():
    said, given, truth = drawn(1, labels=3 * SAMPLE, share=0.05)
    found = count_errors([said, said], given, *nobody(given))
    assert found.low <= np.count_nonzero(given != truth) <= found.high
    assert len(found.wrong) == len(given)
