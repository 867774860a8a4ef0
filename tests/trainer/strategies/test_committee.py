"""BALD asks where models fitted on the same labels disagree, not where all are equally unsure."""

import numpy as np

from tests.trainer.pools import pool_of
from trainer.learners.kernel_head import fit_head
from trainer.strategies import strategy_named
from trainer.strategies.committee import mutual_information


def test_images_on_which_models_agree_score_zero_however_unsure():
    unsure = np.full((4, 1, 2), 0.5)
    torn = np.array([[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 0.0]], [[0.0, 1.0]]])
    assert mutual_information(unsure)[0] == 0
    np.testing.assert_allclose(mutual_information(torn)[0], np.log(2))


def test_what_models_disagree_on_is_drawn_sooner():
    """Two labeled corners: the models mostly differ between them."""
    angles = np.concatenate([[0.0, 0.05, 1.5, 1.55], np.full(20, 0.02), np.full(20, 0.78)])
    Z = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    pool = pool_of(np.full((44, 2), 0.5), embeddings=Z, labels=[0, 0, 1, 1] + [-1] * 40)
    rows = strategy_named("bald")(pool, 10).rows
    assert (rows >= 24).mean() > 0.5


def test_a_weight_of_two_counts_a_label_twice():
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((30, 6)).astype(np.float32)
    Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    y = np.arange(30) % 3
    weighted = fit_head(Z, y, weights=np.where(np.arange(30) < 10, 2.0, 1.0))
    repeated = fit_head(np.concatenate([Z, Z[:10]]), np.concatenate([y, y[:10]]))
    np.testing.assert_allclose(weighted.predict_proba(Z), repeated.predict_proba(Z), atol=2e-2)
