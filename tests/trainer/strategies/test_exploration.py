"""A share of random images, spread evenly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.pools import make_pool
from trainer.strategies import Ranking, strategy_named, with_exploration

RANDOM = "drawn at random"


@settings(deadline=None)
@given(st.floats(0, 1), st.integers(1, 48))
def test_every_prefix_holds_its_share_and_every_row_comes_once(share, count):
    ranking = with_exploration(strategy_named("margin"), share)(make_pool(), count)
    assert len(np.unique(ranking.rows)) == len(ranking.rows) == count
    drawn = np.cumsum([reason == RANDOM for reason in ranking.reasons])
    assert (np.abs(drawn - share * np.arange(1, count + 1)) <= 1).all()


def test_what_is_not_random_keeps_its_order():
    pool = make_pool()
    plain = strategy_named("margin")(pool, 48).rows.tolist()
    mixed = with_exploration(strategy_named("margin"), 0.3)(pool, 20)
    kept = [row for row, reason in zip(mixed.rows.tolist(), mixed.reasons, strict=True) if reason != RANDOM]
    assert kept == [row for row in plain if row in kept]


def test_no_share_changes_nothing_and_all_of_it_is_random():
    pool = make_pool()
    margin, random = strategy_named("margin"), strategy_named("random")
    assert with_exploration(margin, 0.0) is margin
    np.testing.assert_array_equal(with_exploration(margin, 1.0)(pool, 10).rows, random(pool, 10).rows)


def test_before_there_is_a_head_nothing_is_replaced():
    pool = make_pool(head=False)
    herding = strategy_named("uncertainty_herding")
    np.testing.assert_array_equal(with_exploration(herding, 0.5)(pool, 10).rows, herding(pool, 10).rows)


def test_an_exhausted_list_is_filled_with_random_images():
    def short(pool, count):
        return Ranking(pool.candidates[:3], np.zeros(3), ["mine"] * 3)

    ranking = with_exploration(short, 0.1)(make_pool(), 20)
    assert len(ranking.rows) == 20
    assert sum(reason == "mine" for reason in ranking.reasons) == 3


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_an_invalid_share_is_refused(share):
    with pytest.raises(ValueError, match="between 0 and 1"):
        with_exploration(strategy_named("margin"), share)
