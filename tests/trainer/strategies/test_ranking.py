"""Which upcoming images keep their places, and which newcomers precede them."""

from unittest.mock import Mock

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.pools import pool_of
from trainer.strategies import Pool, ranking
from trainer.strategies.ranking import highest, shortlist, take

utilities = st.lists(st.floats(-2, 2, allow_subnormal=False), min_size=1, max_size=30)


def pool_with(n, upcoming):
    return Pool(
        embeddings=np.eye(n, 2, dtype=np.float32),
        probabilities=None,
        labels=np.full(n, -1),
        leased=np.zeros(n, dtype=bool),
        candidates=np.arange(n),
        upcoming=np.array(upcoming, dtype=np.int64),
    )


@given(utilities, st.lists(st.integers(0, 40), max_size=12, unique=True), st.integers(0, 40))
def test_no_image_precedes_one_that_is_worth_much_more(worth, upcoming, count):
    worth = np.array(worth)
    rows, scores = highest(pool_with(len(worth), upcoming), worth, count)
    assert len(np.unique(rows)) == len(rows) == min(count, len(worth))
    np.testing.assert_array_equal(scores, worth[rows])
    left_out = np.delete(worth, rows)
    for place, score in enumerate(scores):
        best = np.concatenate([scores[place:], left_out]).max()
        assert score >= (0.8 * best if best > 0 else best)


@given(st.permutations(range(12)), st.integers(0, 12))
def test_equals_keep_their_order(order, known):
    rows, _ = highest(pool_with(12, order[:known]), np.ones(12), 12)
    assert rows[:known].tolist() == order[:known]


@given(st.permutations(range(12)), st.integers(0, 12), st.integers(0, 11))
def test_a_newcomer_that_is_worth_much_more_comes_first(order, known, newcomer):
    worth = np.ones(12)
    worth[newcomer] = 1.3
    rows, _ = highest(pool_with(12, order[:known]), worth, 12)
    assert rows[0] == newcomer
    kept = [row for row in order[:known] if row != newcomer]
    assert rows[1 : 1 + len(kept)].tolist() == kept


def test_a_list_takes_as_many_looks_as_it_is_long_however_large_the_pool(monkeypatch):
    counted = Mock(side_effect=take)
    monkeypatch.setattr(ranking, "take", counted)
    worth = np.arange(1.0, 50_001.0)
    rows, _ = highest(pool_with(50_000, range(10)), worth, 60)  # the upcoming images are now worth the least
    assert rows.tolist() == list(range(49_999, 49_939, -1))
    assert counted.call_count == 60


def test_without_a_list_in_force_the_best_come_first():
    rows, _ = highest(pool_of(np.full((4, 2), 0.5)), np.array([1.0, 3.0, 2.0, 2.9]), 4)
    assert rows.tolist() == [1, 3, 2, 0]


def test_what_is_upcoming_is_always_looked_at():
    worth = np.linspace(0, 1, 100)
    assert {0, 1, 2} <= set(shortlist(pool_with(100, [0, 1, 2]), worth, 10).tolist())
