"""The head: kernel logistic regression on frozen embeddings, fitted on all labels at every batch.

It knows neither images nor files nor services: unit rows and class ids in, class probabilities out. The problem is
convex, so the order of labels does not matter. The kernel is exp(-γ·d²) between rows and *landmarks*: the labeled rows
themselves while there are few, and a sample of them later. It is nearly linear at this width. Against a linear head on
the same labels it gains 1.5 points at 400 labels on photos and 2 on digits, and is better calibrated throughout
(docs/measurements/experiments.md).

All computation is in the span of the landmarks, so that a hundred labels are a hundred-dimensional problem, whatever
the embedding's width. Small problems are solved on one thread: two threads that wait for each other took 16 times as
long on two busy cores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.optimize import minimize

from trainer.threads import one_thread

GAMMA = 0.4  # γ of the kernel exp(-γ·d²); the squared distance of unit rows is at most 4
SCALE = 20.0  # length of the features under a penalty of ½·|W|²; at length 1 that penalty flattens all probabilities
EXACT = 1_000  # maximum number of labels that are all landmarks
LANDMARKS = (500, 1_000)  # range for their number with more labels; more labels get fewer
LABELS_LANDMARKS = 5_000_000  # labels × landmarks, so that a fit takes about a second
ITERATIONS = (100, 20)  # of L-BFGS, exact and approximate; stopping early only regularises a little more
TOLERANCE = 1e-5  # relative gain in loss for another iteration
JITTER = 1e-6  # added to the kernel's diagonal, so that duplicates do no harm
BLOCK = 4_096  # rows scored at once

Matrix = NDArray[np.float32]
T = TypeVar("T", np.float32, np.float64)


@dataclass(frozen=True)
class Head:
    """A fitted head: logits are exp(-γ·d²(row, landmarks)) @ `weights` + `bias`.

    `classes` (K,) int64 ascending class ids, `landmarks` (m, D) unit rows, `weights` (m, K) and `bias` (K,), all
    float32.
    """

    classes: NDArray[np.int64]
    landmarks: Matrix
    weights: Matrix
    bias: Matrix

    def predict_proba(self, Z: Matrix) -> Matrix:
        """Probabilities (n, K) of unit rows `Z` (n, D). Rows sum to 1; columns are in the order of `classes`."""
        return scored(Z, self)

    def from_logits(self, logits: Matrix) -> Matrix:
        """Probabilities (n, K) from logits (n, K)."""
        probabilities: Matrix = _softmax(logits)[0]
        return probabilities

    def to_tensors(self) -> dict[str, NDArray[np.generic]]:
        """All arrays of the head, by name."""
        return {"classes": self.classes, "anchors": self.landmarks, "weights": self.weights, "bias": self.bias}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.generic]]) -> Self:
        """The head from the arrays of `to_tensors`."""
        landmarks, weights, bias = (
            np.asarray(tensors[key], dtype=np.float32) for key in ("anchors", "weights", "bias")
        )
        return cls(np.asarray(tensors["classes"], dtype=np.int64), landmarks, weights, bias)


class KernelHead:
    """The learner of `Head`s."""

    name = "head"
    how_to_use = (
        "Embed with the backbone, subtract mean, scale to unit length; multiply by axes, scale to unit length again; "
        f"logits are exp(-{GAMMA} * squared distance to each of anchors) @ weights + bias."
    )

    def fit(self, rows: Matrix, targets: NDArray[np.int64], *, previous: Head | None = None, seed: int = 0) -> Head:
        """As `fit_head`."""
        return fit_head(rows, targets, previous=previous, seed=seed)

    def predict(self, model: Head, rows: Matrix) -> Matrix:
        """Probabilities (n, K)."""
        return model.predict_proba(rows)

    def save(self, model: Head) -> dict[str, NDArray[np.generic]]:
        """All arrays of the head."""
        return model.to_tensors()

    def load(self, tensors: Mapping[str, NDArray[np.generic]]) -> Head:
        """The head whose arrays `save` returned."""
        return Head.from_tensors(tensors)


def fit_head(
    Z: Matrix,
    y: NDArray[np.int64],
    *,
    weights: NDArray[np.float64] | None = None,
    previous: Head | None = None,
    seed: int = 0,
) -> Head:
    """Fit a head on unit rows `Z` (n, D) with class ids `y` (n,), optionally weighted by `weights` (n,).

    `previous` only saves time: the search starts from its function. `seed` draws the landmarks for more than 1,000
    labels. Raises ValueError if `y` contains fewer than two classes.
    """
    classes, targets = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError("a head needs labels of at least two classes")
    counts = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=np.float64)
    wanted = np.eye(len(classes))[targets] * counts[:, None]

    def errors(logits: Any) -> tuple[float, Any]:
        probabilities, logs = _softmax(logits)
        return -float((wanted * logs).sum()), counts[:, None] * probabilities - wanted

    with one_thread():
        span = Span.of(Z, landmark_rows(len(y), seed, lambda order: np.unique(targets[order], return_index=True)[1]))
        start = span.start(previous if previous is not None and np.array_equal(previous.classes, classes) else None)
        found = span.minimise(errors, np.zeros((len(span.landmarks) + 1, len(classes))) if start is None else start)
        coefficients, bias = span.coefficients(found)
    return Head(classes.astype(np.int64), span.landmarks, coefficients, bias)


def scored(Z: Matrix, head: Fitted) -> Matrix:
    """Probabilities (n, K) of unit rows `Z` (n, D) from the logits of a head, a block of rows at a time."""
    probabilities = np.empty((len(Z), len(head.bias)), dtype=np.float32)
    for start in range(0, len(Z), BLOCK):
        logits = kernel(Z[start : start + BLOCK], head.landmarks) @ head.weights + head.bias
        probabilities[start : start + BLOCK] = head.from_logits(logits)
    return probabilities


def kernel(A: NDArray[T], B: NDArray[T]) -> NDArray[T]:
    """exp(-γ·d²) (a, b) between unit rows `A` (a, D) and `B` (b, D)."""
    products: NDArray[T] = A @ (2.0 * GAMMA * B.T)
    products -= 2.0 * GAMMA
    np.exp(products, out=products)
    return products


def landmark_rows(count: int, seed: int, firsts: Callable[[NDArray[np.int64]], NDArray[np.int64]]) -> NDArray[np.int64]:
    """All of `count` rows, or a random sample of many. `firsts` of a random order are the places that it must keep."""
    if count <= EXACT:
        return np.arange(count)
    order = np.random.default_rng(seed).permutation(count)
    kept = firsts(order)  # such as one of each class
    most = int(np.clip(LABELS_LANDMARKS // count, *LANDMARKS))
    return np.sort(np.concatenate([order[kept], np.delete(order, kept)])[: max(most, len(kept))])


class Fitted(Protocol):
    """A kernel function in the span of its landmarks."""

    @property
    def landmarks(self) -> Matrix:
        """Unit rows (m, D)."""

    @property
    def weights(self) -> Matrix:
        """(m, K)."""

    @property
    def bias(self) -> Matrix:
        """(K,)."""

    def from_logits(self, logits: Matrix, /) -> Matrix:
        """Probabilities (n, K) from logits (n, K)."""


@dataclass(frozen=True)
class Span:
    """The functions that a fit chooses from: sums of kernels at the landmarks.

    `features` (n, m) are the coordinates of n rows in the landmarks' span, so that ½·|W|² is the length of a function.
    `triangle` is L (m, m) with L·Lᵀ = the kernel among the landmarks; k(row, landmarks)·L⁻ᵀ are the coordinates.
    """

    landmarks: Matrix
    triangle: NDArray[np.float64]
    features: Matrix
    exact: bool

    @classmethod
    def of(cls, Z: Matrix, rows: NDArray[np.int64]) -> Self:
        """The span of the rows `rows` (m,) of `Z` (n, D)."""
        landmarks = Z[rows]
        triangle = _triangle(landmarks)
        exact = len(landmarks) == len(Z)
        coordinates = triangle if exact else kernel(Z, landmarks) @ _inverse(triangle).T  # (n, m)
        return cls(landmarks, triangle, np.ascontiguousarray(SCALE * coordinates, dtype=np.float32), exact)

    def start(self, previous: Fitted | None) -> NDArray[np.float64] | None:
        """Parameters (m+1, K) of the function in the span that is nearest to `previous`."""
        if previous is None:
            return None
        logits = (kernel(self.landmarks, previous.landmarks) @ previous.weights).astype(np.float64)
        return np.vstack([solve_triangular(self.triangle, logits, lower=True) / SCALE, previous.bias])

    def minimise(
        self,
        errors: Callable[[Any], tuple[float, Any]],
        start: NDArray[np.float64],
        *,
        penalty: float = 1.0,
        iterations: int | None = None,
        rows: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        """Minimise the errors + ½·`penalty`·|W|² over W (m, K) and bias (K,), stacked as (m+1, K).

        `errors` of logits (n, K) are their loss and its gradient (n, K). The bias is not penalised. `rows` are those of
        the features that count, by default all. `iterations` limits a search among a sample of landmarks.
        """
        features = self.features if rows is None else self.features[rows]

        def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            parameters = flat.reshape(start.shape)
            inner = parameters[:-1]
            error, residual = errors(features @ inner.astype(np.float32) + parameters[-1])
            loss = float(0.5 * penalty * (inner * inner).sum() + error)
            gradient = features.T @ residual.astype(np.float32) + penalty * inner
            return loss, np.vstack([gradient, residual.sum(axis=0)]).ravel()

        most = ITERATIONS[0] if self.exact else iterations or ITERATIONS[1]
        options = {"maxiter": most, "ftol": TOLERANCE}
        found = minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options=options)
        return np.asarray(found.x).reshape(start.shape)

    def coefficients(self, found: NDArray[np.float64]) -> tuple[Matrix, Matrix]:
        """The weights (m, K) of the kernels and the bias (K,), from the parameters `found` (m+1, K)."""
        weights = SCALE * solve_triangular(self.triangle, found[:-1], lower=True, trans="T")
        return weights.astype(np.float32), found[-1].astype(np.float32)


def _triangle(landmarks: Matrix) -> NDArray[np.float64]:
    """In float64, because near copies cause eigenvalues below the precision of float32."""
    gram = kernel(landmarks.astype(np.float64), landmarks.astype(np.float64))
    gram[np.diag_indices_from(gram)] = 1.0 + JITTER
    return np.asarray(np.linalg.cholesky(gram), dtype=np.float64)


def _inverse(triangle: NDArray[np.float64]) -> Matrix:
    identity = np.eye(len(triangle))
    return np.asarray(solve_triangular(triangle, identity, lower=True), dtype=np.float32)


def _softmax(logits: Any) -> tuple[Any, Any]:
    """Row-wise probabilities and their logarithms, without overflow."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    totals = exponentials.sum(axis=1, keepdims=True)
    return exponentials / totals, shifted - np.log(totals)
