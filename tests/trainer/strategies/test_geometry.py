"""Distances cached between rounds equal distances computed from scratch."""

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.pools import make_pool
from trainer.strategies import geometry, strategy_named
from trainer.strategies.geometry import Nearest, Similarities, squared_distances

Z = make_pool(40, 6).embeddings


def test_squared_distances_are_those_of_the_rows():
    expected = ((Z[:5, None] - Z[None, 5:12]) ** 2).sum(axis=2)
    np.testing.assert_allclose(squared_distances(Z[:5], Z[5:12]), expected, atol=1e-5)


@settings(deadline=None)
@given(st.lists(st.sets(st.integers(0, 39)), min_size=1, max_size=6))
def test_the_nearest_covered_row_is_right_whatever_came_before(rounds):
    nearest = Nearest(np.arange(0, 40, 2))
    for covered in rounds:
        nearest.update(Z, np.array(sorted(covered), dtype=np.int64))
        if covered:
            expected = squared_distances(Z[::2], Z[sorted(covered)]).min(axis=1)
            np.testing.assert_allclose(nearest.distance, expected, atol=1e-6)
        else:
            assert (nearest.distance == 4).all()


@settings(deadline=None)
@given(st.lists(st.sets(st.integers(0, 39)), min_size=1, max_size=6))
def test_similarities_are_right_whichever_rows_were_asked_for_before(rounds):
    known = Similarities(Z[::2], 0.7)
    for asked in rounds:
        rows = np.array(sorted(asked), dtype=np.int64)
        places = known.of(Z, rows)
        np.testing.assert_array_equal(known.rows[places], rows)
        np.testing.assert_allclose(known.values[places], np.exp(-squared_distances(Z[rows], Z[::2]) / 0.49), atol=1e-6)


@pytest.mark.parametrize(
    ("strategy", "score"),
    [
        ("bald", "committee.entropy_scores"),
        ("badge", "gradients.least_confidence_scores"),
        ("class_balanced", "balance.margin_scores"),
        ("uncertainty_herding", "herding.unsure_scores"),
    ],
)
def test_a_round_of_a_large_pool_scores_a_few_rows_at_a_time(strategy, score, monkeypatch):
    """Only those in question: the others' probabilities are not known, and would fill the memory."""
    monkeypatch.setattr(geometry, "SUBSAMPLE", 40)
    monkeypatch.setattr(geometry, "AT_ONCE", 64)
    module, name = score.split(".")
    original, seen = getattr(import_module(f"trainer.strategies.{module}"), name), list[int]()

    def counted(*given):
        seen.append(len(given[-1]))
        return original(*given)

    monkeypatch.setattr(f"trainer.strategies.{score}", counted)
    pool = make_pool(900, labeled=30)
    pool = replace(pool, candidates=pool.candidates[:150])
    strategy_named(strategy)(pool, 5)
    assert 150 <= sum(seen[:4]) <= 4 * 64
    assert max(seen) <= 150
