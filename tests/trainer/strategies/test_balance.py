"""Classes with few labels come first, and one of them does not fill the list."""

from dataclasses import replace

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


def test_of_two_near_copies_it_asks_about_one():
    p = [[0.5, 0.5, 0]] * 4 + [[0.0, 0.45, 0.55]] * 2 + [[0.2, 0.35, 0.45]] * 2
    Z = np.eye(8)[[0, 1, 2, 3, 4, 4, 5, 6]] + 0.01 * np.random.default_rng(0).standard_normal((8, 8))
    Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    rows = strategy_named("class_balanced")(pool_of(p, embeddings=Z, labels=[0, 0, 1, 2, -1, -1, -1, -1]), 2).rows
    assert len({4, 5} & set(rows.tolist())) == 1


def test_without_a_head_it_covers_the_pool():
    pool = replace(pool_of([[0.5, 0.5]] * 9), probabilities=None)
    rows = strategy_named("class_balanced")(pool, 5).rows
    assert rows.tolist() == strategy_named("maxherding")(pool, 5).rows.tolist()


def test_the_reason_names_a_class_only_if_it_has_few_labels():
    p = [[0.9, 0.1]] * 6 + [[0.99, 0.01], [0.2, 0.8]]
    pool = pool_of(p, labels=[0, 0, 0, 0, 0, 1, -1, -1])
    ranking = strategy_named("class_balanced")(pool, 2)
    reasons = dict(zip(ranking.rows.tolist(), ranking.reasons, strict=True))
    assert "{class:1}" in reasons[7]
    assert "few labels" not in reasons[6]
