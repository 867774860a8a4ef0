"""Fits the classifier of regions: ridge regression on the boxes that people drew, in closed form.

It is fitted anew in each round, on a bounded number of boxes, so that a round of a large project takes no longer. The
strength of the ridge, the steepness of the softmax, and whether mirrored views are mirrored back are those that predict
left-out boxes best. Whether an object looks the same mirrored depends on the project: a digit does not, a cell does.
Leaving a box out takes no further fit: it follows from the inverse matrix (leave-one-out residuals of ridge
regression).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from shared.images.opening import ImageProblem
from trainer.detection.detector import Example
from trainer.detection.feature_maps import VIEWS, FeatureMaps
from trainer.detection.regions import LEAST_SPREAD, inside, lengths, mirrored, normalised

log = logging.getLogger(__name__)

MOST = 1_000
"""Maximum number of regions: views of boxes."""
LEAST_VIEWS = 2
"""Minimum number of views per box, the plain one included."""
RIDGES = (0.1, 1.0)
STEEP = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
"""Candidate factors of the regression's output in the softmax."""


@dataclass(frozen=True)
class _Regions:
    """Features (n, D), class columns (n,), the number of the box (n,), and which regions come from mirrored views (n,).
    The first region of each box is from its plain view, unless that does not show it."""

    features: torch.Tensor
    columns: torch.Tensor
    boxes: NDArray[np.int64]
    mirrored: torch.Tensor


def fit_classes(
    examples: Sequence[Example], maps: FeatureMaps, column: Mapping[int, int], seed: int
) -> dict[str, torch.Tensor] | None:
    """The tensors of `RegionClasses`, or None while there are fewer than two classes to tell apart.

    `column` maps each class id to its column. An image that cannot be read is skipped. Raises OSError.
    """
    regions = _regions(examples, maps, column, seed)
    if regions is None or len(set(regions.columns.tolist())) < 2:
        return None
    channels = maps.pyramid.channels
    best: tuple[float, dict[str, torch.Tensor]] | None = None
    for turned_back, ridge in product((False, True), RIDGES):
        features = regions.features
        if turned_back:
            features = torch.where(regions.mirrored[:, None], mirrored(features, channels), features)
        found = _fitted(features, regions, lengths(channels), len(column), ridge)
        if best is None or found[0] < best[0]:
            best = found
    return best[1] if best is not None else None


def _fitted(
    features: torch.Tensor, regions: _Regions, parts: Sequence[int], classes: int, ridge: float
) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss on left-out boxes, and the tensors."""
    mean, scale = features.mean(dim=0), features.std(dim=0) + LEAST_SPREAD
    rows = normalised(features, mean, scale, parts)
    rows = torch.cat([rows, torch.ones(len(rows), 1)], dim=1).double()
    wanted = 2 * functional.one_hot(regions.columns, classes).double() - 1
    counts = torch.bincount(regions.columns, minlength=classes).double()
    rarity = counts[regions.columns].sqrt()  # a region of a frequent class counts less
    inverse = torch.linalg.inv(rows @ rows.T + ridge * torch.diag(rarity / rarity.mean()))
    weights = inverse @ wanted
    left_out, truth = [], []
    for number in np.unique(regions.boxes):
        at = np.flatnonzero(regions.boxes == number)
        off = torch.linalg.solve(inverse[at][:, at], weights[at])
        left_out.append((wanted[at] - off)[0])
        truth.append(regions.columns[at[0]])
    said, true = torch.stack(left_out), torch.stack(truth)
    losses = {steep: functional.cross_entropy(steep * said, true).item() for steep in STEEP}
    steep = min(losses, key=losses.__getitem__)
    line = (steep * rows.T @ weights).float()
    return losses[steep], {"mean": mean, "scale": scale, "weight": line[:-1].contiguous(), "bias": line[-1].clone()}


def _regions(examples: Sequence[Example], maps: FeatureMaps, column: Mapping[int, int], seed: int) -> _Regions | None:
    """Views of the chosen boxes."""
    chosen = _chosen(examples, column, seed)
    count = sum(len(each) for each in chosen.values())
    if not count:
        return None
    views = min(max(MOST // count, LEAST_VIEWS), VIEWS)
    features, columns, boxes, turned = [], [], [], []
    for number, which in chosen.items():
        example = examples[number]
        for view in range(views):
            try:
                seen = maps.view(example.sha256, view)
            except ImageProblem as problem:
                log.warning("Skipped an image in the classifier of objects: it %s.", problem)
                break
            corners, visible = seen.placement.onto_canvas(example.boxes)
            shown = [each for each in which if visible[each]]
            if not shown:
                continue
            levels = [level[None].float() for level in seen.maps]
            features.append(inside(levels, torch.from_numpy(corners[shown])[None], seen.placement.size)[0])
            columns += [column[int(example.labels[each])] for each in shown]
            boxes += [(number, each) for each in shown]
            turned += [seen.placement.mirrored] * len(shown)
    if not features:
        return None
    _, numbers = np.unique(np.array(boxes), axis=0, return_inverse=True)
    return _Regions(torch.cat(features), torch.tensor(columns), numbers.reshape(-1), torch.tensor(turned))


def _chosen(examples: Sequence[Example], column: Mapping[int, int], seed: int) -> dict[int, list[int]]:
    """Boxes by the number of their example: at most MOST // LEAST_VIEWS, in turn one of each class, at random."""
    draws = np.random.default_rng(seed)
    of_class: dict[int, list[tuple[int, int]]] = {}
    for number, example in enumerate(examples):
        for each, label in enumerate(example.labels):
            if int(label) in column:
                of_class.setdefault(int(label), []).append((number, each))
    waiting = [[places[i] for i in draws.permutation(len(places))] for _, places in sorted(of_class.items())]
    chosen: dict[int, list[int]] = {}
    left = MOST // LEAST_VIEWS
    while left and any(waiting):
        for places in waiting:
            if places and left:
                number, each = places.pop()
                chosen.setdefault(number, []).append(each)
                left -= 1
    return chosen
