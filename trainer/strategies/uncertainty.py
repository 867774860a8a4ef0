"""Uncertainty sampling: ask where the head is least certain (Lewis & Gale 1994; Settles 2009, section 3.1).

Scoring is separate from selecting. The `*_scores` functions turn probabilities (n, K) into uncertainties (n,), where
higher is asked sooner, and any of them works with any selection. The order is random until there is a head.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from trainer.strategies.random_sampling import random
from trainer.strategies.ranking import Floats, Pool, Ranking, Rows, highest

Probabilities = NDArray[np.float32] | Floats


def least_confidence(pool: Pool, count: int) -> Ranking:
    """Lowest probability of the likeliest class first (Lewis & Gale 1994, "A sequential algorithm …")."""
    return _ranking(pool, count, least_confidence_scores)


def margin(pool: Pool, count: int) -> Ranking:
    """Smallest gap between the two likeliest classes first (Scheffer et al. 2001, "Active hidden Markov models …")."""
    return _ranking(pool, count, margin_scores)


def ratio(pool: Pool, count: int) -> Ranking:
    """Two likeliest classes closest in proportion first (Settles 2009, "Active learning literature survey")."""
    return _ranking(pool, count, ratio_scores)


def entropy(pool: Pool, count: int) -> Ranking:
    """Highest entropy of the class probabilities first (Shannon 1948; Settles 2009). Where an image can have several
    classes, it is the sum over the classes.
    """
    return _ranking(pool, count, entropy_scores if pool.rarity is None else summed_entropies)


def unsure_scores(pool: Pool, probabilities: Probabilities) -> Floats:
    """How unsure the head of `pool` is of images with these probabilities (n, K), from 0 to 1."""
    return margin_scores(probabilities) if pool.rarity is None else pool.rarity.weigh(probabilities)


def least_confidence_scores(probabilities: Probabilities) -> Floats:
    """1 − p₁ for probabilities (n, K)."""
    return 1.0 - _two_largest(probabilities)[0]


def margin_scores(probabilities: Probabilities) -> Floats:
    """1 − (p₁ − p₂), p₁ and p₂ the two largest; 0 where one class is certain or there is only one."""
    first, second = _two_largest(probabilities)
    return 1.0 - (first - second)


def ratio_scores(probabilities: Probabilities) -> Floats:
    """p₂ / p₁, between 0 and 1."""
    first, second = _two_largest(probabilities)
    return second / np.maximum(first, np.finfo(np.float64).tiny)


def entropy_scores(probabilities: Probabilities) -> Floats:
    """−Σ p·log p in nats, with 0·log 0 = 0."""
    return np.asarray(entr(np.asarray(probabilities, dtype=np.float64)).sum(axis=1))


def summed_entropies(probabilities: Probabilities) -> Floats:
    """The entropy of all answers of an image together, were they independent: Σ over the classes, in nats."""
    p = np.asarray(probabilities, dtype=np.float64)
    return np.asarray((entr(p) + entr(1.0 - p)).sum(axis=1))


def torn_between(pool: Pool, rows: Rows) -> list[str]:
    """A reason for each row: the two classes that the head hesitates between, or only that it is unsure. Where an image
    can have several classes, the class that it is unsure about.
    """
    least = 2 if pool.rarity is None else 1
    if pool.probabilities is None or pool.classes is None or pool.probabilities.shape[1] < least:
        return ["the model is unsure"] * len(rows)
    if pool.rarity is not None:
        doubted, _ = pool.rarity.doubted(pool.probabilities[rows])
        return [f"unsure about {{class:{each}}}" for each in pool.classes[doubted].tolist()]
    top = np.argsort(-pool.probabilities[rows], axis=1, kind="stable")[:, :2]
    pairs = pool.classes[top]  # (n, 2)
    return [f"torn between {{class:{a}}} and {{class:{b}}}" for a, b in pairs.tolist()]


def _ranking(pool: Pool, count: int, score: Callable[[Probabilities], Floats]) -> Ranking:
    if pool.probabilities is None:
        return random(pool, count)
    rows, scores = highest(pool, score(pool.probabilities[pool.candidates]), count)
    return Ranking(rows, scores, torn_between(pool, rows))


def _two_largest(probabilities: Probabilities) -> tuple[Floats, Floats]:
    exact = np.asarray(probabilities, dtype=np.float64)
    if exact.shape[1] < 2:
        return exact[:, 0], np.zeros(len(exact))
    top = np.partition(exact, -2, axis=1)
    return top[:, -1], top[:, -2]
