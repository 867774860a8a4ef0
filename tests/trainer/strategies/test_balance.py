"""Classes with few labels come first, and one of them does not fill the list."""

import numpy as np

from tests.trainer.pools import pool_of
from trainer.strategies import strategy_named


def test_the_rare_class_comes_first_and_its_name_is_in_the_reason():
    p = [[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.9, 0.1]]
    ranking = strategy_named("class_balanced")(pool_of(p, labels=[0, 0, 0, -1, -1]), 2)
    assert ranking.rows.tolist() == [3, 4]
    assert "{class:1}" in ranking.reasons[0]


def test_what_the_list_holds_already_counts():
    p = np.array([[1.0, 0, 0]] * 4 + [[0, 1.0, 0]] * 4 + [[0, 0, 1.0]] * 4)
    rows = strategy_named("class_balanced")(pool_of(p), 6).rows
    assert np.bincount(rows // 4).tolist() == [2, 2, 2]
