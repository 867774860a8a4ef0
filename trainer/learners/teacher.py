"""Teachers that see more than the labels, and a head that learns from them.

Images of one class form a region of the pool that a few labels do not describe. A teacher is fitted on the rows of the
labeled images, with their coordinates in the neighbour graph appended (`trainer.embeddings.neighbourhood`). It predicts
a few hundred unlabeled images. These predictions show in which directions images of one class differ, such as the
light or the background, better than the labels could. A second teacher is fitted in a space where such directions count
less (`within_classes`), and an ordinary head learns its predictions. So this head needs neither neighbours nor another
space, and it is saved, exported and used like any other.

With 20 labels, neighbours gain 2 to 7 points of accuracy on clothes, monkeys and hand signs, with 100 labels half a
point to two points (docs/measurements/experiments.md). What counts is the number of labels per class: with 30 or 100
classes, a teacher still helps at several hundred labels. With more labels, the part of the neighbours in the head
shrinks slowly: where it ended at once, digits lost a point of accuracy from one label to the next. The space of the
second teacher gains about as much at 200 labels as at 50. Images that look alike may not belong together, such as
letters in random colours. The labels soon show that neighbours mislead, and then no teacher is fitted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, cholesky, solve, solve_triangular
from scipy.special import expit, logit

from trainer.learners.kernel_head import Head, fit_head, kernel
from trainer.learners.learner import Matrix
from trainer.learners.sigmoid_head import Sigmoids
from trainer.threads import one_thread

FEW_LABELS = 100
"""Labels up to which a head learns only from the teacher that sees neighbours."""
PER_CLASS = 15
"""Labels per class up to which it does so, if these are more."""
FEW_AT_MOST = 500
"""Labels beyond which it never learns from that teacher alone."""
MOST_LABELS = 1_000
"""Labels from which on there is no teacher, so that a fit stays quick. Up to here, all labels are landmarks."""
DOUBT = 10.0
"""No teacher is fitted if neighbours lower the log evidence of the labels by more than this. They lower it by less than
7 on clothes, and by 12 to 33 on letters in random colours after 150 labels.
"""
SHARE = 0.5
"""Share of the coordinates in the squared distance that the teacher uses."""
RIDGE = 0.01
"""Added to the diagonal of the kernel, so that near copies do no harm."""
STEADIER = 1e-3
"""Added to the mean squares of the beliefs, so that a class that hardly occurs explains little."""
FADES_FROM = 500
"""Labels from which on less and less is learned from any teacher, until MOST_LABELS."""
NOTHING = 1e-12
"""Minimum of variances and lengths that are divided by."""


AnyHead = TypeVar("AnyHead", Head, Sigmoids)


def part_of_teacher(labels: int, classes: int) -> float:
    """How much of the function of a head comes from the teacher that sees neighbours, with this many labels and
    classes: 1 with few labels, then about in proportion to 1 / labels, and 0 from MOST_LABELS on.
    """
    few = min(max(FEW_LABELS, PER_CLASS * classes), FEW_AT_MOST)
    if labels >= MOST_LABELS:
        return 0.0
    return min(1.0, (few / labels - few / MOST_LABELS) / (1 - few / MOST_LABELS)) if labels else 1.0


def part_of_all_teachers(labels: int) -> float:
    """How much of the function of a head comes from any of its teachers, with this many labels."""
    return float(np.clip((MOST_LABELS - labels) / (MOST_LABELS - FADES_FROM), 0.0, 1.0))


def mixed(taught_one: AnyHead, plain: AnyHead, part: float) -> AnyHead:
    """The head that says `part` of what the head `taught_one` says, and otherwise what `plain` says, which was fitted
    on the same labels. Logits are mixed, so the result is a head like any other. Sigmoids have logits after division by
    their temperatures, and thresholds, which are mixed as logits too.
    """
    shares, calibration = np.array([part, 1.0 - part]), dict[str, Any]()
    if isinstance(taught_one, Sigmoids) and isinstance(plain, Sigmoids):
        thresholds = expit(shares @ logit(np.array([taught_one.thresholds, plain.thresholds], np.float64)))
        shares = shares / [taught_one.temperature, plain.temperature]
        calibration = {"thresholds": thresholds.astype(np.float32), "temperature": float(1.0 / shares.sum())}
        shares = shares / shares.sum()
    of_taught, of_plain = shares.astype(np.float32)
    weights = of_taught * taught_one.weights
    weights[: len(plain.landmarks)] += of_plain * plain.weights  # landmarks begin with the labeled rows
    return replace(taught_one, weights=weights, bias=of_taught * taught_one.bias + of_plain * plain.bias, **calibration)


def taught_head(
    labeled: Matrix,
    targets: NDArray[np.int64],
    pupils: Matrix,
    coordinates: Matrix,
    *,
    part: float = 1.0,
    seed: int,
) -> Head:
    """`taught` with class ids `targets` (n,)."""
    return taught(labeled, pupils, coordinates, lambda rows: fit_head(rows, targets, seed=seed), part=part)


def taught(
    labeled: Matrix,
    pupils: Matrix,
    coordinates: Matrix,
    fit: Callable[[Matrix], AnyHead],
    *,
    part: float = 1.0,
    among_pupils: NDArray[np.float64] | None = None,
) -> AnyHead:
    """A head that learns teachers' predictions of the rows `labeled` (n, D) and the unlabeled rows `pupils` (m, D).

    `coordinates` (n + m, d) are the diffusion coordinates of both, of unit length. `fit` fits a teacher on rows of the
    labeled images (n, any width). The predictions of a first teacher for all rows give the space of a second one, see
    `within_classes`. `part` of the head's function comes from the second teacher. The rest comes from a third one in
    the same space, which sees no neighbours. `among_pupils` is the kernel (m, m) of the pupils, if it is known. Raises
    ValueError like `fit_head`.
    """
    landmarks, count = np.concatenate([labeled, pupils]), len(labeled)
    with one_thread():
        gram = _with_ridge(labeled, pupils, among_pupils)
        factor = cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)

    def said(rows: Matrix) -> tuple[AnyHead, Matrix]:
        teacher = fit(rows[:count])
        return teacher, kernel(rows, teacher.landmarks) @ teacher.weights + teacher.bias

    def learned(teacher: AnyHead, logits: Matrix) -> AnyHead:
        wanted = logits.astype(np.float64)
        bias = wanted.mean(axis=0)
        with one_thread():
            weights = cho_solve(factor, wanted - bias, overwrite_b=True, check_finite=False)
        return replace(teacher, landmarks=landmarks, weights=weights.astype(np.float32), bias=bias.astype(np.float32))

    first, logits = said(_beside(landmarks, coordinates))
    rows = within_classes(landmarks, first.from_logits(logits))
    head = learned(*said(_beside(rows, coordinates)))
    return head if part == 1.0 else mixed(head, learned(*said(rows)), part)


def within_classes(rows: Matrix, beliefs: Matrix) -> Matrix:
    """`rows` (n, D) in a space in which images of one class are near each other, of unit length.

    `beliefs` (n, K) are the probabilities of their classes. A linear regression on them explains a part of each row.
    The rest is how images of one class differ. Distances become the Mahalanobis distances of this rest, so that
    directions in which such images differ much count less. The covariance of the rest is shrunk by half towards equal
    variances (Ledoit and Wolf 2004 derive the best share from the rows; a fixed one does as well here).
    """
    exact = rows.astype(np.float64)
    known = np.hstack([np.ones((len(rows), 1)), beliefs])
    with one_thread():
        products = known.T @ known
        products[np.diag_indices_from(products)] += STEADIER * len(rows)
        rest = exact - known @ solve(products, known.T @ exact, assume_a="pos", check_finite=False)
        scatter = rest.T @ rest
        scatter[np.diag_indices_from(scatter)] += max(float(np.trace(scatter)) / len(scatter), NOTHING)
        triangle = cholesky(scatter, lower=True, overwrite_a=True, check_finite=False)
        moved = solve_triangular(triangle, exact.T, lower=True, check_finite=False)
    moved /= np.maximum(np.linalg.norm(moved, axis=0), NOTHING)
    return np.ascontiguousarray(moved.T, dtype=np.float32)


def _beside(rows: Matrix, coordinates: Matrix) -> Matrix:
    """Rows (n, D + d) of unit length, of which the coordinates (n, d) have their SHARE."""
    both: Matrix = np.hstack([np.sqrt(1.0 - SHARE) * rows, np.sqrt(SHARE) * coordinates]).astype(np.float32)
    return both


def _with_ridge(labeled: Matrix, pupils: Matrix, among_pupils: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """The kernel (n + m, n + m) of both with the ridge, in Fortran order; only the lower triangle is filled."""
    count, exact = len(labeled), pupils.astype(np.float64)
    rows = labeled.astype(np.float64)
    gram = np.empty((count + len(pupils), count + len(pupils)), order="F")
    gram[:count, :count] = kernel(rows, rows)
    gram[count:, :count] = kernel(exact, rows)
    gram[count:, count:] = kernel(exact, exact) if among_pupils is None else among_pupils
    gram[np.diag_indices_from(gram)] += RIDGE
    return gram
