"""Estimates, for display only, the accuracy that random labels would have achieved. It uses only the test sample.

The test sample is random and labeled, so one part of it can serve as random labels while the rest measures. Heads are
cross-validated within the sample and discarded: nothing learned here is kept, promoted or used for a choice. With five
folds, at most four fifths of the sample can be used for training, so larger numbers of random labels are not estimated.
The metric is the accuracy, or the macro F1 where an image can have several classes. Arrays in, numbers out; it knows
neither the pool nor the model nor the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from shared.wire.evaluation import Interval, RandomEstimate
from trainer.evaluation.metrics import wilson
from trainer.evaluation.multilabel_metrics import aligned, macro_f1
from trainer.learners.kernel_head import Head, fit_head
from trainer.learners.sigmoid_head import UNKNOWN, Sigmoids, learnable
from trainer.threads import one_thread

FOLDS = 5
LEAST_TEST = 60  # labeled test images before anything is estimated
MOST = 200  # maximum number of random labels: 20 fits then take about 0.2 s, and more with a teacher
SIZES = 4  # how many numbers of labels are tried, each half of the next
LEAST_LABELS = 10
GROWN = 1.1  # growth of the test sample after which an estimate is made again

Learn = Callable[[NDArray[np.float32], NDArray[np.int64]], Head]
LearnSeveral = Callable[[NDArray[np.float32], NDArray[np.int8]], Sigmoids]


def random_baseline(
    rows: NDArray[np.float32], truth: NDArray[np.int64], *, seed: int, learn: Learn = fit_head
) -> list[RandomEstimate]:
    """Expected accuracy for several numbers of random labels, fewest first; [] while the sample is too small.

    `rows` (n, D) are the unit rows of the labeled test images, `truth` (n,) their class ids. Each image is judged once,
    by a head that has not seen it. `learn` fits a head on rows and class ids, as the live one was fitted. The interval
    is Wilson's for n images; it ignores the variation between random draws.
    """
    n = len(truth)
    hits: dict[int, int] = {}
    with one_thread():  # tiny products: starting a second thread costs more than it saves
        for size, learned, judged in _drawn(n, seed):
            guessed = _guess(rows, truth, learned, rows[judged], learn)
            hits[size] = hits.get(size, 0) + int((guessed == truth[judged]).sum())
    return [RandomEstimate(labels=size, accuracy=wilson(hits[size], n)) for size in sorted(hits)]


def several_baseline(
    rows: NDArray[np.float32], truth: NDArray[np.int8], *, seed: int, learn: LearnSeveral
) -> list[RandomEstimate]:
    """The same for images that can have several classes: the expected macro F1. `truth` (n, C) is 1, 0, or −1 if
    unknown.
    """
    said: dict[int, NDArray[np.bool_]] = {}
    with one_thread():
        for size, learned, judged in _drawn(len(truth), seed):
            chosen = said.setdefault(size, np.zeros(truth.shape, np.bool_))
            chosen[judged] = _guess_several(rows[learned], truth[learned], rows[judged], truth.shape[1], learn)
    return [RandomEstimate(labels=size, accuracy=_macro_f1(truth, said[size])) for size in sorted(said)]


def several_beside_chosen(
    estimates: list[RandomEstimate],
    chosen: tuple[NDArray[np.float32], NDArray[np.int8]],
    rows: NDArray[np.float32],
    truth: NDArray[np.int8],
    *,
    learn: LearnSeveral,
) -> list[RandomEstimate]:
    """`beside_chosen` for images that can have several classes."""
    labels = max((each.labels for each in estimates if each.labels <= len(chosen[1])), default=0)
    if not labels:
        return [each.model_copy(update={"chosen": None}) for each in estimates]
    with one_thread():
        said = _guess_several(chosen[0][:labels], chosen[1][:labels], rows, truth.shape[1], learn)
    given = _macro_f1(truth, said)
    return [each.model_copy(update={"chosen": given if each.labels == labels else None}) for each in estimates]


def still_holds(earlier: list[RandomEstimate], n: int) -> bool:
    """Whether an earlier estimate is good enough for a test sample of n images."""
    return bool(earlier) and earlier[0].accuracy.n <= n < GROWN * earlier[0].accuracy.n


def _drawn(n: int, seed: int) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """For each number of labels and each fold, yield that number, the images to train on, and those to measure on.
    Yields nothing while n is too small.
    """
    if n < LEAST_TEST:
        return
    folds = np.array_split(np.random.default_rng(seed).permutation(n), FOLDS)
    largest = min(MOST, n - len(folds[0]))
    sizes = [size for size in (largest >> halved for halved in range(SIZES)) if size >= LEAST_LABELS]
    for number, judged in enumerate(folds):
        others = np.concatenate(folds[number + 1 :] + folds[:number])
        for size in sizes:
            yield size, others[:size], judged


def beside_chosen(
    estimates: list[RandomEstimate],
    chosen: tuple[NDArray[np.float32], NDArray[np.int64]],
    rows: NDArray[np.float32],
    truth: NDArray[np.int64],
    *,
    learn: Learn = fit_head,
) -> list[RandomEstimate]:
    """Add to `estimates` the accuracy of equally many chosen labels, at the largest possible number.

    `chosen` are the rows (m, D) and class ids (m,) of labels that the strategy chose, in order; imported labels are not
    among them. Earlier models were measured on smaller test samples. So for a fair comparison, a new head is fitted on
    the first labels, measured on the current sample, and discarded.
    """
    labels = max((each.labels for each in estimates if each.labels <= len(chosen[1])), default=0)
    if not labels:
        return [each.model_copy(update={"chosen": None}) for each in estimates]
    with one_thread():
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
    """Predict class ids for `judged` with a head fitted on `learned`. If there is only one class, predict that one."""
    if len(np.unique(truth[learned])) < 2:
        return np.full(len(judged), truth[learned[0]])
    head = learn(rows[learned], truth[learned])
    return np.asarray(head.classes[head.predict_proba(judged).argmax(axis=1)])


def _guess_several(
    rows: NDArray[np.float32],
    truth: NDArray[np.int8],
    judged: NDArray[np.float32],
    classes: int,
    learn: LearnSeveral,
) -> NDArray[np.bool_]:
    """Predict for `judged` whether each image has each class (n, `classes`), with a head fitted on `truth`. Without any
    training label, predict none.
    """
    said = np.zeros((len(judged), classes), np.bool_)
    if len(learnable(truth)):
        head = learn(rows, truth)
        known = head.classes < classes
        said[:, head.classes[known]] = head.decide(head.predict_proba(judged))[:, known]
    return said


def _macro_f1(truth: NDArray[np.int8], said: NDArray[np.bool_]) -> Interval:
    ids = np.flatnonzero((truth != UNKNOWN).any(axis=0))
    limits, names = np.zeros(len(ids), np.float32), dict.fromkeys(ids.tolist(), "")
    answered = aligned(truth, said[:, ids].astype(np.float32), limits, ids, names, chosen=said[:, ids])
    return macro_f1(answered)
