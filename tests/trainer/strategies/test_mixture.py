"""Mixtures hold their shares at every prefix; bands hold equally many."""

import numpy as np
import pytest

from tests.trainer.pools import make_pool, pool_of
from trainer.strategies import mixture, strategy_named


def test_a_mixture_by_name_holds_its_shares():
    pool = make_pool(200, labeled=20)
    ranking = strategy_named("0.75 margin + 0.25 random")(pool, 40)
    drawn = np.cumsum([reason == "drawn at random" for reason in ranking.reasons])
    assert (np.abs(drawn - 0.25 * np.arange(1, 41)) <= 1).all()
    kept = [r for r, reason in zip(ranking.rows.tolist(), ranking.reasons, strict=True) if "torn" in reason]
    assert kept[:5] == [r for r in strategy_named("margin")(pool, 40).rows.tolist() if r in kept][:5]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("0.5 margin + 0.5 nothing", "nothing"),
        ("half margin + half random", "half margin"),
        ("0 margin + 0 random", "must be positive numbers"),
    ],
)
def test_an_invalid_mixture_gives_one_sentence(name, said):
    with pytest.raises(ValueError, match=said) as refused:
        strategy_named(name)
    assert "\n" not in str(refused.value)


def test_negative_shares_are_refused():
    with pytest.raises(ValueError, match="positive"):
        mixture({strategy_named("margin"): -1.0, strategy_named("random"): 2.0})


def test_confidence_bands_hold_equal_shares():
    confidence = np.linspace(0.5, 1, 50)
    rows = strategy_named("confidence_bands")(pool_of(np.stack([confidence, 1 - confidence], axis=1)), 20).rows
    assert np.bincount(rows // 10).tolist() == [4] * 5
    assert np.bincount(rows[:5] // 10).tolist() == [1] * 5
