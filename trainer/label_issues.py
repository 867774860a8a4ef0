"""Which given labels are doubtful: each label judged by a model that has not seen it.

Confident learning's ranking by self-confidence (Northcutt, Jiang & Chuang 2021): the probability that a model, fitted
on the other folds, gives to the label at hand; the lowest come first. Images that were asked are hard by design, so
an order to review is honest where a verdict would not be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold, StratifiedKFold

from trainer.learners.head import fit_head

FOLDS = 5


@dataclass(frozen=True)
class Doubt:
    """One label in doubt: the row it is about, what was given, and what the others' labels speak for."""

    row: int
    given: int
    proposed: int
    given_probability: float
    proposed_probability: float


def doubts(rows: NDArray[np.float32], given: NDArray[np.int64], *, seed: int) -> list[Doubt]:
    """All labels (n,) of `rows` (n, D), worst first; [] while there are too few to judge.

    Folds are stratified where every class has enough images. A class missing from the other folds gets probability 0.
    """
    classes, counts = np.unique(given, return_counts=True)
    if len(classes) < 2 or len(given) < 2 * FOLDS:
        return []
    kind = StratifiedKFold if counts.min() >= FOLDS else KFold
    probabilities = np.zeros((len(given), len(classes)), np.float32)
    for fit_on, judge in kind(FOLDS, shuffle=True, random_state=seed).split(rows, given):
        if len(np.unique(given[fit_on])) < 2:
            return []
        head = fit_head(rows[fit_on], given[fit_on], seed=seed)
        probabilities[np.ix_(judge, np.searchsorted(classes, head.classes))] = head.predict_proba(rows[judge])
    at = np.searchsorted(classes, given)
    own = probabilities[np.arange(len(given)), at]
    best = probabilities.argmax(axis=1)
    return [
        Doubt(int(i), int(given[i]), int(classes[best[i]]), float(own[i]), float(probabilities[i, best[i]]))
        for i in np.argsort(own, kind="stable")
    ]
