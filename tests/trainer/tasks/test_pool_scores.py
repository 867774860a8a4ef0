"""Probabilities of a pool too large for the head to score fully, and the list made from them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from trainer.embeddings.neighbourhood import NODES, Neighbourhood
from trainer.embeddings.transform import fit_projection
from trainer.learners.kernel_head import fit_head
from trainer.learners.teacher import MOST_LABELS
from trainer.strategies import STRATEGIES, Pool, Ranking, geometry, strategy_named, with_exploration
from trainer.strategies.uncertainty import margin_scores, torn_between
from trainer.tasks import pool_scores
from trainer.tasks.pool_scores import WORK, considered, ranked, score

LABELS = 100


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    X = X.astype(np.float32)
    Z = fit_projection(X.mean(axis=0), X).transform(X)
    return Z, fit_head(Z[:LABELS], y[:LABELS].astype(np.int64)), y.astype(np.int64)


@pytest.fixture
def small_subsample(monkeypatch):
    monkeypatch.setattr(geometry, "SUBSAMPLE", 300)


def pool_of(digits, *, upcoming=()):
    Z, _, y = digits
    labels = np.where(np.arange(len(Z)) < LABELS, y, -1)
    leased = np.zeros(len(Z), dtype=bool)
    leased[-3:] = True
    candidates = np.flatnonzero((labels < 0) & ~leased)
    return Pool(Z, None, labels, leased, candidates, upcoming=np.array(upcoming, dtype=np.int64))


def listed(digits, strategy, *, images, count=50):
    """The pool as the strategy saw it last, and its list, if the head scores about that many `images`."""
    view, scored = score(pool_of(digits), digits[1], count, work=images * LABELS)
    return view, ranked(view, strategy, count, digits[1].predict_proba, scored)


def test_a_small_pool_is_scored_whole(digits):
    Z, head, _ = digits
    view, scored = score(pool_of(digits), head, 50)
    np.testing.assert_allclose(view.probabilities, head.predict_proba(Z), atol=1e-5)
    np.testing.assert_array_equal(view.classes, head.classes)
    assert scored.all()


def test_a_head_with_a_teacher_scores_all_of_22_000_images():
    nodes = np.arange(NODES)
    around = Neighbourhood(nodes, *(np.empty(0, np.float32) for _ in range(3)))
    for images, most in ((22_000, MOST_LABELS), (100_000, 150)):
        landmarks = [labels + len(around.pupils(labels, images, without=nodes[:labels])) for labels in range(most + 1)]
        assert max(landmarks) * images <= WORK


def test_scored_images_have_the_probabilities_of_the_head(digits, small_subsample):
    Z, head, _ = digits
    view, scored = score(pool_of(digits), head, 50, work=600 * LABELS)
    assert 300 <= scored.sum() <= 650
    np.testing.assert_allclose(np.asarray(view.probabilities)[scored], head.predict_proba(Z[scored]), atol=1e-5)
    np.testing.assert_allclose(view.probabilities.sum(axis=1), 1, atol=1e-5)


def test_the_most_uncertain_are_scored(digits, small_subsample):
    Z, head, _ = digits
    pool = pool_of(digits)
    _, scored = score(pool, head, 50, work=900 * LABELS)
    unsure = margin_scores(head.predict_proba(Z))[pool.candidates]
    assert scored[pool.candidates[np.argsort(-unsure)[:50]]].mean() > 0.9


def test_the_estimate_names_the_class_that_the_head_names(digits, small_subsample):
    Z, head, _ = digits
    view, scored = score(pool_of(digits), head, 50, work=400 * LABELS)
    agreed = view.probabilities.argmax(axis=1) == head.predict_proba(Z).argmax(axis=1)
    assert agreed[~scored].mean() > 0.9


def test_upcoming_images_are_always_scored(digits, small_subsample):
    Z, head, _ = digits
    surest = np.argsort(margin_scores(head.predict_proba(Z))[LABELS:-3])[:10] + LABELS
    _, scored = score(pool_of(digits, upcoming=surest), head, 50, work=350 * LABELS)
    assert scored[surest].all()


@pytest.mark.parametrize("name", STRATEGIES)
@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(images=st.integers(301, 900), count=st.integers(1, 200))
def test_all_that_a_strategy_lists_the_head_has_scored(digits, small_subsample, name, images, count):
    Z, head, _ = digits
    view, ranking = listed(digits, strategy_named(name), images=images, count=count)
    assert len(np.unique(ranking.rows)) == len(ranking.rows) == count
    assert np.isin(ranking.rows, view.candidates).all()
    np.testing.assert_allclose(view.probabilities[ranking.rows], head.predict_proba(Z[ranking.rows]), atol=1e-5)


@pytest.mark.parametrize("name", ["random", "outlier", "coreset", "maxherding"])
def test_a_strategy_that_asks_no_model_lists_the_same_as_of_a_pool_scored_whole(digits, small_subsample, name):
    few, whole = (listed(digits, strategy_named(name), images=images)[1] for images in (350, 10_000))
    np.testing.assert_array_equal(few.rows, whole.rows)


def test_the_random_share_of_a_list_is_that_of_a_pool_scored_whole(digits, small_subsample):
    mixed = with_exploration(strategy_named("margin"), 0.2)
    few, whole = (listed(digits, mixed, images=images)[1] for images in (350, 10_000))
    drawn = [[r for r, why in zip(x.rows, x.reasons, strict=True) if why == "drawn at random"] for x in (few, whole)]
    assert len(drawn[0]) >= 8
    assert drawn[0] == drawn[1]


def test_images_listed_by_estimates_are_scored_in_the_end(digits, small_subsample):
    Z, head, _ = digits
    guess: list[np.ndarray] = []

    def contrary(pool, count):
        """Lists what it has not listed before."""
        rows = np.setdiff1d(pool.candidates, np.concatenate(guess) if guess else [])[-count:]
        guess.append(rows)
        return Ranking(rows, np.zeros(len(rows)), torn_between(pool, rows))

    view, ranking = listed(digits, contrary, images=350, count=10)
    assert len(guess) == 4
    np.testing.assert_allclose(view.probabilities[ranking.rows], head.predict_proba(Z[ranking.rows]), atol=1e-5)


class Counted:
    """Embeddings that count the rows which are read."""

    def __init__(self, rows):
        self.rows, self.read = rows, 0

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, which):
        found = self.rows[which]
        self.read += len(found)
        return found


@pytest.mark.parametrize("strategy", ["uncertainty_herding", "margin", "model_outlier"])
def test_a_round_in_a_large_pool_reads_as_many_rows_as_in_a_small_one(digits, small_subsample, monkeypatch, strategy):
    monkeypatch.setattr(pool_scores, "CONSIDERED", 400)
    read = []
    for size in (900, 1_700):
        pool = pool_of(tuple(each[:size] if isinstance(each, np.ndarray) else each for each in digits), upcoming=[600])
        pool = replace(pool, embeddings=Counted(pool.embeddings))
        view, scored = score(pool, digits[1], 50, work=500 * LABELS)
        ranking = ranked(view, strategy_named(strategy), 50, digits[1].predict_proba, scored)
        assert len(view.candidates) == 400
        assert 600 in view.candidates
        assert scored[ranking.rows].all()
        read.append(pool.embeddings.read)
    assert read[1] <= 1.1 * read[0]


def test_each_image_has_its_turn(digits, monkeypatch):
    monkeypatch.setattr(pool_scores, "CONSIDERED", 400)
    monkeypatch.setattr(pool_scores, "REDRAWN", 10)
    pool, seen = pool_of(digits), set[int]()
    first = considered(pool).candidates
    assert considered(pool).candidates.tolist() == first.tolist()  # so the list does not flicker
    for labels in range(LABELS, 0, -10):
        fewer = np.where(np.arange(len(pool.labels)) < labels, pool.labels, -1)
        seen.update(considered(replace(pool, labels=fewer)).candidates.tolist())
    assert seen == set(pool.candidates.tolist())


@given(counts=st.lists(st.integers(20, LABELS), min_size=2, max_size=5), few=st.booleans())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_values_kept_between_rounds_change_no_list(digits, small_subsample, monkeypatch, counts, few):
    monkeypatch.setattr(pool_scores, "CONSIDERED", 400)
    monkeypatch.setattr(pool_scores, "REDRAWN", 30)
    Z, _, y = digits
    kept, work, strategy = {}, (350 if few else 2_000) * LABELS, strategy_named("uncertainty_herding")
    for count in counts:
        head = fit_head(Z[:count], y[:count])
        labels = np.where(np.arange(len(Z)) < count, y, -1)
        lists = []
        for memory in (kept, {}):
            pool = Pool(Z, None, labels, np.zeros(len(Z), bool), np.flatnonzero(labels < 0), memory=memory)
            view, scored = score(pool, head, 50, work=work)
            ranking = ranked(view, strategy, 50, head.predict_proba, scored)
            lists.append((ranking, view.probabilities.copy()))
        (ranking, probabilities), (anew, computed) = lists
        np.testing.assert_array_equal(ranking.rows, anew.rows)
        np.testing.assert_allclose(ranking.scores, anew.scores, atol=1e-5)  # distances are summed in another order
        np.testing.assert_array_equal(probabilities, computed)


def test_the_next_round_of_a_large_pool_writes_over_the_probabilities(digits, small_subsample, monkeypatch):
    monkeypatch.setattr(pool_scores, "CONSIDERED", 400)
    pool = pool_of(digits)
    first, _ = score(pool, digits[1], 50)
    again, _ = score(pool, digits[1], 50)
    assert again.probabilities is first.probabilities
    monkeypatch.setattr(pool_scores, "REDRAWN", LABELS)  # from now on, most candidates are others
    later, _ = score(pool, digits[1], 50)
    assert later.probabilities is not first.probabilities


@given(size=st.integers(450, 1_600), labels=st.integers(0, 5_000), seed=st.integers(0, 9), upcoming=st.booleans())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_considered_candidates_are_those_whose_turn_is_next(monkeypatch, size, labels, seed, upcoming):
    monkeypatch.setattr(pool_scores, "CONSIDERED", 400)
    given = np.full(size + labels, -1)
    given[size:] = 0
    candidates, first = np.arange(size), np.arange(5, 15) if upcoming else np.arange(0)
    rows = np.empty((size + labels, 1), np.float32)
    pool = Pool(rows, None, given, np.zeros(size + labels, bool), candidates, seed, upcoming=first)
    chance = (pool.tie_breakers()[:size] + labels // pool_scores.REDRAWN * pool_scores.GOLDEN) % 1.0
    chance[first] = -1.0
    assert considered(pool).candidates.tolist() == np.sort(np.argsort(chance)[:400]).tolist()
