"""The space that learners and strategies work in: raw vectors centred, weighted by the pool's spectrum, of unit length.

A direction of variance λ weighs (λ/λ₁)^0.15: what varies most over the images most likely tells one kind from
another, which is what unlabeled images can say before labels do. It is worth two to four points at 20 labels and
nothing later. Directions of the least variance are dropped, which makes every later step several times cheaper. It
knows nothing of labels, and is fitted on train images only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from threadpoolctl import threadpool_limits

Matrix = NDArray[np.float32]

WIDTH = 256  # values kept at most; 128 to 1,280 gave the same accuracy
WEIGHT = 0.15  # exponent of a direction's share of the variance
LEAST = 1e-3  # of the largest variance: what varies less weighs as if it varied that much
ROUNDING = 1e-5  # of a vector's length
SAMPLE = 10_000  # images are enough to see how the pool varies


@dataclass(frozen=True)
class Projection:
    """`mean` (D,) and `axes` (D, d), float32: a raw vector x becomes (x − mean) @ axes, scaled to unit length."""

    mean: Matrix
    axes: Matrix

    def transform(self, raw: Matrix) -> Matrix:
        """Raw vectors (n, D) → unit rows (n, d); one at the mean stays zero."""
        raw = np.asarray(raw, dtype=np.float32)
        return unit(unit(_beyond_rounding(raw - self.mean, raw)) @ self.axes)


def fit_projection(mean: Matrix, sample: Matrix) -> Projection:
    """The projection for a pool of this `mean` (D,), of which `sample` (n, D) are raw vectors drawn at random."""
    rows = unit(np.asarray(sample, dtype=np.float32) - mean)
    n, dim = rows.shape
    width = min(WIDTH, dim)
    if n < width:  # too few images to know how the pool varies
        return plain(mean)
    smaller = rows @ rows.T if n < dim else rows.T @ rows  # either has the same variances
    with threadpool_limits(1, user_api="blas"):  # two threads that wait for each other are slower on busy cores
        last = [len(smaller) - width, len(smaller) - 1]
        variances, vectors = eigh(smaller.astype(np.float64), subset_by_index=last)  # ascending
    directions = vectors
    if n < dim:
        lengths = np.sqrt(np.maximum(variances, np.finfo(np.float32).eps * max(variances[-1], 1e-12)))
        directions = rows.T @ (vectors / lengths)  # (D, n)
    weights = np.maximum(variances / max(float(variances[-1]), 1e-12), LEAST) ** WEIGHT
    axes = (directions * weights)[:, ::-1]  # what varies most comes first
    return Projection(np.asarray(mean, dtype=np.float32), np.ascontiguousarray(axes, dtype=np.float32))


def _beyond_rounding(centred: Matrix, raw: Matrix) -> Matrix:
    """`centred`, zero where only rounding is left of it: copies of one image would lie in directions made of noise."""
    left, whole = np.einsum("nd,nd->n", centred, centred), np.einsum("nd,nd->n", raw, raw)
    centred[left <= ROUNDING**2 * whole] = 0
    return centred


def plain(mean: Matrix) -> Projection:
    """The projection that only centres on `mean` (D,), for pools too small to have a spectrum."""
    return Projection(np.asarray(mean, dtype=np.float32), np.eye(len(mean), dtype=np.float32))


def unit(rows: Matrix) -> Matrix:
    """`rows` (n, D) scaled to unit length each; one of zeros stays so."""
    length = np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    scaled: Matrix = np.divide(rows, length, out=np.zeros_like(rows), where=length > 1e-12)
    return scaled
