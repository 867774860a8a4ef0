"""Estimates how many labels are wrong, with an interval, and how likely each one is wrong: arrays in, numbers out.

A label that a model contradicts is an error or a hard image. Both explanations are weighed for all labels together. The
model's out-of-fold probabilities q, sharpened or flattened by an exponent, describe the image. A share ε of the labels
is wrong: any other class, or one that the model confuses with the true one:

    P(label y) = (1 − ε)·q_y + ε·Σ_z q_z·T(z → y)

Hard images explain as many contradictions as q predicts; only errors explain more. ε, the exponent and the kind of
mistake T form a grid, and each point is weighted by how well it explains the labels. Confirmed labels are used as
evidence, as kept or as fixed. The interval contains 95 % of the error count, and covers two models that trust
suspicious labels differently. Its upper end is raised by a share of all errors found or counted: a model learns
systematic mistakes, which then look like hard images. Its lower end is reduced by a share of the errors found: the
clear ones are found first, and what remains in doubt is a hard image more often than the share of all errors suggests.
`benchmarks.error_counts` measures how often the interval contains the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

ENOUGH = 100  # unconfirmed labels needed before errors are counted
ENOUGH_EACH = 5  # per class, on average
QUANTILES = (0.025, 0.5, 0.975)
SHARES = np.concatenate([[0.0], np.geomspace(0.001, 0.6, 30)])  # ε
NONE_WRONG = 3.0  # prior weight of ε = 0; every other share has weight 1
EXPONENTS = np.geomspace(0.4, 6.0, 14)
BELIEVED = np.exp(-0.5 * (np.minimum(np.log(EXPONENTS), 0.0) / 0.35) ** 2)  # prior of the exponents: hardly below 0.5
SHARPER = (1, 3)  # exponents of the model's confusion matrix, in addition to a uniform matrix
WORTH = 1 / 1.5  # weight of a label as evidence: similar images are hard, or wrong, together
SAMPLE = 4_000  # labels that weight the grid
LEAST = 1e-6  # lower limit of a probability
FOUND = 0.1  # maximum share of the found errors by which hard images are taken for more; measured on clothing
LEARNED = 0.15  # maximum share of errors that the model has learned; measured on digits and clothing
STEPS = 500  # resolution of the error count
KEPT = 1e-4  # points below this share of the largest weight are dropped

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Errors:
    """Estimated label errors.

    `wrong` (n,) is the probability that each label is an error, as if it were unconfirmed. `count` unconfirmed labels
    are errors, `low` to `high` with 95 % confidence. `enough` says whether there are enough labels to report this.
    """

    wrong: Numbers
    count: int
    low: int
    high: int
    enough: bool


def count_errors(
    models: Sequence[NDArray[np.float32]],
    labels: NDArray[np.int64],
    confirmed: NDArray[np.bool_],
    before: NDArray[np.int64],
    *,
    seed: int = 0,
) -> Errors:
    """Estimate the errors in the labels `labels` (n,), class positions, from out-of-fold `models` (n, K).

    For labels `confirmed` (n,) by a person, `before` (n,) is the label before that, −1 where unknown.
    """
    open_ = int(np.count_nonzero(~confirmed))
    found = [_judged(np.asarray(each), labels, confirmed, before, seed) for each in models]
    wrong = np.mean([each for each, _ in found], axis=0)
    spans = [each for _, each in found]
    low, high = min(span[0] for span in spans), max(span[2] for span in spans)
    count = round(float(np.mean([span[1] for span in spans])))
    fixed = int(np.count_nonzero(confirmed & (before >= 0) & (before != labels)))
    low = max(0, low - int(np.ceil(FOUND * fixed)))
    high += int(np.ceil(LEARNED * (count + fixed)))
    enough = open_ >= max(ENOUGH, ENOUGH_EACH * models[0].shape[1])
    return Errors(wrong, min(count, open_), min(low, open_), min(high, open_), enough=enough)


def _judged(
    said: NDArray[np.float32],
    labels: NDArray[np.int64],
    confirmed: NDArray[np.bool_],
    before: NDArray[np.int64],
    seed: int,
) -> tuple[Numbers, list[int]]:
    """The probability that each label is wrong (n,), and quantiles of the number of unconfirmed errors (see
    `QUANTILES`).
    """
    n = len(labels)
    rows = np.arange(n)
    if n > SAMPLE:
        rows = np.sort(np.random.default_rng(seed).choice(n, SAMPLE, replace=False))
    kinds = _mistakes(said[rows])
    weighed = np.array(
        [
            [_likelihood(sharpened, labels[rows], confirmed[rows], before[rows], kind) for kind in kinds]
            for sharpened in (_sharpened(said[rows], power) for power in EXPONENTS)
        ]
    )  # (exponents, kinds, shares)
    weights = np.exp(WORTH * (weighed - weighed.max()))
    weights *= BELIEVED[:, None, None]
    weights[..., 0] *= NONE_WRONG
    weights[weights < KEPT * weights.max()] = 0.0
    weights /= weights.sum()
    wrong, means, spreads, counts = np.zeros(n), [], [], []
    for place, power in enumerate(EXPONENTS):
        for number, kind in enumerate(kinds):
            kept = weights[place, number] > 0
            if not kept.any():
                continue
            share, weight = SHARES[kept], weights[place, number, kept]
            mean, spread = np.zeros(len(share)), np.zeros(len(share))
            for start in range(0, n, SAMPLE):
                block = slice(start, start + SAMPLE)
                right, mistaken = _explained(_sharpened(said[block], power), labels[block], kind)
                error = share * mistaken[:, None]
                error /= np.maximum((1 - share) * right[:, None] + error, LEAST * LEAST)
                wrong[block] += error @ weight
                error = error[~confirmed[block]]
                mean += error.sum(axis=0)
                spread += (error * (1 - error)).sum(axis=0)
            means.append(mean)
            spreads.append(spread)
            counts.append(weight)
    return wrong, _quantiles(np.concatenate(means), np.concatenate(spreads), np.concatenate(counts))


def _mistakes(said: NDArray[np.float32]) -> list[Numbers]:
    """T (K, K), true class × wrong class: uniform, and the model's confusions with growing sharpness."""
    size = said.shape[1]
    together = _off_diagonal((said.T @ said).astype(np.float64))
    return [_off_diagonal(np.ones((size, size))), *(_off_diagonal(together**power) for power in SHARPER)]


