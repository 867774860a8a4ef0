"""BADGE's factorised distances equal those of the gradients, and it asks about uncertain and new images."""

import numpy as np

from tests.trainer.pools import make_pool, pool_of
from trainer.strategies import strategy_named


def test_scores_are_squared_distances_between_explicit_gradients():
    pool = make_pool(40, 6, 3, 0)
    ranking = strategy_named("badge")(pool, 12)
    a = pool.probabilities.astype(float)
    a[np.arange(40), a.argmax(axis=1)] -= 1
    gradients = (a[:, :, None] * pool.embeddings[:, None, :]).reshape(40, -1)
    assert ranking.rows[0] == np.argmax((gradients**2).sum(axis=1))
    for i in range(1, 12):
        picked = gradients[ranking.rows[:i]]
        expected = ((gradients[ranking.rows[i]] - picked) ** 2).sum(axis=1).min()
        np.testing.assert_allclose(ranking.scores[i], expected, atol=1e-6)


def test_a_copy_of_what_was_asked_waits_until_the_end():
    Z = np.eye(3, 4, dtype=np.float32)[[0, 0, 0, 1, 2]]
    p = [[0.5, 0.5]] * 5
    rows = strategy_named("badge")(pool_of(p, embeddings=Z), 5).rows
    assert {int(row) if row > 2 else 0 for row in rows[:3]} == {0, 3, 4}
