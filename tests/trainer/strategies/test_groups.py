"""Strategies over groups take the groups in turn."""

import numpy as np

from tests.trainer.pools import pool_of
from tests.trainer.strategies.test_herding import groups
from trainer.strategies import strategy_named

Z, OF = groups([30, 20, 12])


def test_typiclust_and_representative_spread_over_the_groups():
    for name in ("typiclust", "representative"):
        ranking = strategy_named(name)(pool_of(np.ones((62, 1)), embeddings=Z), 10)
        assert set(OF[ranking.rows].tolist()) == {0, 1, 2}, name


def test_a_group_without_labels_comes_before_those_that_have_some():
    labels = np.full(62, -1)
    labels[OF == 0], labels[30] = 0, 1
    ranking = strategy_named("typiclust")(pool_of(np.ones((62, 1)), embeddings=Z, labels=labels), 1)
    assert OF[ranking.rows[0]] in {1, 2}


def test_cluster_margin_asks_uncertain_images_of_several_groups():
    p = np.where((np.arange(62) % 3 == 0)[:, None], [0.5, 0.5], [0.99, 0.01])
    ranking = strategy_named("cluster_margin")(pool_of(p, embeddings=Z), 9)
    assert set(OF[ranking.rows].tolist()) == {0, 1, 2}
    whole = strategy_named("cluster_margin")(pool_of(p, embeddings=Z), 62)
    assert sorted(whole.rows.tolist()) == list(range(62))
