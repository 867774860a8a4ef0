"""k-center picks the far corners, ProbCover the densest regions."""

import numpy as np

from tests.trainer.pools import pool_of
from tests.trainer.strategies.test_herding import groups
from trainer.strategies import strategy_named


def unlabeled(Z, labels=None):
    return pool_of(np.ones((len(Z), 1)), embeddings=Z, labels=labels)


def test_coreset_asks_what_is_farthest_from_the_labels():
    angles = np.array([0.0, 0.1, 0.5, 1.0, 1.5])
    Z = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    ranking = strategy_named("coreset")(unlabeled(Z, [0, -1, -1, -1, -1]), 4)
    assert ranking.rows.tolist() == [4, 2, 3, 1] or ranking.rows.tolist() == [4, 3, 2, 1]
    assert (np.diff(ranking.scores) <= 1e-6).all()


def test_probcover_asks_one_of_each_group_the_largest_first():
    Z, of = groups([30, 20, 10])
    labels = np.full(60, -1)
    first = strategy_named("probcover")(unlabeled(Z), 1).rows
    assert of[first].tolist() == [0]
    labels[first] = 0
    labels[np.flatnonzero(of == 1)[0]] = 1
    assert of[strategy_named("probcover")(unlabeled(Z, labels), 1).rows[0]] in {0, 2}
