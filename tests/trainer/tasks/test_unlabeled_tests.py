"""When the accuracy uses the model's confidence on unlabeled test images, and on which of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits

from shared.wire.log import TestChance
from tests.trainer.logs import LOG, batch, class_rows, entry
from trainer.embeddings.space import ImagePool
from trainer.evaluation import active_sample
from trainer.evaluation.metrics import wilson
from trainer.evaluation.prediction_powered import MOST, accuracy
from trainer.loop.rounds import fit, measure
from trainer.sync.replica import Replica
from trainer.sync.snapshot import Snapshot
from trainer.tasks.active_test import due, suggested
from trainer.tasks.unlabeled_tests import unlabeled

TRAIN, ASKED, SKIPPED, OPEN = range(300), range(300, 380), range(380, 384), range(384, 900)
TEST = (*ASKED, *SKIPPED, *OPEN)
X, Y = load_digits(return_X_y=True)
VECTORS = {f"{image:064x}": X[image].astype(np.float32) for image in (*TRAIN, *TEST)}


def pool_of(test, *, complete=True):
    pool = ImagePool(64, lambda sha256s: np.stack([VECTORS[each] for each in sha256s]))
    pool.add([entry(image, split="test" if image in TEST else "train") for image in (*TRAIN, *test)], complete=complete)
    return pool


@pytest.fixture(scope="module")
def pool():
    return pool_of(TEST)


@pytest.fixture(scope="module")
def snapshot():
    """60 train labels and 80 test labels; four more test images were asked and skipped."""
    labels = {image: int(Y[image]) for image in (*range(60), *ASKED)}
    names = {k: str(k) for k in range(10)}
    answered = frozenset((*labels, *SKIPPED))
    return Snapshot(
        LOG, 144, labels, answered, names, here=tuple(labels), passed_over=frozenset(SKIPPED), test_at_random=True
    )


def evaluated(pool, snapshot):
    model = fit(pool, snapshot, None, seed=0)
    found = measure(pool, snapshot, model, round_number=1)
    assert found is not None
    return model, *found


def test_the_accuracy_uses_the_confidence_on_the_others_and_the_thresholds_see_its_bound(pool, snapshot):
    model, evaluation, bounds = evaluated(pool, snapshot)
    rows = {image: pool.held.rows[pool.held.row_of[image]][None] for image in TEST}

    def confidence(images):
        return np.concatenate([model.probabilities(rows[image]).max(axis=1) for image in images])

    right = np.array([model.head.classes[model.probabilities(rows[image]).argmax()] == Y[image] for image in ASKED])
    expected = accuracy(right, confidence(ASKED), confidence(SKIPPED), confidence(OPEN))
    assert evaluation.accuracy.model_dump() == pytest.approx(expected.model_dump(), abs=1e-5)
    assert (evaluation.accuracy.n, evaluation.accuracy.unlabeled) == (80, len(SKIPPED) + len(OPEN))
    assert evaluation.at_random
    assert bounds["accuracy"] == evaluation.accuracy.low
    plain = wilson(int(right.sum()), 80)
    assert evaluation.accuracy.high - evaluation.accuracy.low < plain.high - plain.low
    assert np.trace(evaluation.confusion) == right.sum()  # the other figures count only labeled images


def plain(pool, snapshot):
    """The evaluation, which is of the labeled test images alone."""
    _, evaluation, _ = evaluated(pool, snapshot)
    hits = int(np.trace(evaluation.confusion))
    assert evaluation.accuracy == wilson(hits, sum(map(sum, evaluation.confusion)))
    return evaluation


def test_labeled_images_that_may_be_no_random_sample_count_alone_and_the_evaluation_says_so(pool, snapshot):
    assert not plain(pool, replace(snapshot, test_at_random=False)).at_random
    imported = snapshot.labels | {OPEN[0]: int(Y[OPEN[0]])}
    assert not plain(pool, replace(snapshot, labels=imported)).at_random  # chance did not choose this one


def test_a_test_set_that_is_labeled_completely_needs_nothing_else():
    labels = {image: int(Y[image]) for image in (*range(60), *ASKED)}
    imported = Snapshot(LOG, 140, labels, frozenset(labels), {k: str(k) for k in range(10)})
    assert plain(pool_of(ASKED), imported).at_random


def test_while_images_are_embedded_it_waits_for_those_that_were_skipped(snapshot):
    """Labeled images come earlier: without the skipped ones, those asked would look too easy."""
    some = (*ASKED, *OPEN[:200])
    assert plain(pool_of(some, complete=False), snapshot).at_random
    _, evaluation, _ = evaluated(pool_of((*some, *SKIPPED), complete=False), snapshot)
    assert evaluation.accuracy.unlabeled == 204
    _, evaluation, _ = evaluated(pool_of(some), snapshot)  # no more images will come: the others cannot be read
    assert evaluation.accuracy.unlabeled == 200


def test_images_that_left_the_test_split_have_no_part_in_it(pool, snapshot):
    found = unlabeled(pool, replace(snapshot, splits=dict.fromkeys(OPEN[:16], "train")))
    assert found is not None
    assert (len(found.asked), len(found.open)) == (4, 500)


def test_of_many_images_a_random_part_is_used_which_stays_the_same(snapshot):
    pool = ImagePool(2, lambda sha256s: np.array([[int(each, 16), 1] for each in sha256s], np.float32))
    many = range(384, 384 + MOST + 2_000)
    pool.add([entry(image, split="test") for image in many], complete=True)
    one, other = unlabeled(pool, snapshot), unlabeled(pool, snapshot)
    assert one is not None
    assert other is not None
    assert len(one.open) == MOST
    assert np.array_equal(one.open, other.open)


def test_what_the_labeler_said_is_kept_over_a_restart(tmp_path):
    replica = Replica(tmp_path)
    rows = class_rows("light", "dark")
    replica.accept(batch(rows).model_copy(update={"test_at_random": True}))
    replica.accept(batch(rows))  # rows that were fetched from the labeler do not say it
    assert replica.test_at_random
    replica.close()
    replica = Replica(tmp_path)
    snapshot = Snapshot.of(replica)
    assert snapshot is not None
    assert snapshot.test_at_random
    replica.accept(batch(rows).model_copy(update={"test_at_random": False}))
    assert not replica.test_at_random
    replica.close()


def active(snapshot, pool, model):
    """As if hard test images had come more often: these were asked, each with its chance."""
    wanted = suggested(pool, snapshot, model.task, model.head, model.version)
    assert wanted is not None
    rate = {each.image_id: each.rate for each in wanted.rates}
    assert rate.keys() == set(TEST)
    assert min(rate.values()) < 0.9 < 1.1 < max(rate.values())
    chances = {image: 1 - np.exp(-0.2 * rate[image]) for image in (*ASKED, *SKIPPED)}
    return replace(snapshot, test_order="active", test_chances=chances)


def test_an_active_test_weights_the_answers_and_leaves_out_what_needs_a_random_sample(pool, snapshot):
    model, _, _ = evaluated(pool, snapshot)
    snapshot = active(snapshot, pool, model)
    _, evaluation, bounds = evaluated(pool, snapshot)

    def said(images):
        return model.probabilities(pool.held.rows[[pool.held.row_of[image] for image in images]])

    right = model.head.classes[said(ASKED).argmax(axis=1)] == Y[list(ASKED)]
    expected = active_sample.accuracy(
        right,
        said(ASKED).max(axis=1),
        np.array([snapshot.test_chances[image] for image in ASKED]),
        asked=said(SKIPPED).max(axis=1),
        asked_chance=np.array([snapshot.test_chances[image] for image in SKIPPED]),
        still_open=said(OPEN).max(axis=1),
    )
    assert evaluation.accuracy.model_dump() == pytest.approx(expected.model_dump(), abs=1e-5)
    assert (evaluation.active, evaluation.at_random, evaluation.accuracy.unlabeled) == (True, True, 4 + len(OPEN))
    assert bounds == {"accuracy": evaluation.accuracy.low}  # macro F1 is unknown, so no threshold for it is ever met
    assert (evaluation.macro_f1, evaluation.log_loss, evaluation.calibration_error) == (None, None, None)
    assert (evaluation.calibration, evaluation.random_baseline) == ([], [])
    assert {each.f1 for each in evaluation.classes} == {None}
    assert np.trace(evaluation.confusion) == right.sum()


def test_an_active_test_with_answers_of_unknown_chance_stops_nothing_and_says_so(pool, snapshot):
    model, _, _ = evaluated(pool, snapshot)
    snapshot = active(snapshot, pool, model)
    for broken in (
        replace(snapshot, test_at_random=False),
        replace(snapshot, test_chances=dict(list(snapshot.test_chances.items())[1:])),
    ):
        _, evaluation, bounds = evaluated(pool, broken)
        assert (evaluation.active, evaluation.at_random, bounds) == (True, False, {})
        assert evaluation.macro_f1 is None


def test_the_chances_are_kept_over_a_restart_and_suggested_again_once_labels_have_grown(tmp_path):
    replica = Replica(tmp_path)
    told = {"test_at_random": True, "test_order": "active", "test_chances": [TestChance(image_id=7, chance=0.25)]}
    replica.accept(batch(class_rows("light", "dark")).model_copy(update=told))
    replica.close()
    replica = Replica(tmp_path)
    snapshot = Snapshot.of(replica)
    assert snapshot is not None
    assert (snapshot.test_order, snapshot.test_chances) == ("active", {7: 0.25})
    replica.close()
    assert [due(labels, 100) for labels in (100, 114, 115)] == [False, False, True]
    assert due(2, 0)
