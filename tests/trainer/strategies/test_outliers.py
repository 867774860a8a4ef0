"""Outliers by embedding and by model."""

import numpy as np

from tests.trainer.pools import pool_of
from tests.trainer.strategies.test_herding import groups
from trainer.strategies import strategy_named


def test_what_is_unlike_all_others_comes_first():
    Z, of = groups([30, 30, 1])
    assert of[strategy_named("outlier")(pool_of(np.ones((61, 1)), embeddings=Z), 1).rows].tolist() == [2]


def test_the_least_sure_of_its_like_comes_first_though_others_are_less_sure():
    sure, unsure = [[0.95, 0.05]] * 5 + [[0.7, 0.3]], [[0.45, 0.55]] * 6
    assert strategy_named("model_outlier")(pool_of(sure + unsure), 1).rows.tolist() == [5]
