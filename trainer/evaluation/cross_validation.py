"""Out-of-fold predictions: each label is predicted by a model that has not seen it, although some labels are wrong.

Folds keep near-duplicates together, because a copy in another fold would repeat its own wrong label. Each class is
spread evenly over the folds, so even a class of two images is judged. The head is fitted three times: on all other
labels, then on those that the first fit does not contradict, then with each label weighted by the probability that the
second fit gives it (robust refitting, after iterative noisy cross-validation, Chen et al. 2019). Confirmed labels
always have full weight. On the digits and on photos, this finds more errors than a single pass at every kind and share
of noise that was tried (`benchmarks.label_errors`). It knows neither images nor services.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from trainer.embeddings.nearest import nearest
from trainer.learners.kernel_head import fit_head

FOLDS = 5
PASSES = 3
NEIGHBOURS = 10
NEAR_DUPLICATE = 0.98  # cosine in the pool's space; 0.6 % of the digits have such a neighbour, 0.05 % of photos
DISBELIEVED = 0.02  # weight of a contradicted label; above 0, so that no class vanishes from a fit
REFERENCE = 20_000  # rows among which neighbours are searched

Ids = NDArray[np.int64]
Rows = NDArray[np.float32]


@dataclass(frozen=True)
class OutOfFold:
    """`probabilities` (n, K) of `classes` (K,) for the images `ids` (n,), each from a model that has not seen its
    label.

    `neighbours` (n, k) are positions in `ids`, nearest first, with cosine similarities `similarity` (n, k). `judged`
    (n,) is False if no fold could learn the class, because all its images are copies of one. `first` (n, K) is the
    first pass, which trusts all labels equally.
    """

    ids: Ids
    given: Ids
    classes: Ids
    probabilities: Rows
    neighbours: Ids
    similarity: Rows
    judged: NDArray[np.bool_]
    first: Rows | None = None


def lacking(given: Ids) -> int:
    """Minimum number of labels still needed before `given` (n,) can be judged: two classes with two labels each."""
    largest: list[int] = sorted(np.unique(given, return_counts=True)[1].tolist(), reverse=True)[:2]
    return max(2 * FOLDS - len(given), 4 - sum(min(2, count) for count in largest))


def out_of_fold(
    ids: Ids,
    rows: Rows,
    given: Ids,
    trusted: NDArray[np.bool_],
    *,
    seed: int,
    progress: Callable[[float], None] = lambda _: None,
) -> OutOfFold | None:
    """Judge the labels `given` (n,) of unit `rows` (n, D); `trusted` (n,) are confirmed. None if there are too few.

    `progress` is called with the share done, 0 … 1.
    """
    classes, at = np.unique(given, return_inverse=True)
    if lacking(given) > 0:
        return None
    neighbours, similarity = _nearest(rows, seed)
    fold = deal(_groups(neighbours, similarity, at), at, seed)
    if any(len(np.unique(at[fold != k])) < 2 for k in np.unique(fold)):
        return None
    weights = np.ones(len(given))
    first = np.zeros((len(at), len(classes)), np.float32)
    for number in range(PASSES):
        probabilities = np.zeros((len(at), len(classes)), np.float32)
        for done, k in enumerate(np.unique(fold)):
            progress((number + done / FOLDS) / PASSES)
            judge = fold == k
            head = fit_head(rows[~judge], at[~judge], weights=weights[~judge], seed=seed)
            probabilities[np.ix_(judge, head.classes)] = head.predict_proba(rows[judge])
        first = probabilities if number == 0 else first
        own, best = probabilities[np.arange(len(at)), at], probabilities.max(axis=1)
        belief = (own == best).astype(np.float64) if number == 0 else own / best
        weights = np.where(trusted, 1.0, np.maximum(belief, DISBELIEVED))
    judged = np.array([len(np.unique(fold[at == k])) > 1 for k in range(len(classes))])[at]
    return OutOfFold(ids, given, classes, probabilities, neighbours, similarity, judged, first)


def folds_of(rows: Rows, given: Ids, judged: NDArray[np.bool_], *, folds: int, seed: int) -> Ids:
    """The fold (n,) that judges each label, with near-duplicates in one fold; −1 for unjudged labels."""
    neighbours, similarity = _nearest(rows, seed)
    at = np.unique(given, return_inverse=True)[1]
    return np.where(judged, deal(_groups(neighbours, similarity, at), at, seed, folds=folds), -1)


def nearest_groups(rows: Rows, at: Ids, seed: int) -> tuple[Ids, Rows, Ids]:
    """The nearest other rows, their cosines, and the group of near-duplicates of each row. `at` (n,) are classes."""
    neighbours, similarity = _nearest(rows, seed)
    return neighbours, similarity, _groups(neighbours, similarity, at)


def deal(groups: Ids, at: Ids, seed: int, *, folds: int = FOLDS) -> Ids:
    """The fold of each image (n,): groups stay whole, each class's groups are spread evenly, the rarest class first.

    scikit-learn's StratifiedGroupKFold spreads them as evenly and takes 2.2 s instead of 2 ms for 5,000 groups.
    """
    rng = np.random.default_rng(seed)
    fold_of = np.full(groups.max() + 1, -1, np.int64)
    turn = 0
    for k in np.argsort(np.bincount(at), kind="stable"):
        mine = np.unique(groups[at == k])
        mine = rng.permutation(mine[fold_of[mine] < 0])
        fold_of[mine] = (turn + np.arange(len(mine))) % folds
        turn += len(mine)
    return fold_of[groups]


def _nearest(rows: Rows, seed: int) -> tuple[Ids, Rows]:
    """Positions (n, k) and cosines of the nearest other rows, among all rows or a sample of many."""
    n = len(rows)
    among = np.arange(n)
    if n > REFERENCE:
        among = np.sort(np.random.default_rng(seed).choice(n, REFERENCE, replace=False))
    own = np.full(n, -1, np.int64)
    own[among] = np.arange(len(among))
    found, similarity = nearest(rows, rows[among], NEIGHBOURS, without=own)
    return among[found], similarity


def _groups(neighbours: Ids, similarity: Rows, at: Ids) -> Ids:
    """The group of each image (n,): near-duplicates share one, transitively.

    In a class with little variation this would chain most images together and leave nothing to judge by. So a group
    larger than a fold's share of its class is split into single images.
    """
    n = len(neighbours)
    one, place = np.nonzero(similarity > NEAR_DUPLICATE)
    pairs = coo_array((np.ones(len(one)), (one, neighbours[one, place])), shape=(n, n))
    group = np.asarray(connected_components(pairs, directed=False)[1], np.int64)
    too_large = np.bincount(group)[group] > np.maximum(2, np.bincount(at)[at] / FOLDS)
    group[np.isin(group, group[too_large])] = -1
    alone = group < 0
    group[alone] = n + np.arange(np.count_nonzero(alone))
    return np.unique(group, return_inverse=True)[1]
