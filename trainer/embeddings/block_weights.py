"""How much each block of features counts: learned from the labels so far, and from the pool before there are any.

No fixed share suits every project. Where things stand in an image (the layout) is worth eight points on photos of
single clothes and costs as much on photos of animals that can be anywhere (docs/measurements/experiments.md). The
shares are learned from the evidence of a Gaussian process: the probability of the labels under the kernel with these
shares, which has a closed form (Rasmussen & Williams 2006, chapter 5). This needs no held-out labels. The evidence is
nearly flat at ten labels, and clear from twenty to fifty on. Before that, the pool decides: aligned photos, such as
hands before a wall, have much of their layout in common, so the differences in it are informative.

Strategies, learners and pages see only the resulting rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dtrtrs

from trainer.embeddings.transform import Projection, unit
from trainer.learners.kernel_head import GAMMA
from trainer.threads import one_thread

Matrix = NDArray[np.float32]
Floats = NDArray[np.float64]

GRID = np.array([0.01, *np.arange(1, 7) / 10])
"""Shares that a further block can have. The smallest is not 0, which could not be scaled up again. Beyond 0.6, the
labels of actively chosen images make a block look better than it is."""
STEADY = 0.05
"""Smaller changes are ignored, because each change creates a new geometry."""
MOST_LABELS = 256
"""Maximum number of labels in the evidence, whose cost grows with their cube. Of more, a random sample is enough."""
SIGNALS = 10.0 ** np.arange(-0.5, 2.5, 0.5)
"""Ratios of signal to noise that are tried."""
TEMPER = 2.0
"""Divisor of the log evidence, because actively chosen images are no random sample."""
SPREAD = 0.15
"""Standard deviation of the prior of a share around its starting value."""
ALIGNED, STARTING = (0.35, 0.65), (0.2, 0.4)
"""Alignment of the photos, and the share to start with: linear in between, constant outside."""


def starting_shares(sample: Matrix, blocks: Sequence[int]) -> tuple[float, ...]:
    """Shares (B,) before there are labels, from raw vectors (n, D) with these `blocks`; () for a single block.

    A further block starts with 0.2, or up to 0.4 if the images agree in it. Agreement is the squared length of the mean
    of its unit vectors: 1 for copies and 0 for unrelated images.
    """
    if len(blocks) < 2:
        return ()
    ends = np.cumsum(blocks)[:-1]
    further = [
        float(np.interp((unit(part).mean(axis=0, dtype=np.float64) ** 2).sum(), ALIGNED, STARTING))
        for part in np.split(sample, ends, axis=1)[1:]
    ]
    scale = min(1.0, 0.6 / sum(further))
    return _with_first([scale * share for share in further])


def learned_shares(rows: Matrix, targets: Floats, projection: Projection, start: Sequence[float]) -> tuple[float, ...]:
    """Shares (B,) learned from the labels, with a prior around the starting shares.

    `rows` (n, d) are the labeled rows of `projection`, and `targets` (n, C) their labels as numbers, such as one-hot
    classes. Returns the present shares if these hardly change.
    """
    now = projection.shares
    if len(now) < 2 or len(rows) < 3:
        return now
    chosen = _sampled(len(rows))
    rows, (centred, degrees) = rows[chosen], _centred(targets[chosen])
    parts = np.split(rows.astype(np.float64), np.cumsum(projection.widths)[:-1], axis=1)
    grams = [part @ part.T / share for part, share in zip(parts, now, strict=True)]
    further = list(now[1:])
    with one_thread():
        for block in [*range(len(further))] * min(len(further), 2):  # each given the others, in two passes
            others = sum(further) - further[block]
            tried = GRID[GRID + others <= max(GRID[-1], GRID[0] + others)]
            scores = []
            for share in tried:
                shares = _with_first([*further[:block], float(share), *further[block + 1 :]])
                gram = sum(each * of for each, of in zip(shares, grams, strict=True))
                scores.append(_log_evidence(np.asarray(gram), centred, degrees))
            belief = np.array(scores) / TEMPER - (tried - start[1 + block]) ** 2 / (2 * SPREAD**2)
            weights = np.exp(belief - belief.max())
            further[block] = float((weights * tried).sum() / weights.sum())
    shares = _with_first(further)
    return shares if max(abs(a - b) for a, b in zip(shares, now, strict=True)) >= STEADY else now


def evidence_for(coordinates: Matrix, share: float, rows: Matrix, targets: Floats) -> float:
    """How much the log evidence of the labels rises if the coordinates (n, d) of the labeled images are appended, with
    this share, to their `rows` (n, D). Both have unit length. `targets` (n, C) are as in `learned_shares`.
    """
    chosen = _sampled(len(rows))
    centred, degrees = _centred(targets[chosen])
    parts = (each[chosen].astype(np.float64) for each in (rows, coordinates))
    with one_thread():
        alone, near = (part @ part.T for part in parts)
        beside = _log_evidence((1.0 - share) * alone + share * near, centred, degrees)
        return beside - _log_evidence(alone, centred, degrees)


def _with_first(further: Sequence[float]) -> tuple[float, ...]:
    return (1.0 - sum(further), *further)


def _sampled(labels: int) -> NDArray[np.int64]:
    """Ascending indices of up to MOST_LABELS of this many labels, drawn at random."""
    return np.sort(np.random.default_rng(0).permutation(labels)[:MOST_LABELS])


def _centred(targets: Floats) -> tuple[Floats, int]:
    """Targets (n, C) less their mean, and their rank."""
    centred = targets - targets.mean(axis=0)
    return centred, max(int(np.linalg.matrix_rank(centred)), 1)


def _log_evidence(gram: Floats, centred: Floats, degrees: int) -> float:
    """Log evidence of centred targets (n, C) of rank `degrees`, up to a constant.

    The kernel is the head's, on rows with this Gram matrix (n, n), scaled to unit length. The best of SIGNALS counts,
    with the noise that fits it best. Each takes a Cholesky factor; all six together take a fifth of the eigenvalues,
    which would serve all at once.
    """
    lengths = np.sqrt(np.maximum(np.diagonal(gram), 1e-12))
    cosines = gram / lengths / lengths[:, None]
    kernel = np.exp(2.0 * GAMMA * (np.minimum(cosines, 1.0) - 1.0))
    means = kernel.mean(axis=0)
    kernel = kernel - means - means[:, None] + means.mean()
    return max(_at_signal(ratio, kernel, centred, degrees) for ratio in SIGNALS.tolist())


def _at_signal(ratio: float, kernel: Floats, centred: Floats, degrees: int) -> float:
    """The log evidence under the covariance `ratio` · `kernel` + I, times the noise that fits it best."""
    covariance, n = ratio * kernel, len(kernel)
    covariance[np.diag_indices(n)] += 1.0
    triangle, failed = dpotrf(covariance.T, lower=1, overwrite_a=1)  # of Fortran order, as LAPACK has it
    if failed:
        raise np.linalg.LinAlgError("The kernel of the labels is not positive.")
    explained, _ = dtrtrs(triangle, centred, lower=1)
    noise = max(float((explained**2).sum()) / (n * degrees), 1e-12)
    return float(-degrees * np.log(np.diagonal(triangle)).sum() - 0.5 * n * degrees * np.log(noise))
