"""Herding: ask about the images that best represent the part of the pool that is not covered yet.

Bae et al. 2024, "MaxHerding", and 2025, "Uncertainty herding" (ICLR). The weight of an image is the uncertainty of the
head (equal for all images until there is a head). Its cover is its similarity to the nearest labeled image,
exp(-d²/σ²). The greedy step asks about the image that raises the weighted cover of the pool most. So every prefix of
the list is diverse, and there is no switch from exploration to exploitation to tune.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.strategies.geometry import (
    FARTHEST,
    Matrix,
    nearest_covered,
    scored,
    similarities,
    spacing,
    squared_distances,
    subsample,
)
from trainer.strategies.ranking import (
    NOTHING,
    Floats,
    Pool,
    Ranking,
    Rows,
    completed,
    shortlist,
    take,
    upcoming_in,
)
from trainer.strategies.uncertainty import margin_scores, torn_between, unsure_scores

CANDIDATES = 2_000  # considered per list when the pool is larger than its subsample
RANDOM = "drawn at random"  # the reason for images that only fill a list


def uncertainty_herding(pool: Pool, count: int) -> Ranking:
    """Cover the images that the head is unsure about; until there is a head, cover the pool (Bae et al. 2025).

    The weight of an image is 1 − (p₁ − p₂): how close its two likeliest classes are. Roots of it, which give more
    weight to fairly certain images, are worse on four data sets of five (docs/measurements/experiments.md). Where an
    image can have several classes, it is the mean over the classes, weighted by rarity, see `ranking.Rarity`.
    """
    if pool.probabilities is None:
        return maxherding(pool, count)
    return herd(pool, count, scored(pool, lambda p: unsure_scores(pool, p)))


def maxherding(pool: Pool, count: int) -> Ranking:
    """Cover the pool evenly, whatever the head predicts (Bae et al. 2024)."""
    return herd(pool, count, np.ones(len(pool.labels)))


def greedy_cover(
    similarity: Matrix,
    weight: Matrix,
    cover: Matrix,
    count: int,
    tie_breakers: Floats,
    upcoming: Sequence[int] = (),
    fading: Callable[[int], Matrix] | None = None,
    among: Rows | None = None,
) -> tuple[Rows, Floats]:
    """Pick rows of `similarity` (M, T) one by one, each adding most to Σ weight·max(cover, similarity of the picked).

    `weight` and `cover` are (T,). The result is exact: a gain only falls as more is picked (submodularity), so an old
    gain is an upper bound and most rows need no second look (Minoux 1978). `tie_breakers` are (M,). `upcoming` indices
    keep their places while they gain at least 0.8 of the best. After each pick, `fading` may return lower weights. Only
    the indices `among` are picked, by default any. Returns indices (≤ count,) and gains.
    """
    total = len(similarity)
    may = np.arange(total) if among is None else among
    bound = np.full(total, -np.inf)
    for start in range(0, len(may), 64):  # so many rows stay in the processor's cache
        some = may[start : start + 64]
        bound[some] = np.maximum(similarity[some] - cover, 0.0) @ weight
    cover = cover.copy()
    picks = np.empty(min(count, len(may)), dtype=np.int64)
    gains = np.empty(len(picks))
    waiting = list(upcoming)
    for step in range(len(picks)):
        fresh = np.zeros(total, dtype=bool)
        bound[waiting] = np.maximum(similarity[waiting] - cover, 0.0) @ weight
        fresh[waiting] = True
        best = bound[waiting].max(initial=-np.inf)
        while True:
            stale = np.where(fresh, -np.inf, bound)
            tops = np.argpartition(-stale, min(16, total - 1))[:16]
            tops = tops[(stale[tops] >= best) & np.isfinite(stale[tops])]
            if not len(tops):
                break
            bound[tops] = np.maximum(similarity[tops] - cover, 0.0) @ weight
            fresh[tops] = True
            best = max(best, float(bound[tops].max()))
        ties = np.flatnonzero(fresh & (bound >= best))
        pick = take(bound, int(ties[np.argmin(tie_breakers[ties])]), waiting)
        picks[step], gains[step] = pick, bound[pick]
        np.maximum(cover, similarity[pick], out=cover)
        if fading is not None:
            weight = fading(pick)
        bound[pick] = -np.inf
    return picks, gains


def herd(pool: Pool, count: int, weights: Floats, fading: Callable[[int], Floats] | None = None) -> Ranking:
    """Cover the pool with `weights` (N,). After each pick, `fading` of its row gives lower weights (T,)."""
    if not len(pool.candidates) or count <= 0:
        return NOTHING
    targets, width = subsample(pool), max(spacing(pool), 1e-3)
    whole = len(targets) == len(pool.labels)
    rows = np.sort(pool.candidates) if whole else shortlist(pool, weights, max(CANDIDATES, count))
    known = similarities(pool, width)
    places = known.of(pool.embeddings, rows)
    nearest = nearest_covered(pool)
    cover = np.where(nearest < FARTHEST, np.exp(-nearest / width**2), 0.0).astype(np.float32)
    unlabeled = pool.labels[targets] == -1
    weight = np.where(unlabeled, weights[targets], 0.0).astype(np.float32)

    def faded(pick: int) -> Matrix:
        if fading is None:
            return weight
        return np.where(unlabeled, fading(int(known.rows[pick])), 0.0).astype(np.float32)

    order, gains = greedy_cover(
        known.values,
        weight,
        cover,
        count,
        pool.tie_breakers()[known.rows],
        places[upcoming_in(pool, rows)].tolist(),
        faded,
        places,
    )
    picked = known.rows[order]
    return completed(pool, Ranking(picked, gains, _reasons(pool, picked, width)), count, RANDOM)


def _in_doubt(pool: Pool, probabilities: Matrix) -> NDArray[np.bool_]:
    if pool.rarity is not None:
        return pool.rarity.doubted(probabilities)[1]
    return np.asarray(margin_scores(probabilities) > 0.5)


def _reasons(pool: Pool, rows: Rows, width: float) -> list[str]:
    if pool.probabilities is None:
        return ["typical of many images without a label"] * len(rows)
    torn = torn_between(pool, rows)
    unsure = _in_doubt(pool, pool.probabilities[rows])
    labeled = pool.embeddings[pool.labeled]
    far = squared_distances(pool.embeddings[rows], labeled).min(axis=1, initial=FARTHEST) > width**2
    words = {True: "unlike everything labeled so far", False: "similar to many images that the model is unsure about"}
    return [torn[i] if unsure[i] else words[bool(far[i])] for i in range(len(rows))]
