"""The values kept for the teachers equal those of the current neighbour graph."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from shared.wire.images import ImageEntry
from trainer.embeddings import neighbourhood, pupils
from trainer.embeddings.neighbourhood import Neighbourhood
from trainer.embeddings.pupils import Pupils
from trainer.embeddings.space import ImagePool
from trainer.learners.kernel_head import kernel
from trainer.tasks.classification import Classification

TASK = Classification()


@pytest.fixture
def digits(monkeypatch):
    """A pool of 800 digits with two blocks of features, of which 100 are pupils, and their classes."""
    monkeypatch.setattr(neighbourhood, "PUPILS", 100)
    monkeypatch.setattr(pupils, "PUPILS", 100)
    monkeypatch.setattr(pupils, "SPARE", 5)
    X, y = load_digits(return_X_y=True)
    X = X.astype(np.float32)
    pool = ImagePool(64, lambda keys: X[[int(key, 16) for key in keys]], (32, 32))
    entries = [ImageEntry(id=i, uri=str(i), sha256=f"{i:064x}", split="train", removed=False) for i in range(800)]
    pool.add(entries, complete=True)
    return pool, y[:800].astype(np.int64)


def test_kept_values_equal_those_of_the_graph_however_many_images_are_labeled(digits):
    pool, _ = digits
    rows = pool.train.rows
    around = Neighbourhood.of(rows, seed=0)
    kept = Pupils(around, rows)
    for count in (0, 3, 40, 120, 20):  # the first nodes of the graph are labeled
        labeled = np.sort(around.nodes[:count])
        found, coordinates, gram = kept.of(count, len(rows), without=labeled)
        expected = rows[around.pupils(count, len(rows), without=labeled)]
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_allclose(coordinates, around.coordinates(expected, rows), atol=1e-5)
        np.testing.assert_allclose(gram, kernel(expected.astype(np.float64), expected.astype(np.float64)), atol=1e-12)


def test_other_rows_are_placed_as_the_graph_places_them_before_and_after_they_are_known(digits, monkeypatch):
    pool, _ = digits
    rows = pool.train.rows
    around = Neighbourhood.of(rows, seed=0)
    kept = Pupils(around, rows)
    monkeypatch.setattr(pupils, "MOST_KNOWN", 50)
    for some in (range(10), range(5, 30), range(100, 160), range(10)):
        np.testing.assert_allclose(kept.beside(rows[some]), around.coordinates(rows[some], rows), atol=1e-5)


def test_a_model_is_the_same_whether_rounds_came_before_or_not(digits):
    """Labels come and go, and the shares of the blocks change."""
    pool, y = digits
    order = np.random.default_rng(0).permutation(800)
    for turn, count in enumerate((30, 40, 35, 80)):
        if turn == 2:
            pool.reweigh((0.5, 0.5))
        labeled = np.sort(order[:count])
        once, again = (
            TASK.fit(pool.train.rows[labeled], y[labeled], pool=pool.train.rows, kept=kept, without=labeled)
            for kept in (pool.kept, _only_graph(pool.kept))
        )
        assert len(once.landmarks) == count + 100
        rows = pool.train.rows[:]
        np.testing.assert_allclose(once.predict_proba(rows), again.predict_proba(rows), atol=1e-3)


def _only_graph(kept):
    """What is kept, without what follows from the geometry."""
    return {name: value for name, value in kept.items() if name == "neighbourhood"}
