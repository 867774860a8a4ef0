"""Class probabilities of the whole pool, in a time that does not grow with the model.

Scoring is the pool times the head's landmarks. Up to `WORK` such pairs every image is scored by the head: a pool of
25,000 images always, one of 100,000 until there are 250 labels. Beyond that a linear map, fitted to what the head says
of the subsample, estimates all of them at a hundredth of the cost (the head's kernel is nearly linear), and the head
looks at those that may well be asked: the most uncertain by the estimate, what comes next in the list in force, the
subsample, and what a random list would hold. An estimate only decides where to look: what is listed is always scored
by the head. What that costs in accuracy is in docs/measurements/experiments.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from trainer.learners.kernel_head import Head
from trainer.strategies.geometry import subsample
from trainer.strategies.random_sampling import random
from trainer.strategies.ranking import Pool, Ranking, Rows, Strategy, shortlist
from trainer.strategies.uncertainty import margin_scores

WORK = 25_000_000  # pairs of image and landmark scored in a round: 0.2 s of one core
PASSES = 3  # lists made until all that is listed is scored by the head; one is the rule
LEAST = 1e-6  # a probability counts as at least that much, so that its logarithm is finite
RIDGE = 1e-4  # of the linear map, relative to a row's length
BLOCK = 65_536  # rows estimated at a time

Matrix = NDArray[np.float32]


def ranked(
    pool: Pool, strategy: Strategy, length: int, ask: Callable[[Matrix], Matrix] | None, scored: NDArray[np.bool_]
) -> Ranking:
    """What `strategy` lists of a pool of which the model itself scored the rows `scored` (N,).

    `ask` gives a model's probabilities (n, K) of rows (n, D); None where there is no model.

    What it lists on the strength of an estimate is scored and the list made anew; if that does not settle, only what
    is scored may be listed. Writes to `scored` and to the probabilities.
    """
    if ask is None or pool.probabilities is None:
        return strategy(pool, length)
    for _ in range(PASSES):
        ranking = strategy(pool, length)
        estimated = ranking.rows[~scored[ranking.rows]]
        if not len(estimated):
            return ranking
        pool.probabilities[estimated] = ask(pool.embeddings[estimated])
        scored[estimated] = True
    return strategy(replace(pool, candidates=pool.candidates[scored[pool.candidates]]), length)


def score(pool: Pool, head: Head, length: int, *, work: int = WORK) -> tuple[Pool, NDArray[np.bool_]]:
    """`pool` with probabilities (N, K), and which rows (N,) `head` itself scored; the others are estimates."""
    size, most = len(pool.labels), work // len(head.landmarks)
    if size <= most:
        probabilities = head.predict_proba(pool.embeddings)
        return replace(pool, probabilities=probabilities, classes=head.classes), np.ones(size, dtype=bool)
    sample = subsample(pool)
    known = head.predict_proba(pool.embeddings[sample])
    probabilities = _estimated(pool.embeddings, sample, known)
    near = shortlist(pool, margin_scores(probabilities), max(most - len(sample), 2 * len(pool.upcoming)))
    scored = np.zeros(size, dtype=bool)
    scored[near] = scored[random(pool, length).rows] = True
    scored[sample] = False  # known already
    probabilities[scored] = head.predict_proba(pool.embeddings[scored])
    probabilities[sample] = known
    scored[sample] = True
    return replace(pool, probabilities=probabilities, classes=head.classes), scored


def _estimated(Z: Matrix, sample: Rows, known: Matrix) -> Matrix:
    """Probabilities (N, K) for unit rows `Z` (N, D) by least squares on the logits of `known` (n, K), those of the
    rows `sample`.
    """
    logits = np.log(np.maximum(known, LEAST))
    logits -= logits.mean(axis=1, keepdims=True)
    rows, offset = Z[sample], logits.mean(axis=0)
    gram = rows.T @ rows + RIDGE * len(rows) * np.eye(rows.shape[1], dtype=np.float32)
    weights = np.linalg.solve(gram, rows.T @ (logits - offset))  # (D, K)
    estimated = np.empty((len(Z), known.shape[1]), dtype=np.float32)
    for start in range(0, len(Z), BLOCK):
        estimated[start : start + BLOCK] = softmax(Z[start : start + BLOCK] @ weights + offset, axis=1)
    return estimated
