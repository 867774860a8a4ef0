"""What random labels would have given: an estimate for display, made inside the test sample.

The test sample is random and labeled, so that part of it can stand for random labels while the rest judges: heads are
cross-validated within it and thrown away. Nothing learned here is kept, promoted or used to choose anything; numbers
leave, models do not. With five folds, at most four fifths of the sample can be learned from, so that more random labels
than that cannot be estimated, and are not. Arrays in, numbers out; it knows nothing of the pool, the model and the log.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from shared.wire.evaluation import RandomEstimate
from trainer.evaluation.metrics import wilson
from trainer.learners.kernel_head import fit_head

FOLDS = 5
LEAST_TEST = 60  # labeled test images before anything is estimated
MOST = 200  # random labels estimated at most: 20 fits then take about 0.2 s
SIZES = 4  # numbers of labels, each half of the next
LEAST_LABELS = 10


def random_baseline(rows: NDArray[np.float32], truth: NDArray[np.int64], *, seed: int) -> list[RandomEstimate]:
    """Accuracy to expect of as many random labels, fewest first; [] while the sample is too small.

    `rows` (n, D) are the unit-length rows of the labeled test images, `truth` (n,) their class ids. Each image is
    judged once, by a head that has not seen it; the interval is Wilson's for n images and leaves out how much one draw
    of random labels differs from another.
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
                guessed = _guess(rows, truth, others[:size], rows[judged], seed)
                hits[size] += int((guessed == truth[judged]).sum())
    return [RandomEstimate(labels=size, accuracy=wilson(hits[size], n)) for size in sizes]


def beside_chosen(
    estimates: list[RandomEstimate],
    chosen: tuple[NDArray[np.float32], NDArray[np.int64]],
    rows: NDArray[np.float32],
    truth: NDArray[np.int64],
    *,
    seed: int,
) -> list[RandomEstimate]:
    """`estimates`, with what as many chosen labels give beside the largest for which there are enough.

    `chosen` are the rows (m, D) and class ids (m,) that were labeled here, in that order; imports are nobody's
    choice. The models of then were measured on the smaller sample of then: to compare like with like, a head of the
    first labels is fitted again, judged on the sample of now, and thrown away.
    """
    labels = max((each.labels for each in estimates if each.labels <= len(chosen[1])), default=0)
    if not labels:
        return [each.model_copy(update={"chosen": None}) for each in estimates]
    with threadpool_limits(1, "blas"):
        guessed = _guess(*chosen, np.arange(labels), rows, seed)
    given = wilson(int((guessed == truth).sum()), len(truth))
    return [each.model_copy(update={"chosen": given if each.labels == labels else None}) for each in estimates]


def _guess(
    rows: NDArray[np.float32],
    truth: NDArray[np.int64],
    learned: NDArray[np.int64],
    judged: NDArray[np.float32],
    seed: int,
) -> NDArray[np.int64]:
    """What a head of the labels `learned` says of the rows `judged`; of one class alone it can say nothing else."""
    if len(np.unique(truth[learned])) < 2:
        return np.full(len(judged), truth[learned[0]])
    head = fit_head(rows[learned], truth[learned], seed=seed)
    return np.asarray(head.classes[head.predict_proba(judged).argmax(axis=1)])
