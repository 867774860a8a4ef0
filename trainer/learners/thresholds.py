"""Chooses the temperature and the threshold of each class, from out-of-fold logits.

A head is overconfident on the answers that it was fitted on, so both are chosen on answers that a model has not seen.
The temperature (Guo et al. 2017) minimises their log loss. The threshold of a class maximises its F1 (Lipton et al.
2014). A class with few answers gets a threshold close to the one that suits all classes together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

FOLDS = 5
MOST_JUDGED = 400
"""Approximate number of rows to predict out of fold: with more labels, fewer folds are predicted."""
MOST_ROWS = 3_000
"""Maximum number of rows in the folds; of more rows, a sample is used."""
LEAST = 20
"""Answers, and a yes and a no among them, below which nothing is calibrated."""
COLD, HOT = 0.5, 4.0
"""Range of the temperature."""
PRIOR = 10.0
"""Weight, in answers, of the prior that the temperature is 1. Also the number of yes answers (or no, if that is rarer)
with which a class's own threshold weighs as much as the common one."""

Matrix = NDArray[np.float32]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """A temperature, and thresholds (K,)."""

    thresholds: Matrix
    temperature: float

    @classmethod
    def plain(cls, classes: int) -> Self:
        """No calibration: the temperature is 1 and all thresholds are one half."""
        return cls(np.full(classes, 0.5, np.float32), 1.0)


def folds_to_judge(
    Z: Matrix, yes: Matrix, weight: Matrix, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Rows (r,) of `Z` (n, D), their folds (r,), and the number of folds to predict, counted from the first.

    Each class is spread evenly, the rarest first. The folds depend on the contents of the rows, not on their order.
    `yes` and `weight` are (n, K). The number is 0 if there are too few answers.
    """
    draw = np.random.default_rng(seed)
    rows = np.lexsort(Z[:, : min(8, Z.shape[1])].T)
    if len(rows) > MOST_ROWS:
        rows = draw.permutation(rows)[:MOST_ROWS]
    rows = rows[(weight[rows] > 0).any(axis=1)]
    if len(rows) < 2 * FOLDS:
        return rows, rows, 0
    has = (yes[rows] * weight[rows]) > 0
    counts = has.sum(axis=0)
    rarest = np.where(has, counts, np.inf).argmin(axis=1)
    rarest = np.where(has.any(axis=1), rarest, yes.shape[1])  # images without any class form their own group
    fold = np.empty(len(rows), np.int64)
    turn = 0
    for k in np.argsort([*counts, np.inf], kind="stable"):
        mine = draw.permutation(np.flatnonzero(rarest == k))
        fold[mine] = (turn + np.arange(len(mine))) % FOLDS
        turn += len(mine)
    return rows, fold, int(np.clip(np.ceil(FOLDS * MOST_JUDGED / len(rows)), 1, FOLDS))


def calibrate(logits: Floats, yes: NDArray[np.bool_], known: NDArray[np.bool_]) -> Calibration:
    """Fit the calibration to out-of-fold `logits` (r, K) and answers `yes` (r, K) where `known` (r, K)."""
    both = yes[known]
    if len(both) < LEAST or both.all() or not both.any():
        return Calibration.plain(logits.shape[1])
    temperature = _temperature(logits[known], both)
    probabilities = expit(logits / temperature)
    common = best_threshold(probabilities[known], both)
    thresholds = np.full(logits.shape[1], common)
    for k in range(logits.shape[1]):
        mine = known[:, k]
        said = yes[mine, k]
        rarer = min(int(said.sum()), int((~said).sum()))
        if rarer:
            trust = rarer / (rarer + PRIOR)
            own = logit(best_threshold(probabilities[mine, k], said))
            thresholds[k] = expit(trust * own + (1 - trust) * logit(common))
    return Calibration(thresholds.astype(np.float32), temperature)


def best_threshold(probabilities: Floats, yes: NDArray[np.bool_]) -> float:
    """The threshold with the best F1 for `probabilities` (n,) and answers `yes` (n,), at least one of which is a yes.

    Of equally good ones, the one closest to one half. It lies half way, in logits, between two probabilities.
    """
    order = np.argsort(-probabilities, kind="stable")
    p, hits = probabilities[order], np.cumsum(yes[order])
    f1 = 2 * hits / (np.arange(1, len(p) + 1) + hits[-1])
    last = np.append(p[1:] < p[:-1], True)  # a threshold can only lie where the next probability is lower
    z = logit(np.clip(p, 1e-4, 1 - 1e-4))
    edges = np.append((z[1:] + z[:-1]) / 2, z[-1] - 1.0)
    good = np.flatnonzero(last & (f1 >= f1[last].max() - 1e-12))
    return float(expit(edges[good[np.abs(edges[good]).argmin()]]))


def _temperature(logits: Floats, yes: NDArray[np.bool_]) -> float:
    sign = np.where(yes, 1.0, -1.0)

    def loss(log: float) -> float:
        return float(np.logaddexp(0.0, -sign * logits / np.exp(log)).sum() + PRIOR * log * log)

    found = minimize_scalar(loss, bounds=(np.log(COLD), np.log(HOT)), method="bounded", options={"xatol": 1e-2})
    return float(np.exp(found.x))
