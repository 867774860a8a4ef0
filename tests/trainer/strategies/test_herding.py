"""Herding covers groups by size, prefers uncertain images, and its lazy greedy search is exact."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.pools import make_pool, pool_of
from trainer.strategies import Pool, geometry, herding, strategy_named
from trainer.strategies.herding import greedy_cover
from trainer.strategies.ranking import ELSEWHERE


def groups(sizes, *, seed=0):
    """Unit vectors in tight groups along the axes, and the group of each."""
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(len(sizes)), sizes)
    Z = np.eye(len(sizes), 8)[of] + 0.1 * rng.standard_normal((len(of), 8))
    return (Z / np.linalg.norm(Z, axis=1, keepdims=True)).astype(np.float32), of


def test_without_labels_it_asks_one_of_each_group_the_largest_first():
    Z, of = groups([30, 20, 10])
    pool = Pool(Z, None, np.full(60, -1), np.zeros(60, dtype=bool), np.arange(60))
    assert of[strategy_named("uncertainty_herding")(pool, 3).rows].tolist() == [0, 1, 2]


def test_what_is_labeled_or_leased_is_covered():
    Z, of = groups([30, 20, 10])
    labels, leased = np.full(60, -1), np.zeros(60, dtype=bool)
    labels[0], leased[30] = 5, True
    pool = Pool(Z, None, labels, leased, np.flatnonzero((labels < 0) & ~leased))
    assert of[strategy_named("maxherding")(pool, 1).rows[0]] == 2


def test_a_group_whose_images_are_in_another_split_now_is_not_covered():
    Z, of = groups([30, 20, 10])
    labels = np.where(of == 0, ELSEWHERE, -1)
    pool = Pool(Z, None, labels, np.zeros(60, dtype=bool), np.flatnonzero(labels == -1))
    assert of[strategy_named("maxherding")(pool, 2).rows].tolist() == [1, 2]


def test_it_asks_where_the_head_is_unsure_though_the_group_is_small():
    Z, of = groups([30, 20, 10])
    p = np.array([[0.99, 0.01], [0.98, 0.02], [0.55, 0.45]])[of]
    labels = np.full(60, -1)
    labels[[0, 30]] = [0, 1]
    pool = pool_of(p, embeddings=Z, labels=labels)
    assert of[strategy_named("uncertainty_herding")(pool, 1).rows[0]] == 2


@settings(deadline=None)
@given(
    st.integers(1, 25), st.integers(1, 12), st.lists(st.integers(0, 24), max_size=8, unique=True), st.integers(0, 99)
)
def test_what_is_upcoming_is_picked_first_while_it_gains_four_fifths_of_the_most(rows, targets, listed, seed):
    rng = np.random.default_rng(seed)
    similarity, weight = rng.random((rows, targets)).astype(np.float32), rng.random(targets).astype(np.float32)
    upcoming = [each for each in listed if each < rows]
    picks, gains = greedy_cover(
        similarity, weight, np.zeros(targets, dtype=np.float32), rows, rng.random(rows), upcoming
    )
    assert sorted(picks.tolist()) == list(range(rows))
    reached, left = np.zeros(targets), list(range(rows))
    for pick, gain in zip(picks.tolist(), gains.tolist(), strict=True):
        fresh = {each: float(np.maximum(similarity[each] - reached, 0) @ weight) for each in left}
        np.testing.assert_allclose(gain, fresh[pick], atol=1e-5)
        enough = 0.8 * max(fresh.values())
        assert fresh[pick] >= enough - 1e-5
        earlier = upcoming[: upcoming.index(pick)] if pick in upcoming else upcoming
        assert all(fresh[each] <= enough + 1e-5 for each in earlier if each in left)
        reached = np.maximum(reached, similarity[pick])
        left.remove(pick)


def test_the_twin_of_what_was_just_answered_leaves_the_head_of_the_list():
    Z, of = groups([30, 20, 10])
    labels = np.full(60, -1)
    labels[0] = 5  # it is of group 0, like the images that would come next
    pool = Pool(Z, None, labels, np.zeros(60, dtype=bool), np.arange(1, 60), upcoming=np.array([1, 2, 30]))
    rows = strategy_named("maxherding")(pool, 2).rows
    assert of[rows].tolist() == [1, 2]
    assert not {1, 2} & set(rows.tolist())


@settings(deadline=None)
@given(st.integers(1, 25), st.integers(1, 12), st.integers(0, 30), st.integers(0, 1000))
def test_the_lazy_greedy_picks_what_the_plain_one_picks(rows, targets, count, seed):
    rng = np.random.default_rng(seed)
    similarity = np.round(rng.random((rows, targets)), 1).astype(np.float32)  # rounded, so that there are ties
    weight, cover = rng.random(targets).astype(np.float32), (0.3 * rng.random(targets)).astype(np.float32)
    picks, gains = greedy_cover(similarity, weight, cover, count, rng.random(rows))
    assert len(np.unique(picks)) == len(picks) == min(count, rows)
    reached = cover.copy()
    left = set(range(rows))
    for pick, gain in zip(picks.tolist(), gains.tolist(), strict=True):
        best = max(float(np.maximum(similarity[i] - reached, 0) @ weight) for i in left)
        np.testing.assert_allclose(float(np.maximum(similarity[pick] - reached, 0) @ weight), best, atol=1e-5)
        np.testing.assert_allclose(gain, best, atol=1e-5)
        reached = np.maximum(reached, similarity[pick])
        left.remove(pick)
    assert (np.diff(gains) <= 1e-5).all()


@settings(deadline=None)
@given(st.integers(1, 25), st.integers(1, 12), st.integers(0, 1000))
def test_the_lazy_greedy_picks_what_the_plain_one_picks_when_weights_fall_on_the_way(rows, targets, seed):
    rng = np.random.default_rng(seed)
    similarity, weight = rng.random((rows, targets)).astype(np.float32), rng.random(targets).astype(np.float32)
    factors = rng.random((rows, targets)).astype(np.float32)
    now = [weight]

    def fading(pick):
        now.append(now[-1] * factors[pick])
        return now[-1]

    picks, gains = greedy_cover(
        similarity, weight, np.zeros(targets, dtype=np.float32), rows, rng.random(rows), fading=fading
    )
    assert sorted(picks.tolist()) == list(range(rows))
    reached = np.zeros(targets, dtype=np.float32)
    for step, (pick, gain) in enumerate(zip(picks.tolist(), gains.tolist(), strict=True)):
        fresh = np.maximum(similarity - reached, 0.0) @ now[step]
        np.testing.assert_allclose(gain, fresh[pick], atol=1e-5)
        assert fresh[pick] >= fresh[picks[step:]].max() - 1e-5
        reached = np.maximum(reached, similarity[pick])


@settings(deadline=None)
@given(st.integers(2, 25), st.integers(1, 12), st.sets(st.integers(0, 24), min_size=1), st.integers(0, 1000))
def test_only_what_may_be_picked_is_picked_as_if_nothing_else_were_there(rows, targets, allowed, seed):
    rng = np.random.default_rng(seed)
    similarity, weight = rng.random((rows, targets)).astype(np.float32), rng.random(targets).astype(np.float32)
    among, cover, ties = np.array(sorted(allowed)) % rows, np.zeros(targets, dtype=np.float32), rng.random(rows)
    among = np.unique(among)
    picks, gains = greedy_cover(similarity, weight, cover, rows, ties, among=among)
    alone, expected = greedy_cover(similarity[among], weight, cover, rows, ties[among])
    np.testing.assert_array_equal(picks, among[alone])
    np.testing.assert_allclose(gains, expected, atol=1e-5)


@pytest.mark.parametrize("subsample", [150, 1_000], ids=["a sample", "the whole pool"])
@pytest.mark.parametrize("name", ["uncertainty_herding", "maxherding"])
def test_a_list_is_the_same_whether_rounds_came_before_or_not(name, subsample, monkeypatch):
    """Labels are given and undone, and the head changes its mind."""
    monkeypatch.setattr(geometry, "SUBSAMPLE", subsample)
    monkeypatch.setattr(herding, "CANDIDATES", subsample // 2)
    memory, rng = {}, np.random.default_rng(0)
    strategy, upcoming = strategy_named(name), ()
    for labeled in (10, 20, 35, 25, 60):
        pool = make_pool(600, labeled=labeled, memory=memory, leased=range(labeled), upcoming=upcoming)
        pool = replace(pool, probabilities=rng.dirichlet(np.ones(3), size=600).astype(np.float32))
        pool = replace(pool, upcoming=pool.upcoming[np.isin(pool.upcoming, pool.candidates)])
        kept, fresh = (strategy(each, 40) for each in (pool, replace(pool, memory={})))
        np.testing.assert_allclose(kept.scores, fresh.scores, atol=1e-5)
        assert dict(zip(kept.rows, kept.reasons, strict=True)) == dict(zip(fresh.rows, fresh.reasons, strict=True))
        # Far down the list, two images that only cover each other are worth the same, and rounding decides.
        np.testing.assert_array_equal(kept.rows[:20], fresh.rows[:20])
        assert np.isin(kept.rows, pool.candidates).all()
        upcoming = tuple(kept.rows[5:15].tolist())
