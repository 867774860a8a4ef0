"""scikit-activeml's strategies behind our interface, on the same vectors and, where they need one, the same head.

    python -m benchmarks.label_efficiency --strategies uncertainty_herding,benchmarks.scikit_activeml:badge

They run as published there, with their own defaults. Only `typiclust` gets the twenty neighbours of the paper, and
`probcover` the number of classes. Those that need a model ask at random until there is one, like ours. They list at
most one batch, because most of them depend on its size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import skactiveml.pool as reference
from numpy.typing import NDArray
from skactiveml.base import SkactivemlClassifier

from trainer.learners.kernel_head import fit_head
from trainer.strategies import Pool, Ranking, strategy_named

BATCH = 10
CLASSES = 10


class HeadClassifier(SkactivemlClassifier):  # type: ignore[misc]
    """Our head as a classifier for scikit-activeml."""

    def fit(self, X: NDArray[np.float32], y: NDArray[np.float64], sample_weight: Any = None) -> Self:
        """Fit on the rows of `X` (n, D) whose `y` (n,) is a number."""
        _, given, _ = self._validate_data(X, y, sample_weight)
        known = given >= 0
        self.head_ = fit_head(X[known], given[known].astype(np.int64))
        return self

    def predict_proba(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Class probabilities (n, K)."""
        P = self.head_.predict_proba(np.asarray(X, dtype=np.float32)).astype(np.float64)
        return np.asarray(P / P.sum(axis=1, keepdims=True))


def typiclust(pool: Pool, count: int) -> Ranking:
    """TypiClust (Hacohen et al. 2022)."""
    return _asked(pool, count, lambda seed: reference.TypiClust(k=20, random_state=seed))


def probcover(pool: Pool, count: int) -> Ranking:
    """ProbCover (Yehuda et al. 2022)."""
    deltas = np.arange(0.05, 1.5, 0.05)
    return _asked(pool, count, lambda seed: reference.ProbCover(n_classes=CLASSES, deltas=deltas, random_state=seed))


def coreset(pool: Pool, count: int) -> Ranking:
    """k-center greedy (Sener & Savarese 2018)."""
    return _asked(pool, count, lambda seed: reference.CoreSet(random_state=seed))


def maxherding(pool: Pool, count: int) -> Ranking:
    """MaxHerding (Bae et al. 2024), with its default width."""
    return _asked(pool, count, lambda seed: reference.MaxHerding(random_state=seed))


def margin(pool: Pool, count: int) -> Ranking:
    """Margin sampling (Scheffer et al. 2001)."""
    return _asked(
        pool, count, lambda seed: reference.UncertaintySampling(method="margin_sampling", random_state=seed), "clf"
    )


def badge(pool: Pool, count: int) -> Ranking:
    """BADGE (Ash et al. 2020)."""
    return _asked(pool, count, lambda seed: reference.Badge(random_state=seed), "clf")


def clue(pool: Pool, count: int) -> Ranking:
    """CLUE (Prabhu et al. 2021)."""
    return _asked(pool, count, lambda seed: reference.Clue(random_state=seed), "estimator")


def dropquery(pool: Pool, count: int) -> Ranking:
    """DropQuery (Gupte et al. 2024)."""
    return _asked(pool, count, lambda seed: reference.DropQuery(random_state=seed), "clf")


def falcun(pool: Pool, count: int) -> Ranking:
    """FALCUN (Gilhuber et al. 2024)."""
    return _asked(pool, count, lambda seed: reference.Falcun(random_state=seed), "clf")


def _asked(pool: Pool, count: int, make: Callable[[int], Any], model: str | None = None) -> Ranking:
    """The queries of the strategy that `make` creates; `model` is its name for the classifier, if it needs one."""
    if model is not None and pool.probabilities is None:
        return strategy_named("random")(pool, count)
    strategy = pool.memory.setdefault("scikit-activeml", make(pool.seed))
    y = np.where(pool.labels >= 0, pool.labels, np.nan).astype(float)
    more = {model: HeadClassifier()} if model is not None else {}
    wanted = min(count, BATCH, len(pool.candidates))
    rows = strategy.query(pool.embeddings, y, candidates=pool.candidates, batch_size=wanted, **more)
    return Ranking(
        np.asarray(rows, dtype=np.int64), -np.arange(len(rows), dtype=float), ["scikit-activeml"] * len(rows)
    )
