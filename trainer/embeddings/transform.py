"""The feature space of learners and strategies: raw vectors, centred, weighted by their spectrum, of unit length.

A direction of variance λ gets the weight (λ/λ₁)^0.15. Directions in which images vary most are the most likely to
separate kinds of images, and unlabeled images show this before there are labels. It is worth two to four points at 20
labels and nothing later. Directions of least variance are dropped, which makes every later step several times cheaper.
The transform knows no labels and is fitted on train images only.

A raw vector may consist of several *blocks* of features, such as a network's own features and the layout. Each block
has its own directions, and a share of the squared length of a row. Shares can change without a new look at the raw
vectors: the columns of a block are scaled, and the row is scaled to unit length again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag, eigh

from trainer.threads import one_thread

Matrix = NDArray[np.float32]

WIDTH = 256  # maximum width, of all blocks together; 128 to 1,280 gave the same accuracy
WEIGHT = 0.15  # exponent of the variance ratio
LEAST = 1e-3  # lower bound of the variance ratio
ROUNDING = 1e-5  # relative to the length of a vector
BLOCK = 1_024  # rows rescaled at once
SAMPLE = 10_000  # images are enough to estimate the spectrum


@dataclass(frozen=True)
class Projection:
    """`mean` (D,) and `axes` (D, d), float32: a raw vector x becomes (x − mean) @ axes, scaled to unit length.

    With B ≥ 2 blocks, `widths` (B,) are their numbers of columns in `axes`, and `shares` (B,) their mean shares of the
    squared length of a row, which sum to 1. Both are empty for a single block.
    """

    mean: Matrix
    axes: Matrix
    widths: tuple[int, ...] = ()
    shares: tuple[float, ...] = ()

    def transform(self, raw: Matrix) -> Matrix:
        """Raw vectors (n, D) → unit rows (n, d); a vector equal to the mean stays zero."""
        raw = np.asarray(raw, dtype=np.float32)
        return unit(unit(_beyond_rounding(raw - self.mean, raw)) @ self.axes)

    def reweighed(self, shares: Sequence[float]) -> Projection:
        """The same directions with other shares (B,), all above 0; itself for a single block."""
        if not self.shares:
            return self
        return replace(self, axes=self.axes * self.factors(shares), shares=tuple(shares))

    def factors(self, shares: Sequence[float]) -> Matrix:
        """The factor by which each column (d,) changes when the shares become `shares` (B,)."""
        changes = np.sqrt(np.asarray(shares, dtype=np.float64) / np.asarray(self.shares))
        return np.repeat(changes, self.widths).astype(np.float32)


def fit_projection(
    mean: Matrix, sample: Matrix, blocks: Sequence[int] = (), shares: Sequence[float] = ()
) -> Projection:
    """Fit the projection for a pool with this `mean` (D,), from a random `sample` (n, D) of its raw vectors.

    `blocks` (B,) are the lengths of the blocks of a raw vector, and `shares` (B,) their shares of a row.
    """
    if len(blocks) < 2:
        axes = _axes(mean, sample, WIDTH)
        return plain(mean) if axes is None else Projection(np.asarray(mean, dtype=np.float32), axes)
    parts, start = [], 0
    for length, share in zip(blocks, shares, strict=True):
        columns = slice(start, start + length)
        axes = _axes(mean[columns], sample[:, columns], WIDTH // len(blocks))
        if axes is None:
            return plain(mean)
        rows = (sample[:, columns] - mean[columns]) @ axes
        size = float(np.sqrt(np.einsum("nd,nd->n", rows, rows).mean(dtype=np.float64)))
        parts.append(axes * np.float32(share**0.5 / max(size, 1e-12)))
        start += length
    return Projection(
        np.asarray(mean, dtype=np.float32),
        block_diag(*parts).astype(np.float32),
        tuple(part.shape[1] for part in parts),
        tuple(shares),
    )


def _axes(mean: Matrix, sample: Matrix, most: int) -> Matrix | None:
    """Up to `most` directions (D, d), weighted by the spectrum; None if there are too few images to estimate it."""
    rows = unit(np.asarray(sample, dtype=np.float32) - mean)
    n, dim = rows.shape
    width = min(most, dim)
    if n < width:
        return None
    smaller = rows @ rows.T if n < dim else rows.T @ rows  # both have the same eigenvalues
    with one_thread():  # on busy cores, two threads that wait for each other are slower
        last = [len(smaller) - width, len(smaller) - 1]
        variances, vectors = eigh(smaller.astype(np.float64), subset_by_index=last)  # ascending
    directions = vectors
    if n < dim:
        lengths = np.sqrt(np.maximum(variances, np.finfo(np.float32).eps * max(variances[-1], 1e-12)))
        directions = rows.T @ (vectors / lengths)  # (D, n)
    weights = np.maximum(variances / max(float(variances[-1]), 1e-12), LEAST) ** WEIGHT
    axes = (directions * weights)[:, ::-1]  # descending variance
    return np.ascontiguousarray(axes, dtype=np.float32)


def _beyond_rounding(centred: Matrix, raw: Matrix) -> Matrix:
    """Set rows to zero that are only rounding error: copies of one image would otherwise point in random directions."""
    left, whole = np.einsum("nd,nd->n", centred, centred), np.einsum("nd,nd->n", raw, raw)
    centred[left <= ROUNDING**2 * whole] = 0
    return centred


def plain(mean: Matrix) -> Projection:
    """The projection that only subtracts `mean` (D,), for pools too small to have a spectrum."""
    return Projection(np.asarray(mean, dtype=np.float32), np.eye(len(mean), dtype=np.float32))


def rescaled(rows: Matrix, factors: Matrix) -> Matrix:
    """Unit rows (n, d) with their columns multiplied by `factors` (d,), of unit length again."""
    scaled = np.empty_like(rows)
    for start in range(0, len(rows), BLOCK):  # a block at a time stays in the processor's cache
        scaled[start : start + BLOCK] = unit(rows[start : start + BLOCK] * factors)
    return scaled


def unit(rows: Matrix) -> Matrix:
    """`rows` (n, D), each scaled to unit length; zero rows stay zero."""
    length = np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    scaled: Matrix = np.divide(rows, length, out=np.zeros_like(rows), where=length > 1e-12)
    return scaled
