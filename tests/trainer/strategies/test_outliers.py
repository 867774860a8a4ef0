"""Outliers by embedding and by model."""

import numpy as np

from tests.trainer.pools import pool_of
from tests.trainer.strategies.test_herding import groups
from trainer.strategies import strategy_named


def test_images_unlike_all_others_come_first():
    Z, of = groups([30, 30, 1])
    assert of[strategy_named("outlier")(pool_of(np.ones((61, 1)), embeddings=Z), 1).rows].tolist() == [2]


def test_confidence_is_compared_within_the_predicted_class():
    sure, unsure = [[0.95, 0.05]] * 5 + [[0.7, 0.3]], [[0.45, 0.55]] * 6
    assert strategy_named("model_outlier")(pool_of(sure + unsure), 1).rows.tolist() == [5]
