"""The feature space of learners and strategies: raw vectors, centred, weighted by their spectrum, of unit length.

A direction of variance λ gets the weight (λ/λ₁)^0.15. Directions in which images vary most are the most likely to
separate kinds of images, and unlabeled images show this before there are labels. It is worth two to four points at 20
labels and nothing later. Directions of least variance are dropped, which makes every later step several times cheaper.
The transform knows no labels and is fitted on train images only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from threadpoolctl import threadpool_limits

Matrix = NDArray[np.float32]

WIDTH = 256  # maximum width; 128 to 1,280 gave the same accuracy
WEIGHT = 0.15  # exponent of the variance ratio
LEAST = 1e-3  # lower bound of the variance ratio
ROUNDING = 1e-5  # relative to the length of a vector
SAMPLE = 10_000  # images are enough to estimate the spectrum


@dataclass(frozen=True)
class Projection:
    """`mean` (D,) and `axes` (D, d), float32: a raw vector x becomes (x − mean) @ axes, scaled to unit length."""

    mean: Matrix
    axes: Matrix

    def transform(self, raw: Matrix) -> Matrix:
        """Raw vectors (n, D) → unit rows (n, d); a vector equal to the mean stays zero."""
        raw = np.asarray(raw, dtype=np.float32)
        return unit(unit(_beyond_rounding(raw - self.mean, raw)) @ self.axes)


def fit_projection(mean: Matrix, sample: Matrix) -> Projection:
    """Fit the projection for a pool with this `mean` (D,), from a random `sample` (n, D) of its raw vectors."""
    rows = unit(np.asarray(sample, dtype=np.float32) - mean)
    n, dim = rows.shape
    width = min(WIDTH, dim)
    if n < width:  # too few images to estimate the spectrum
        return plain(mean)
    smaller = rows @ rows.T if n < dim else rows.T @ rows  # both have the same eigenvalues
    with threadpool_limits(1, user_api="blas"):  # on busy cores, two threads that wait for each other are slower
        last = [len(smaller) - width, len(smaller) - 1]
        variances, vectors = eigh(smaller.astype(np.float64), subset_by_index=last)  # ascending
    directions = vectors
    if n < dim:
        lengths = np.sqrt(np.maximum(variances, np.finfo(np.float32).eps * max(variances[-1], 1e-12)))
        directions = rows.T @ (vectors / lengths)  # (D, n)
    weights = np.maximum(variances / max(float(variances[-1]), 1e-12), LEAST) ** WEIGHT
    axes = (directions * weights)[:, ::-1]  # descending variance
    return Projection(np.asarray(mean, dtype=np.float32), np.ascontiguousarray(axes, dtype=np.float32))


def _beyond_rounding(centred: Matrix, raw: Matrix) -> Matrix:
    """Set rows to zero that are only rounding error: copies of one image would otherwise point in random directions."""
    left, whole = np.einsum("nd,nd->n", centred, centred), np.einsum("nd,nd->n", raw, raw)
    centred[left <= ROUNDING**2 * whole] = 0
    return centred


def plain(mean: Matrix) -> Projection:
    """The projection that only subtracts `mean` (D,), for pools too small to have a spectrum."""
    return Projection(np.asarray(mean, dtype=np.float32), np.eye(len(mean), dtype=np.float32))


def unit(rows: Matrix) -> Matrix:
    """`rows` (n, D), each scaled to unit length; zero rows stay zero."""
    length = np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    scaled: Matrix = np.divide(rows, length, out=np.zeros_like(rows), where=length > 1e-12)
    return scaled
