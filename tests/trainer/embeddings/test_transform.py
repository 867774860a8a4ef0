"""The feature space of heads and strategies: unit rows, weighted by the pool's spectrum."""

import numpy as np
import pytest

from trainer.embeddings.transform import WIDTH, fit_projection, rescaled, unit


def raw(n, dim, seed=0):
    """Vectors around 3 whose values vary less from the first to the last."""
    return (3 + np.random.default_rng(seed).standard_normal((n, dim)) / np.arange(1, dim + 1)).astype(np.float32)


@pytest.mark.parametrize(("n", "dim"), [(500, 20), (300, 400), (600, 400), (10, 400)])
def test_rows_are_of_unit_length_and_no_longer_than_need_be(n, dim):
    X = raw(n, dim)
    projection = fit_projection(X.mean(axis=0), X)
    rows = projection.transform(X)
    assert rows.dtype == np.float32
    assert rows.shape[1] == (min(dim, WIDTH) if n >= min(dim, WIDTH) else dim)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-4)


def test_directions_of_large_variance_weigh_more():
    X = raw(500, 20)
    axes = fit_projection(X.mean(axis=0), X).axes
    lengths = np.linalg.norm(axes, axis=0)
    assert lengths[0] == pytest.approx(1, abs=1e-4)
    assert (np.diff(lengths) <= 1e-6).all()
    np.testing.assert_allclose(unit(axes.T) @ unit(axes.T).T, np.eye(20), atol=1e-4)  # directions are orthogonal


def test_few_images_give_the_same_directions_as_their_covariance_does():
    X = raw(300, 400)
    rows = unit(X - X.mean(axis=0))
    axes = fit_projection(X.mean(axis=0), X).axes
    expected = np.linalg.eigh((rows.T @ rows).astype(np.float64))[1][:, -3:][:, ::-1]
    np.testing.assert_allclose(np.abs((unit(axes.T)[:3] * expected.T).sum(axis=1)), 1, atol=1e-2)


def test_too_few_images_are_only_centred():
    X = raw(10, 400)
    np.testing.assert_allclose(fit_projection(X.mean(axis=0), X).transform(X), unit(X - X.mean(axis=0)), atol=1e-6)


def test_a_vector_at_the_mean_stays_zero():
    X = raw(500, 20)
    projection = fit_projection(X.mean(axis=0), X)
    assert (projection.transform(projection.mean[None]) == 0).all()


def blocks_of(n, seed=0):
    """Raw vectors of two blocks (300 + 20) of very different size."""
    return np.hstack([0.01 * raw(n, 300, seed), 100 * raw(n, 20, seed + 1)])


def test_each_block_has_its_share_of_a_row():
    X = blocks_of(600)
    projection = fit_projection(X.mean(axis=0), X, (300, 20), (0.7, 0.3))
    assert projection.widths == (WIDTH // 2, 20)
    rows = projection.transform(X)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-4)
    assert (rows[:, : WIDTH // 2] ** 2).sum(axis=1).mean() == pytest.approx(0.7, abs=0.06)


def test_other_shares_scale_rows_that_are_there():
    X = blocks_of(600)
    before = fit_projection(X.mean(axis=0), X, (300, 20), (0.7, 0.3))
    after = before.reweighed((0.99, 0.01))
    fresh = fit_projection(X.mean(axis=0), X, (300, 20), (0.99, 0.01))
    np.testing.assert_allclose(after.transform(X), fresh.transform(X), atol=1e-5)
    np.testing.assert_allclose(
        rescaled(before.transform(X), before.factors((0.99, 0.01))), fresh.transform(X), atol=1e-5
    )
    np.testing.assert_allclose(after.reweighed((0.7, 0.3)).axes, before.axes, rtol=1e-5)


def test_a_single_block_cannot_be_reweighed():
    X = raw(500, 20)
    projection = fit_projection(X.mean(axis=0), X)
    assert projection.reweighed(()) is projection


def test_too_few_images_for_the_spectrum_of_a_block_are_only_centred():
    X = blocks_of(50)
    projection = fit_projection(X.mean(axis=0), X, (300, 20), (0.7, 0.3))
    assert projection.shares == ()
    np.testing.assert_allclose(projection.transform(X), unit(X - X.mean(axis=0)), atol=1e-6)
