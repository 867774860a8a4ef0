"""Distances cached between rounds equal distances computed from scratch."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.pools import make_pool
from trainer.strategies.geometry import Nearest, squared_distances

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
