"""One round on arrays: what a measurement changes, and what it does not."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from tests.trainer.logs import LOG, entry
from trainer.columns.id_matrix import IdMatrix
from trainer.columns.images import Images
from trainer.embeddings import space
from trainer.embeddings.space import Geometry, ImagePool
from trainer.evaluation.learning_curve import Stability
from trainer.learners import teacher
from trainer.learners.teacher import FEW_LABELS
from trainer.loop import rounds
from trainer.loop.rounds import Timings, fit, prepare, rank
from trainer.strategies import strategy_named
from trainer.sync.snapshot import Snapshot
from trainer.tasks.registry import task_named

TRAIN, TEST = range(300), range(300, 420)
HERDING = "uncertainty_herding"


@pytest.fixture(scope="module")
def project():
    """A pool of digits and a snapshot in which the first 60 train images and all test images are labeled."""
    X, y = load_digits(return_X_y=True)
    vectors = {f"{image:064x}": X[image].astype(np.float32) for image in (*TRAIN, *TEST)}
    pool = ImagePool(64, lambda sha256s: np.stack([vectors[each] for each in sha256s]))
    pool.add([entry(image, split="test" if image in TEST else "train") for image in (*TRAIN, *TEST)], complete=True)
    labels = {image: int(y[image]) for image in (*range(60), *TEST)}
    return pool, Snapshot(LOG, 180, labels, frozenset(labels), {k: str(k) for k in range(10)}, here=tuple(labels))


def measure(pool, snapshot, model, **more):
    measured = rounds.measure(pool, snapshot, model, round_number=1, **more)
    assert measured is not None
    return measured[0]


def state(pool, model):
    arrays = [
        pool.train.rows,
        pool.train.ids,
        pool.held.rows,
        model.rows,
        model.targets,
        *model.head.to_tensors().values(),
    ]
    return [array.tobytes() for array in arrays], sorted(pool.memory), pool.version, model.version


def test_a_measurement_leaves_pool_and_model_as_they_were(project):
    pool, snapshot = project
    model = fit(pool, snapshot, None, seed=0)
    before = state(pool, model)
    evaluation = measure(pool, snapshot, model, stability=Stability())
    assert [each.labels for each in evaluation.random_baseline] == [12, 24, 48, 96]
    assert [each.chosen is not None for each in evaluation.random_baseline] == [False, False, True, False]
    assert state(pool, model) == before
    assert fit(pool, snapshot, model, seed=0) is model


def test_the_baseline_is_estimated_anew_when_the_sample_has_grown_by_a_tenth(project):
    pool, snapshot = project
    model = fit(pool, snapshot, None, seed=0)

    def measured(test_labels, *earlier):
        left_out = list(TEST)[test_labels:]
        labels = {image: label for image, label in snapshot.labels.items() if image not in left_out}
        some = Snapshot(LOG, 180, labels, frozenset(labels), snapshot.names, here=tuple(labels))
        return measure(pool, some, model, earlier=earlier)

    first = measured(80)
    kept = measured(86, first).random_baseline
    assert [each.accuracy for each in kept] == [each.accuracy for each in first.random_baseline]
    assert [each.chosen.n for each in kept if each.chosen is not None] == [86]  # this is always measured anew
    assert {each.accuracy.n for each in measured(90, first).random_baseline} == {90}
    assert {each.accuracy.n for each in measured(70, first).random_baseline} == {70}  # after labels were undone
    assert measured(50, first).random_baseline == []


def test_advice_comes_with_enough_evaluations(project):
    pool, snapshot = project
    evaluations = []
    for count in (20, 30, 40, 50, 60):
        labels = {image: label for image, label in snapshot.labels.items() if image < count or image in TEST}
        some = Snapshot(LOG, count, labels, frozenset(labels), snapshot.names, here=tuple(labels))
        model = fit(pool, some, None, seed=0)
        evaluations.append(measure(pool, some, model, earlier=evaluations, goal=0.999))
    assert [each.advice is None for each in evaluations] == [True] * 4 + [False]
    assert evaluations[-1].advice.needed.goal == 0.999


def test_few_labels_are_learned_with_their_neighbours_once_all_images_are_embedded(project, monkeypatch):
    pool, snapshot = project
    few = Snapshot(LOG, 40, dict(islice(snapshot.labels.items(), 40)), frozenset(), snapshot.names)
    assert len(fit(pool, few, None, seed=0).head.landmarks) > 40
    around = dict(pool.kept)
    fit(pool, few, None, seed=0)
    assert pool.kept == around  # the graph is made once
    at = (pool.version, pool.complete)
    assert not pool.changed_since(*at)
    pool.complete = False
    alone = fit(pool, few, None, seed=0)
    assert len(alone.head.landmarks) == 40
    assert fit(pool, few, alone, seed=0) is alone
    at = (pool.version, pool.complete)
    pool.complete = True
    assert pool.changed_since(*at)  # so that the loop begins a round
    taught = fit(pool, few, alone, seed=0)
    assert len(taught.head.landmarks) > 40
    assert fit(pool, few, taught, seed=0) is taught
    for classes, only in ((2, False), (20, True)):  # five labels for each of twenty classes are few
        labels = {image: image % classes for image in range(FEW_LABELS + 1)}
        many = Snapshot(LOG, 101, labels, frozenset(), {k: str(k) for k in range(classes)})
        found = fit(pool, many, None, seed=0).head
        with monkeypatch.context() as patched:
            patched.setattr(teacher, "PER_CLASS", 1_000)  # all of it from the teacher that sees neighbours
            assert np.array_equal(found.weights, fit(pool, many, None, seed=0).head.weights) == only
            patched.setattr(teacher, "MOST_LABELS", len(labels))  # no teacher
            assert len(fit(pool, many, None, seed=0).head.landmarks) == len(labels)


def test_neighbours_of_other_classes_teach_nothing():
    """Letters in bright colours: neighbours share the colour, not the letter."""
    rng = np.random.default_rng(0)
    colours, letters = rng.integers(0, 40, 400), rng.integers(0, 20, 400)
    rows = np.hstack([2 * np.eye(40)[colours], np.eye(20)[letters]]) + 0.05 * rng.standard_normal((400, 60))
    pool = ImagePool(60, lambda keys: np.stack([rows[int(key, 16)] for key in keys]).astype(np.float32))
    pool.add([entry(image) for image in range(400)], complete=True)
    for classes, landmarks in ((colours, 400), (letters, 100)):
        labels = {image: int(classes[image]) for image in range(100)}
        snapshot = Snapshot(LOG, 100, labels, frozenset(), {k: str(k) for k in range(40)})
        assert len(fit(pool, snapshot, None, seed=0).head.landmarks) == landmarks


def test_the_neighbours_are_found_before_the_first_label(project):
    pool, snapshot = project
    task = task_named(snapshot.task)
    pool.kept.clear()
    pool.complete = False
    prepare(pool, None, task, seed=0)
    assert not pool.kept
    pool.complete = True
    prepare(pool, None, task, seed=0)
    ahead = dict(pool.kept)
    few = Snapshot(LOG, 40, dict(islice(snapshot.labels.items(), 40)), frozenset(), snapshot.names)
    fit(pool, few, None, seed=0)
    assert ahead
    assert pool.kept == ahead


def ask(pool, snapshot, model, *, before=None, leased=(), strategy="uncertainty_herding"):
    return rank(
        pool,
        snapshot,
        model,
        strategy_named(strategy),
        strategy_name=strategy,
        leased=frozenset(leased),
        length=30,
        seed=0,
        timings=Timings(),
        before=before,
    )


def listed(push):
    return [query.image_id for query in push.queries]


def answering(snapshot, images, truth):
    labels = {**snapshot.labels, **{image: int(truth[image]) for image in images}}
    return Snapshot(LOG, len(labels), labels, frozenset(labels), snapshot.names, here=tuple(labels))


def test_a_batch_of_answers_exchanges_fewer_images_than_ranking_anew_does(project):
    pool, snapshot = project
    truth, kept, anew = load_digits(return_X_y=True)[1], [], []
    before = ask(pool, snapshot, fit(pool, snapshot, None, seed=0))
    for _ in range(12):
        snapshot = answering(snapshot, listed(before)[:10], truth)
        model = fit(pool, snapshot, None, seed=0)
        fresh, steady = ask(pool, snapshot, model), ask(pool, snapshot, model, before=before)
        upcoming = listed(before)[10:20]
        anew.append(len(set(upcoming) - set(listed(fresh)[:10])))
        kept.append(len(set(upcoming) - set(listed(steady)[:10])))
        before = steady
    assert np.mean(kept) < np.mean(anew)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    answered=st.sets(st.integers(60, 299), max_size=40),
    leased=st.sets(st.integers(60, 299), max_size=5),
    strategy=st.sampled_from(["uncertainty_herding", "margin", "random", "badge"]),
)
def test_answered_images_and_images_on_screen_are_never_listed(project, answered, leased, strategy):
    pool, snapshot = project
    model = fit(pool, snapshot, None, seed=0)
    before = ask(pool, snapshot, model, strategy=strategy)
    after = listed(
        ask(
            pool,
            answering(snapshot, answered, load_digits(return_X_y=True)[1]),
            model,
            before=before,
            leased=leased,
            strategy=strategy,
        )
    )
    assert len(set(after)) == len(after) == 30
    assert set(after) <= set(TRAIN) - set(range(60)) - answered - leased


@pytest.mark.parametrize("why", ["another strategy", "no model then", "another log"])
def test_some_earlier_lists_do_not_keep_their_places(project, why):
    pool, snapshot = project
    model = fit(pool, snapshot, None, seed=0)
    before = ask(pool, snapshot, model)
    turned = before.model_copy(update={"queries": before.queries[:10][::-1] + before.queries[10:]})
    other = {
        "another strategy": {"strategy": "margin"},
        "no model then": {"model_version": ask(pool, snapshot, None).model_version},
        "another log": {"log_id": uuid4()},
    }[why]
    assert listed(ask(pool, snapshot, model, before=turned)) != listed(before)
    assert listed(ask(pool, snapshot, model, before=turned.model_copy(update=other))) == listed(before)


def test_an_image_that_left_the_train_split_is_neither_asked_nor_covered_nor_learned_from(project):
    """Also while its row is still in the pool."""
    pool, known = project
    labels = {image: known.labels[image] for image in range(60)}
    left = dict.fromkeys((3, 5, *range(100, 300)), "test")
    snapshot = Snapshot(LOG, 180, labels, frozenset(labels), known.names, splits=left)
    model = fit(pool, snapshot, None, seed=0)
    assert not {3, 5} & set(model.images.tolist())
    options = {"strategy_name": "maxherding", "leased": frozenset(), "length": 300, "seed": 0, "timings": Timings()}
    push = rank(pool, snapshot, model, strategy_named("maxherding"), **options)
    assert {query.image_id for query in push.queries} == set(range(60, 100))


@pytest.mark.parametrize("name", ["margin", HERDING])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_list_after_a_removal_is_the_same_as_without_the_images(monkeypatch, seed, name):
    """Their rows stay in a large pool. Its list is compared with that of a pool in which they have changed their split,
    and with that of a pool that never had them, in the same geometry."""
    monkeypatch.setattr(space, "LARGE", 100)
    monkeypatch.setattr(space, "FEW", 1.0)
    monkeypatch.setattr(space, "SAMPLE", 10)
    X, y = load_digits(return_X_y=True)
    labels = {image: int(y[image]) for image in range(60)}
    removed = set(np.random.default_rng(seed).choice(np.arange(60, 300), 25, replace=False).tolist())
    snapshot = Snapshot(LOG, 60, labels, frozenset(labels), {k: str(k) for k in range(10)}, here=tuple(labels))

    def opened():
        pool = ImagePool(64, lambda hashes: np.stack([X[int(each, 16)].astype(np.float32) for each in hashes]))
        pool.add([entry(image) for image in TRAIN], complete=False)
        pool._fitted = np.empty(0, np.int64)
        return pool

    def listed(pool, known):
        model = fit(pool, known, None, seed=0)
        options = {"strategy_name": name, "leased": frozenset(), "length": 40, "seed": 0, "timings": Timings()}
        asked = rank(pool, known, model, strategy_named(name), **options)
        return [(each.image_id, each.reason) for each in asked.queries], [each.score for each in asked.queries]

    pool, other, without = opened(), opened(), opened()
    before = pool.version
    listed(pool, snapshot)  # what strategies keep is computed before the removal
    pool.drop(np.array(sorted(removed)))
    other.move([entry(image, split="test") for image in removed])
    found, scores = listed(pool, snapshot)
    assert pool.version == before
    assert removed.isdisjoint(image for image, _ in found)
    moved, moved_scores = listed(other, replace(snapshot, splits=dict.fromkeys(removed, "test")))
    assert found == moved
    np.testing.assert_allclose(scores, moved_scores, atol=1e-5)
    width = pool.train.rows.shape[1]
    without.geometry = Geometry(pool.projection, IdMatrix(width), IdMatrix(width))
    without._append(without.geometry, Images.of([entry(image) for image in TRAIN if image not in removed]))
    if name == "margin":  # not for herding, which measures the spacing of all rows
        assert [image for image, _ in found] == [image for image, _ in listed(without, snapshot)[0]]
