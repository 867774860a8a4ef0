"""Our strategies agree with those of scikit-activeml."""

from dataclasses import replace

import numpy as np
import pytest
import skactiveml.pool as reference
from skactiveml.base import SkactivemlClassifier

from tests.trainer.pools import make_pool, pool_of
from trainer.strategies import strategy_named
from trainer.strategies.committee import mutual_information
from trainer.strategies.coverage import _radius
from trainer.strategies.geometry import spacing
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


class Known(SkactivemlClassifier):  # type: ignore[misc]
    """A classifier that returns the pool's own probabilities for unlabeled rows."""

    def __init__(self, pool):
        super().__init__(classes=pool.classes)
        self.pool = pool

    def fit(self, X, y, sample_weight=None):
        return self

    def predict_proba(self, X):
        return self.pool.probabilities[self.pool.candidates].astype(float)


def answers(pool):
    return np.where(pool.labels >= 0, pool.labels, np.nan).astype(float)


@pytest.mark.parametrize(
    ("name", "method"),
    [("least_confidence", "least_confident"), ("margin", "margin_sampling"), ("entropy", "entropy")],
)
def test_a_list_by_uncertainty(name, method):
    pool = make_pool(80, 6, 4, 12)
    theirs = reference.UncertaintySampling(method=method, random_state=0).query(
        pool.embeddings, answers(pool), clf=Known(pool), fit_clf=False, batch_size=15
    )
    assert strategy_named(name)(pool, 15).rows.tolist() == theirs.tolist()


@pytest.mark.parametrize("labeled", [0, 5])
def test_coreset(labeled):
    pool = make_pool(80, 6, 3, labeled)
    ours = strategy_named("coreset")(pool, 12).rows
    if not labeled:  # the first pick of the reference is random
        pool = answered(pool, ours[:1])
        ours = ours[1:]
    theirs = reference.CoreSet(random_state=0).query(pool.embeddings, answers(pool), batch_size=len(ours))
    assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize("labeled", [0, 7])
def test_maxherding(labeled):
    pool = make_pool(80, 6, 3, labeled)
    width = {"gamma": 1 / spacing(pool) ** 2}
    theirs = reference.MaxHerding(metric_dict=width, random_state=0).query(
        pool.embeddings, answers(pool), batch_size=12
    )
    assert strategy_named("maxherding")(pool, 12).rows.tolist() == theirs.tolist()


@pytest.mark.filterwarnings("ignore:The maximum purity")  # it warns about every given radius
def test_probcover():
    """Out-degrees often tie, and the reference breaks ties at random: each of our picks is among their best."""
    pool = make_pool(120, 4, 3, 6)
    radius = float(np.sqrt(_radius(pool, 3)))
    ours = strategy_named("probcover")(pool, 10)
    for row, gain in zip(ours.rows.tolist(), ours.scores.tolist(), strict=True):
        _, utilities = reference.ProbCover(deltas=[radius], random_state=0).query(
            pool.embeddings.astype(float), answers(pool), batch_size=1, return_utilities=True
        )
        assert utilities[0, row] == np.nanmax(utilities) == gain
        pool = answered(pool, [row])


def test_typiclust():
    """Ten separate groups: both pick the same typical image of each, the largest group first."""
    rng = np.random.default_rng(0)
    of = np.repeat(np.arange(10), np.arange(48, 28, -2))
    Z = (np.eye(10)[of] + 0.05 * rng.standard_normal((len(of), 10))).astype(np.float32)
    Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    pool = replace(pool_of(np.full((len(of), 2), 0.5), embeddings=Z), probabilities=None)
    theirs = reference.TypiClust(k=20, random_state=0).query(pool.embeddings, answers(pool), batch_size=10)
    ours = strategy_named("typiclust")(pool, 10).rows
    assert of[ours].tolist() == list(range(10))
    assert ours.tolist() == theirs.tolist()


def test_badge():
    """Later picks are random there; but if only six images are uncertain, both pick all of them."""
    pool = make_pool(80, 6, 3, 5)
    probabilities = np.tile(np.array([1, 0, 0], dtype=np.float32), (80, 1))
    unsure = pool.candidates[[3, 8, 21, 33, 47, 60]]
    probabilities[unsure] = np.random.default_rng(0).dirichlet(np.ones(3), size=6)
    pool = replace(pool, probabilities=probabilities)
    theirs = reference.Badge(random_state=0).query(
        pool.embeddings, answers(pool), clf=Known(pool), fit_clf=False, batch_size=7
    )
    ours = strategy_named("badge")(pool, 7).rows.tolist()
    assert ours[0] == theirs[0]
    assert set(unsure.tolist()) <= set(ours) & set(theirs)


def answered(pool, rows):
    """The pool after `rows` were labeled."""
    labels = pool.labels.copy()
    labels[rows] = 10
    return replace(pool, labels=labels, candidates=np.setdiff1d(pool.candidates, rows))
