"""Herding: ask the images that stand for most of what is not yet covered (Bae et al. 2024, "MaxHerding"; 2025,
"Uncertainty herding", ICLR).

Every image weighs as much as the head is unsure of it (all alike before there is a head), and is covered to the
degree that the nearest labeled image resembles it, exp(-d²/σ²). Greedily asked is the image that raises the weighted
cover of the pool most, so that every prefix of the list is diverse, and no switch from exploring to exploiting has to
be tuned.
"""

from __future__ import annotations

import numpy as np

from trainer.strategies.geometry import Matrix, nearest_covered, spacing, squared_distances
from trainer.strategies.ranking import NOTHING, Floats, Pool, Ranking, Rows
from trainer.strategies.uncertainty import margin_scores, torn_between

CANDIDATES = 4_000  # looked at in one list, beyond that the most uncertain half and a random half


def uncertainty_herding(pool: Pool, count: int) -> Ranking:
    """Cover what the head is unsure of; before there is a head, cover the pool (Bae et al. 2025)."""
    if pool.probabilities is None:
        return maxherding(pool, count)
    uncertainty = margin_scores(pool.probabilities)
    return _herd(pool, count, uncertainty, _candidates(pool, uncertainty), width=_width(pool))


def maxherding(pool: Pool, count: int) -> Ranking:
    """Cover the pool evenly, whatever the head thinks (Bae et al. 2024)."""
    weights = np.ones(len(pool.labels))
    return _herd(pool, count, weights, _candidates(pool, weights), width=_width(pool))


def _width(pool: Pool) -> float:
    """How far an image covers its surroundings, as a distance between unit vectors."""
    return max(spacing(pool), 1e-3)


def _candidates(pool: Pool, uncertainty: Floats) -> Rows:
    rows = pool.candidates
    if len(rows) <= CANDIDATES:
        return rows
    lots = pool.lots()[rows]
    uncertain = np.argsort(-(uncertainty[rows] + 1e-9 * lots), kind="stable")
    half = CANDIDATES // 2
    rest = uncertain[half:]
    return np.sort(rows[np.concatenate([uncertain[:half], rest[np.argsort(lots[rest])[:half]]])])


def _herd(pool: Pool, count: int, weights: Floats, rows: Rows, width: float) -> Ranking:
    if not len(rows) or count <= 0:
        return NOTHING
    targets, nearest = nearest_covered(pool)
    weight = np.where(pool.labels[targets] >= 0, 0.0, weights[targets]).astype(np.float32)
    similarity = _squared(pool, rows, targets)  # (M, T)
    similarity = np.exp(np.multiply(similarity, -1.0 / width**2, out=similarity), out=similarity)
    cover = np.exp(-nearest / width**2) if len(pool.covered) else np.zeros(len(targets), dtype=np.float32)
    order, gains = greedy_cover(similarity, weight, cover.astype(np.float32), count, pool.lots()[rows])
    picked = rows[order]
    return Ranking(picked, gains, _reasons(pool, picked))


def greedy_cover(similarity: Matrix, weight: Matrix, cover: Matrix, count: int, lots: Floats) -> tuple[Rows, Floats]:
    """Pick rows of `similarity` (M, T) one by one, each adding most to Σ weight·max(cover, similarity of the picked).

    Exact: a gain only falls as more is picked (submodularity), so an old gain is an upper bound and most rows need no
    second look (Minoux 1978). Ties go by `lots` (M,). Returns indices (≤ count,) and their gains, which never rise.
    """
    total = len(similarity)
    bound = np.empty(total)
    for start in range(0, total, 500):
        block = similarity[start : start + 500]
        bound[start : start + 500] = np.maximum(block - cover, 0.0) @ weight
    cover = cover.copy()
    picks = np.empty(min(count, total), dtype=np.int64)
    gains = np.empty(len(picks))
    for step in range(len(picks)):
        fresh = np.zeros(total, dtype=bool)
        while True:
            stale = np.where(fresh, -np.inf, bound)
            best_fresh = bound[fresh].max() if fresh.any() else -np.inf
            tops = np.argpartition(-stale, min(16, total - 1))[:16]
            tops = tops[(stale[tops] >= best_fresh) & np.isfinite(stale[tops])]
            if not len(tops):
                break
            bound[tops] = np.maximum(similarity[tops] - cover, 0.0) @ weight
            fresh[tops] = True
        best = np.flatnonzero(fresh & (bound >= best_fresh))
        pick = best[np.argmin(lots[best])]
        picks[step], gains[step] = pick, bound[pick]
        np.maximum(cover, similarity[pick], out=cover)
        bound[pick] = -np.inf
    return picks, gains


def _squared(pool: Pool, rows: Rows, targets: Rows) -> Matrix:
    """Squared distances (M, T) of `rows` to `targets`, from memory where the whole pool fits."""
    if len(targets) < len(pool.labels):
        return squared_distances(pool.embeddings[rows], pool.embeddings[targets])
    known = pool.memory.get("distances")
    if not isinstance(known, np.ndarray) or len(known) != len(targets):
        known = squared_distances(pool.embeddings, pool.embeddings)
        pool.memory["distances"] = known
    return known[rows]


def _reasons(pool: Pool, rows: Rows) -> list[str]:
    if pool.probabilities is None or not len(pool.labeled):
        return ["typical of many images without a label"] * len(rows)
    unsure = margin_scores(pool.probabilities[rows]) > 0.5
    torn = torn_between(pool, rows)
    return [words if doubt else "like none of your labels yet" for words, doubt in zip(torn, unsure, strict=True)]
