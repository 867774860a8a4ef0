import numpy as np
import pytest
from sklearn.datasets import load_digits

from trainer.embeddings import neighbourhood
from trainer.embeddings.neighbourhood import Neighbourhood
from trainer.embeddings.transform import unit


@pytest.fixture(scope="module")
def digits():
    """Unit rows of 1,200 digits, and their classes."""
    X, y = load_digits(return_X_y=True)
    return unit((X[:1_200] - X[:1_200].mean(axis=0)).astype(np.float32)), y[:1_200]


def test_coordinates_are_close_along_chains_of_neighbours_and_far_elsewhere():
    rng = np.random.default_rng(0)
    angles = np.concatenate([rng.uniform(0, 2, 300), rng.uniform(3, 5, 300)])  # two arcs, with a gap between them
    pool = unit(np.stack([np.cos(angles), np.sin(angles), np.ones(600)], axis=1).astype(np.float32))
    around = Neighbourhood.of(pool, seed=0)
    found = around.coordinates(pool, pool)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-3)
    one, other = found[:300].mean(axis=0), found[300:].mean(axis=0)
    right = np.linalg.norm(found - one, axis=1) < np.linalg.norm(found - other, axis=1)
    assert right[:300].all()
    assert not right[300:].any()


def test_the_graph_of_a_pool_that_has_grown_places_new_images_beside_their_neighbours(digits):
    pool, y = digits
    around = Neighbourhood.of(pool[:900], seed=0)
    new = np.arange(900, 1_200)
    found, known = around.coordinates(pool[new], pool), around.coordinates(pool[:900], pool)
    nearest = (found @ known.T).argmax(axis=1)
    assert (y[:900][nearest] == y[new]).mean() > 0.9


def test_it_is_the_same_each_time_and_copies_of_an_image_do_no_harm(digits):
    pool = np.concatenate([digits[0][:300], np.repeat(digits[0][:1], 40, axis=0)])
    like_the_copies = unit(digits[0][:1] + np.float32(0.5) * digits[0][5:8])
    rows = np.concatenate([pool, like_the_copies])
    one, again = (Neighbourhood.of(pool, seed=0).coordinates(rows, pool) for _ in range(2))
    assert np.isfinite(one).all()
    assert np.allclose(np.linalg.norm(one, axis=1), 1, atol=1e-3)
    assert np.allclose(one @ one.T, again @ again.T, atol=1e-3)


def test_a_large_pool_has_fewer_pupils_so_that_scoring_it_stays_quick(digits, monkeypatch):
    around = Neighbourhood.of(digits[0], seed=0)
    labeled = np.arange(20)
    found = around.pupils(20, 1_200, without=labeled)
    assert len(set(found.tolist())) == neighbourhood.PUPILS
    assert not set(found.tolist()) & set(labeled.tolist())
    monkeypatch.setattr(neighbourhood, "PAIRS", 1_200 * 300)
    assert len(around.pupils(20, 1_200, without=labeled)) == 280
    monkeypatch.setattr(neighbourhood, "PAIRS", 0)
    assert len(around.pupils(20, 1_200, without=labeled)) == neighbourhood.LEAST_PUPILS
