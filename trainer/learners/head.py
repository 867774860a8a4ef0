"""The head: a softmax regression over frozen embeddings, fitted anew on all labels at every batch.

It knows nothing of images, files or services: unit-length rows and class ids in, class probabilities out. It is
convex, so that a refit has no memory of the order in which labels came. Rows are scaled to length 20 before an L2
penalty of weight one (on unit length that penalty flattens everything: 45 % against 79 % at 50 labels); the scale is
folded into the weights.

The weights of a penalised linear model lie in the span of its rows, so fewer labels than dimensions are fitted in as
many coordinates as there are labels: at 100 labels of 1,280 values that is a twelfth of the work and the same
optimum.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax
from threadpoolctl import ThreadpoolController

SCALE = 20.0  # length to which rows are scaled; the penalty on the weights is ½·|W|²
MAX_ITERATIONS = 100  # of L-BFGS; a fit that is cut short is a little more regularised, no worse


@dataclass(frozen=True)
class Head:
    """A linear classifier. `classes` (K,) int64 ascending class ids, `weights` (D, K) and `bias` (K,) float32."""

    classes: NDArray[np.int64]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def predict_proba(self, Z: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (n, K) of unit-length rows `Z` (n, D); rows sum to 1, columns are in the order of `classes`."""
        return np.asarray(softmax(Z @ self.weights + self.bias, axis=1), dtype=np.float32)

    def to_tensors(self) -> dict[str, NDArray[np.generic]]:
        """The arrays that are all of it."""
        return {"classes": self.classes, "weights": self.weights, "bias": self.bias}

    @classmethod
    def from_tensors(cls, tensors: dict[str, NDArray[np.generic]]) -> Self:
        """The head that `to_tensors` was called on."""
        return cls(
            classes=np.asarray(tensors["classes"], dtype=np.int64),
            weights=np.asarray(tensors["weights"], dtype=np.float32),
            bias=np.asarray(tensors["bias"], dtype=np.float32),
        )


def fit_head(Z: NDArray[np.float32], y: NDArray[np.int64], *, previous: Head | None = None, seed: int = 0) -> Head:
    """Fit a head on unit-length rows `Z` (n, D) with class ids `y` (n,); `previous` only saves time.

    Raises ValueError when `y` names fewer than two classes.
    """
    classes, targets = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError("a head needs labels of at least two classes")
    with _threads().limit(limits=1, user_api="blas"):
        basis = _span(Z)
        rows = SCALE * (Z if basis is None else Z @ basis)  # (n, r)
        weights, bias = _minimise(rows, np.eye(len(classes))[targets], np.zeros((rows.shape[1] + 1, len(classes))))
        weights = SCALE * weights
        full = weights if basis is None else basis @ weights
    return Head(classes.astype(np.int64), full.astype(np.float32), bias.astype(np.float32))


def _minimise(
    rows: NDArray[np.float32], onehot: NDArray[np.float64], start: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Minimise cross-entropy + ½·|W|² from `start` (r+1, K), the bias last; returns W (r, K) and bias (K,)."""
    rows64 = np.ascontiguousarray(rows, dtype=np.float64)
    shape = start.shape

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        parameters = flat.reshape(shape)
        weights, bias = parameters[:-1], parameters[-1]
        logits = rows64 @ weights + bias
        log_probabilities = logits - logsumexp(logits, axis=1, keepdims=True)
        loss = -float((onehot * log_probabilities).sum()) + 0.5 * float((weights * weights).sum())
        residual = np.exp(log_probabilities) - onehot
        gradient = np.empty(shape)
        gradient[:-1] = rows64.T @ residual + weights
        gradient[-1] = residual.sum(axis=0)
        return loss, gradient.ravel()

    found = minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": MAX_ITERATIONS})
    parameters = found.x.reshape(shape)
    return parameters[:-1], parameters[-1]


def _span(Z: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """An orthonormal basis (D, r) of the rows' span, or None when there are as many rows as dimensions."""
    n, dim = Z.shape
    if n >= dim:
        return None
    values, vectors = np.linalg.eigh((Z @ Z.T).astype(np.float64))  # (n,), (n, n)
    kept = values > 1e-8 * max(values[-1], 1e-12)
    basis: NDArray[np.float32] = (Z.T @ (vectors[:, kept] / np.sqrt(values[kept]))).astype(np.float32)
    return basis


@cache
def _threads() -> ThreadpoolController:
    """Finding the thread pools takes milliseconds, so it is done once."""
    return ThreadpoolController()
