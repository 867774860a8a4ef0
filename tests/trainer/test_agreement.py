"""Where scikit-activeml has the same strategy, it says the same."""

import numpy as np
import pytest
import skactiveml.pool as reference

from tests.trainer.pools import make_pool
from trainer.strategies import strategy_named
from trainer.strategies.committee import mutual_information
from trainer.strategies.uncertainty import entropy_scores, least_confidence_scores, margin_scores

P = np.random.default_rng(0).dirichlet(np.ones(4), size=50)


@pytest.mark.parametrize(
    ("method", "ours"),
    [("least_confident", least_confidence_scores), ("margin_sampling", margin_scores), ("entropy", entropy_scores)],
)
def test_uncertainty(method, ours):
    np.testing.assert_allclose(ours(P), reference.uncertainty_scores(P, method=method), atol=1e-9)


def test_disagreement():
    opinions = np.random.default_rng(1).dirichlet(np.ones(3), size=(5, 40))
    theirs = reference.average_kl_divergence(opinions)
    np.testing.assert_allclose(mutual_information(opinions), theirs, atol=1e-9)


def test_coreset():
    pool = make_pool(80, 6, 3, 5)
    y = np.where(pool.labels >= 0, pool.labels, np.nan).astype(float)
    theirs = reference.CoreSet(random_state=0).query(pool.embeddings, y, batch_size=12)
    assert strategy_named("coreset")(pool, 12).rows.tolist() == theirs.tolist()
