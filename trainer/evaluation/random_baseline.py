"""Estimates what random labels would have achieved, from the test sample and for display only.

The test sample is random and labeled, so a part of it can stand in for random labels while the rest judges. Heads are
cross-validated within it and thrown away: nothing learned here is kept, promoted or used for a choice. With five folds,
at most four fifths of the sample can be learned from, so larger numbers of random labels are not estimated. Arrays in,
numbers out; it knows neither the pool nor the model nor the log.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from shared.wire.evaluation import RandomEstimate
from trainer.evaluation.metrics import wilson
from trainer.learners.kernel_head import Head, fit_head

FOLDS = 5
LEAST_TEST = 60  # labeled test images before anything is estimated
MOST = 200  # maximum number of random labels: 20 fits then take about 0.2 s, and more with a teacher
SIZES = 4  # numbers of labels, each half of the next
LEAST_LABELS = 10

Learn = Callable[[NDArray[np.float32], NDArray[np.int64]], Head]


def random_baseline(
    rows: NDArray[np.float32], truth: NDArray[np.int64], *, seed: int, learn: Learn = fit_head
) -> list[RandomEstimate]:
    """Expected accuracy for several numbers of random labels, fewest first; [] while the sample is too small.

    `rows` (n, D) are the unit rows of the labeled test images, `truth` (n,) their class ids. Each image is judged once,
    by a head that has not seen it. `learn` fits a head on rows and class ids, as the live one was fitted. The interval
    is Wilson's for n images; it ignores the variation between random draws.
    """
    n = len(truth)
    if n < LEAST_TEST:
        return []
    order = np.random.default_rng(seed).permutation(n)
    folds = np.array_split(order, FOLDS)
    largest = min(MOST, n - len(folds[0]))
    sizes = sorted(size for size in (largest >> halved for halved in range(SIZES)) if size >= LEAST_LABELS)
    hits = dict.fromkeys(sizes, 0)
    with threadpool_limits(1, "blas"):  # products this small wait longer for a second thread than they take
        for number, judged in enumerate(folds):
            others = np.concatenate(folds[number + 1 :] + folds[:number])
            for size in sizes:
                guessed = _guess(rows, truth, others[:size], rows[judged], learn)
                hits[size] += int((guessed == truth[judged]).sum())
    return [RandomEstimate(labels=size, accuracy=wilson(hits[size], n)) for size in sizes]


def beside_chosen(
    estimates: list[RandomEstimate],
    chosen: tuple[NDArray[np.float32], NDArray[np.int64]],
    rows: NDArray[np.float32],
    truth: NDArray[np.int64],
    *,
    learn: Learn = fit_head,
) -> list[RandomEstimate]:
    """Add to `estimates` the accuracy of as many chosen labels, at the largest possible number.

    `chosen` are the rows (m, D) and class ids (m,) labeled here, in order; imported labels were not chosen. Earlier
    models were measured on smaller test samples. So for a fair comparison, a head is fitted on the first labels, judged
    on the current sample, and thrown away.
    """
    labels = max((each.labels for each in estimates if each.labels <= len(chosen[1])), default=0)
    if not labels:
        return [each.model_copy(update={"chosen": None}) for each in estimates]
    with threadpool_limits(1, "blas"):
        guessed = _guess(*chosen, np.arange(labels), rows, learn)
    given = wilson(int((guessed == truth).sum()), len(truth))
    return [each.model_copy(update={"chosen": given if each.labels == labels else None}) for each in estimates]


def _guess(
    rows: NDArray[np.float32],
    truth: NDArray[np.int64],
    learned: NDArray[np.int64],
    judged: NDArray[np.float32],
    learn: Learn,
) -> NDArray[np.int64]:
    """Class ids that a head fitted on `learned` predicts for `judged`; with one class, always that class."""
    if len(np.unique(truth[learned])) < 2:
        return np.full(len(judged), truth[learned[0]])
    head = learn(rows[learned], truth[learned])
    return np.asarray(head.classes[head.predict_proba(judged).argmax(axis=1)])
