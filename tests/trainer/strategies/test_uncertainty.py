"""Known orders on handmade probabilities."""

import numpy as np
import pytest

from tests.trainer.pools import pool_of
from trainer.strategies import strategy_named
from trainer.strategies.uncertainty import entropy_scores, margin_scores, ratio_scores

# Rows: certain, torn between two classes, spread evenly, one class ahead of an even rest.
P = [[1.0, 0.0, 0.0, 0.0], [0.5, 0.49, 0.01, 0.0], [0.25, 0.25, 0.25, 0.25], [0.46, 0.18, 0.18, 0.18]]


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("least_confidence", [2, 3, 1, 0]),
        ("margin", [2, 1, 3, 0]),
        ("ratio", [2, 1, 3, 0]),
        ("entropy", [2, 3, 1, 0]),
    ],
)
def test_the_order_is_the_known_one(name, order):
    assert strategy_named(name)(pool_of(P), 4).rows.tolist() == order


def test_margin_and_ratio_take_the_two_largest_wherever_they_stand():
    p = np.array([[0.1, 0.6, 0.3], [0.3, 0.1, 0.6], [0.6, 0.3, 0.1]])
    np.testing.assert_allclose(margin_scores(p), 0.7)
    np.testing.assert_allclose(ratio_scores(p), 0.5)


def test_entropy_of_certainty_is_zero_and_of_evenness_log_k():
    np.testing.assert_allclose(entropy_scores(np.array([[1.0, 0.0], [0.5, 0.5]])), [0.0, np.log(2)])


def test_with_one_class_nothing_is_uncertain():
    ranking = strategy_named("margin")(pool_of([[1.0], [1.0]]), 2)
    assert sorted(ranking.rows.tolist()) == [0, 1]
    assert ranking.scores.tolist() == [0.0, 0.0]


def test_the_reason_names_the_two_likeliest_classes():
    assert strategy_named("margin")(pool_of([[0.1, 0.5, 0.4]]), 1).reasons == ["torn between {class:1} and {class:2}"]
