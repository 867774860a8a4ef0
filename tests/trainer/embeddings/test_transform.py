"""The feature space of heads and strategies: unit rows, weighted by the pool's spectrum."""

import numpy as np
import pytest

from trainer.embeddings.transform import WIDTH, fit_projection, unit


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


def test_what_varies_much_weighs_more():
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
