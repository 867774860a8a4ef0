"""Outliers by embedding and by model."""

import numpy as np

from tests.trainer.pools import pool_of
from tests.trainer.test_herding import groups
from trainer.strategies import strategy_named


def test_what_is_unlike_all_others_comes_first():
    Z, of = groups([30, 30, 1])
    assert of[strategy_named("outlier")(pool_of(np.ones((61, 1)), embeddings=Z), 1).rows].tolist() == [2]


def test_what_fits_its_class_less_than_the_labeled_ones_comes_first():
    p = [[0.9, 0.1], [0.95, 0.05], [0.2, 0.8], [0.97, 0.03], [0.6, 0.4], [0.92, 0.08]]
    rows = strategy_named("model_outlier")(pool_of(p, labels=[0, 0, 1, -1, -1, -1]), 3).rows
    assert rows.tolist() == [4, 5, 3]