def _off_diagonal(table: Numbers) -> Numbers:
    table = table.copy()
    np.fill_diagonal(table, 0.0)
    return np.asarray(table / np.maximum(table.sum(axis=1, keepdims=True), 1e-12))


def _sharpened(said: NDArray[np.float32], power: float) -> Numbers:
    """The predictions (n, K) to that power, as probabilities."""
    logs = power * np.log(np.maximum(said, LEAST, dtype=np.float64))
    q = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(q / q.sum(axis=1, keepdims=True))


def _explained(q: Numbers, labels: NDArray[np.int64], kind: Numbers) -> tuple[Numbers, Numbers]:
    """The likelihood of each label (n,) by predictions `q` if it is right, and if it is a mistake."""
    return q[np.arange(len(labels)), labels], np.einsum("nk,nk->n", q, kind.T[labels])


def _likelihood(
    q: Numbers,
    labels: NDArray[np.int64],
    confirmed: NDArray[np.bool_],
    before: NDArray[np.int64],
    kind: Numbers,
) -> Numbers:
    """Log likelihood of the labels for each share of errors."""
    right, mistaken = _explained(q, labels, kind)
    open_ = ~confirmed
    mixed = (1 - SHARES) * right[open_, None] + SHARES * mistaken[open_, None]
    log = np.log(np.maximum(mixed, LEAST * LEAST)).sum(axis=0)
    log += np.log(np.maximum(right[confirmed], LEAST)).sum()  # a confirmed label is what the image shows …
    kept = int(np.count_nonzero(confirmed & (before == labels)))
    fixed = confirmed & (before >= 0) & (before != labels)
    log += kept * np.log1p(-SHARES)  # … and tells whether the label before was an error
    made = np.maximum(kind[labels[fixed], before[fixed]], LEAST)
    log += (np.log(made) + np.log(np.maximum(SHARES, LEAST * LEAST))[:, None]).sum(axis=1)
    return np.asarray(log)


def _quantiles(means: Numbers, spreads: Numbers, weights: Numbers) -> list[int]:
    """Quantiles of the number of errors: a binomial with the same mean and variance at each point of the grid."""
    share = np.clip(1 - spreads / np.maximum(means, 1e-9), 1e-3, 1 - 1e-9)
    tries = np.maximum(np.ceil(means / share), 1.0)
    most = int(np.ceil((means + 6 * np.sqrt(spreads)).max())) + 5
    numbers = np.unique(np.linspace(0, most, STEPS).astype(np.int64))
    cumulative = weights @ binom.cdf(numbers[None], tries[:, None], (means / tries)[:, None])
    places = np.searchsorted(cumulative, QUANTILES).clip(max=len(numbers) - 1)
    return [int(each) for each in numbers[places]]
