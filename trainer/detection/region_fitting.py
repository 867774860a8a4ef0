"""Fits what reads the features inside boxes: ridge regressions on the boxes that people drew, in closed form.

They are fitted anew in each round, on a bounded number of boxes, so that a round of a large project takes no longer.
Leaving boxes out to choose a setting takes no further fit: it follows from the inverse matrix (leave-one-out residuals
of ridge regression).

**Classes.** The strength of the ridge, the steepness of the softmax, and whether mirrored views are mirrored back are
those that predict left-out boxes best. Whether an object looks the same mirrored depends on the project: a digit does
not, a cell does.

**Edges.** The sides of each drawn box are shifted at random, about as far as the head's boxes are off. The regression
predicts how far each side is from where it was drawn. The strength of the ridge is the one that predicts this best in
left-out images. If no strength predicts it better than a guess of zero, boxes stay as the head finds them. The
regression on the finer grid learns from the same shifted boxes.

**Tightness.** The head detects in labeled images. The regression predicts how well each found box, with its sides
moved, fits a box that a person drew. The strength of the ridge is the one that predicts this best in left-out images.
If no strength predicts it better than the mean, scores stay as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from torchvision.ops import box_iou, nms

from shared.images.opening import ImageProblem
from trainer.detection.detections import OVERLAP
from trainer.detection.detector import Detector, Example
from trainer.detection.feature_maps import VIEWS, FeatureMaps, View
from trainer.detection.regions import (
    LEAST_SPREAD,
    around,
    fine_lengths,
    inside,
    lengths,
    mirrored,
    normalised,
    objects,
    sides,
)

log = logging.getLogger(__name__)

MOST = 1_000
"""Maximum number of regions: views of boxes."""
LEAST_VIEWS = 2
"""Minimum number of views per box, the plain one included."""
RIDGES = (0.1, 1.0)
STEEP = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
"""Candidate factors of the regression's output in the softmax."""
SHIFT, MOST_SHIFT = 0.08, 0.2
"""Standard deviation and maximum of a random shift of a side, as a share of the box's width or height."""
SHIFTS = 2
"""Number of shifted copies per box and view."""
EDGE_RIDGES = (0.1, 0.3, 1.0, 3.0)
FOUND = 1_500
"""Maximum number of found boxes, approximately: that of the last image counts in full."""
FOUND_IN = 40
"""Maximum number of images in which the head detects for this. An image takes 20 ms."""
FOUND_IN_ONE = 60
"""Maximum number of found boxes of an image: those that most likely show an object."""
LEAST_FOUND = 0.1
"""Minimum score of these boxes."""
NO_FIT = 0.3
"""Boxes with at most this IoU do not fit at all."""
TIGHTNESS_RIDGES = (0.3, 1.0, 3.0)


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


def fit_edges(
    examples: Sequence[Example], maps: FeatureMaps, column: Mapping[int, int], seed: int
) -> tuple[dict[str, torch.Tensor] | None, dict[str, torch.Tensor] | None]:
    """The tensors of `RegionEdges` and of `RegionFineEdges`, each None if left-out images show no gain. Arguments as
    in `fit_classes`.
    """
    draws = np.random.default_rng(seed)
    coarse, fine, wanted, images = [], [], [], []
    for number, _, seen, once in _seen(examples, maps, column, seed, copies=SHIFTS):
        drawn = once.repeat(SHIFTS, 1)
        shift = draws.normal(0, SHIFT, drawn.shape).clip(-MOST_SHIFT, MOST_SHIFT).astype(np.float32)
        corners = drawn + torch.from_numpy(shift) * sides(drawn)
        levels, size = _levels(seen), seen.placement.size
        coarse.append(inside(levels, corners[None], size)[0])
        fine.append(around(levels, corners[None], size)[0])
        wanted.append((drawn - corners) / sides(corners))
        images += [number] * len(drawn)
    if len(set(images)) < 2:
        return None, None
    channels, goal = maps.pyramid.channels, torch.cat(wanted)
    return (
        _best(torch.cat(coarse), goal, images, lengths(channels), EDGE_RIDGES, 0.0),
        _best(torch.cat(fine), goal, images, fine_lengths(channels), EDGE_RIDGES, 0.0),
    )


def fit_tightness(
    examples: Sequence[Example],
    maps: FeatureMaps,
    column: Mapping[int, int],
    seed: int,
    finder: Detector,
) -> dict[str, torch.Tensor] | None:
    """The tensors of `RegionTightness`, or None if left-out images show no gain. `finder` finds the boxes. Other
    arguments as in `fit_classes`.
    """
    features, overlaps, images = [], [], []
    for number in np.random.default_rng(seed).permutation(len(examples))[:FOUND_IN]:
        found = _found(examples[number], maps, column, finder)
        if found is not None:
            features.append(found[0])
            overlaps.append(found[1])
            images += [number] * len(found[1])
        if len(images) >= FOUND:
            break
    if len(set(images)) < 2:
        return None
    goal = (torch.cat(overlaps)[:, None] - NO_FIT).clamp(min=0) / (1 - NO_FIT)
    guess = goal.mean().item()
    return _best(torch.cat(features), goal, images, lengths(maps.pyramid.channels), TIGHTNESS_RIDGES, guess)


def _found(
    example: Example, maps: FeatureMaps, column: Mapping[int, int], finder: Detector
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Features inside the boxes that the head finds in an image, and how much each overlaps an object. None if there
    are none, or the image cannot be read.
    """
    try:
        seen = maps.view(example.sha256, 0)
    except ImageProblem as problem:
        log.warning("Skipped an image when reading boxes: it %s.", problem)
        return None
    levels, size = _levels(seen), seen.placement.size
    edges = finder.region_edges
    with torch.no_grad():
        logits, corners = finder.head(*levels)
        scores = objects(logits)[0, :, 0]
        likely = torch.nonzero(scores >= LEAST_FOUND).flatten()
        kept = likely[nms(corners[0, likely].clamp(0, size), scores[likely], OVERLAP)][:FOUND_IN_ONE]
        if not len(kept):
            return None
        features = inside(levels, corners[:, kept], size)
        moved = corners[:, kept] if edges is None else edges(features, corners[:, kept])
    wanted = np.array([int(label) in column for label in example.labels], bool)
    drawn, _ = seen.placement.onto_canvas(example.boxes[wanted])
    if not len(drawn):
        return features[0], torch.zeros(len(kept))
    return features[0], box_iou(moved[0].clamp(0, size), torch.from_numpy(drawn)).amax(dim=1)


def _best(
    features: torch.Tensor,
    goal: torch.Tensor,
    images: Sequence[int],
    parts: Sequence[int],
    ridges: Sequence[float],
    guess: float,
) -> dict[str, torch.Tensor] | None:
    """The tensors of the ridge regression that predicts `goal` (n, outputs) best in left-out images. None if `guess`
    predicts it better, or if features are not finite.
    """
    goal = goal.double()
    mean, scale, rows = _rows(features, parts)
    kernel, groups = rows @ rows.T, np.array(images)
    least, best = (goal - guess).square().sum().item(), None
    for ridge in ridges:
        lower, failed = torch.linalg.cholesky_ex(kernel + ridge * torch.eye(len(rows), dtype=torch.float64))
        if failed:  # a feature is not finite
            continue
        inverse = torch.cholesky_inverse(lower)
        weights = inverse @ goal
        loss = sum(off.square().sum().item() for _, off in _left_out(inverse, weights, groups))
        if loss < least:
            least, best = loss, weights
    return None if best is None else _tensors(mean, scale, rows.T @ best)


def _fitted(
    features: torch.Tensor, regions: _Regions, parts: Sequence[int], classes: int, ridge: float
) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss on left-out boxes, and the tensors."""
    mean, scale, rows = _rows(features, parts)
    wanted = 2 * functional.one_hot(regions.columns, classes).double() - 1
    counts = torch.bincount(regions.columns, minlength=classes).double()
    rarity = counts[regions.columns].sqrt()  # a region of a frequent class counts less
    inverse = torch.linalg.inv(rows @ rows.T + ridge * torch.diag(rarity / rarity.mean()))
    weights = inverse @ wanted
    left_out = [(at[0], wanted[at[0]] - off[0]) for at, off in _left_out(inverse, weights, regions.boxes)]
    said, true = torch.stack([each for _, each in left_out]), regions.columns[[first for first, _ in left_out]]
    losses = {steep: functional.cross_entropy(steep * said, true).item() for steep in STEEP}
    steep = min(losses, key=losses.__getitem__)
    return losses[steep], _tensors(mean, scale, steep * rows.T @ weights)


def _rows(features: torch.Tensor, parts: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean and scale of features (n, D), and their normalised rows with a constant (n, D + 1)."""
    mean, scale = features.mean(dim=0), features.std(dim=0) + LEAST_SPREAD
    rows = normalised(features, mean, scale, parts)
    return mean, scale, torch.cat([rows, torch.ones(len(rows), 1)], dim=1).double()


def _left_out(
    inverse: torch.Tensor, weights: torch.Tensor, groups: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], torch.Tensor]]:
    """The rows of each group, and how far their targets are from what a fit without the group predicts."""
    for group in np.unique(groups):
        at = np.flatnonzero(groups == group)
        yield at, torch.linalg.solve(inverse[at][:, at], weights[at])


def _tensors(mean: torch.Tensor, scale: torch.Tensor, line: torch.Tensor) -> dict[str, torch.Tensor]:
    """The tensors of a linear function (D + 1, outputs)."""
    line = line.float()
    return {"mean": mean, "scale": scale, "weight": line[:-1].contiguous(), "bias": line[-1].clone()}


def _regions(examples: Sequence[Example], maps: FeatureMaps, column: Mapping[int, int], seed: int) -> _Regions | None:
    """Views of the chosen boxes."""
    features, columns, boxes, turned = [], [], [], []
    for number, shown, seen, corners in _seen(examples, maps, column, seed):
        features.append(inside(_levels(seen), corners[None], seen.placement.size)[0])
        columns += [column[int(examples[number].labels[each])] for each in shown]
        boxes += [(number, each) for each in shown]
        turned += [seen.placement.mirrored] * len(shown)
    if not features:
        return None
    _, numbers = np.unique(np.array(boxes), axis=0, return_inverse=True)
    return _Regions(torch.cat(features), torch.tensor(columns), numbers.reshape(-1), torch.tensor(turned))


def _seen(
    examples: Sequence[Example], maps: FeatureMaps, column: Mapping[int, int], seed: int, copies: int = 1
) -> Iterator[tuple[int, list[int], View, torch.Tensor]]:
    """Views of the chosen boxes: the number of the example, which of its boxes the view shows, the view, and their
    corners on the canvas. At most MOST boxes in all, if each has so many `copies`.
    """
    most = MOST // copies
    chosen = _chosen(examples, column, seed, most // LEAST_VIEWS)
    count = sum(len(each) for each in chosen.values())
    views = min(max(most // max(count, 1), LEAST_VIEWS), VIEWS)
    for number, which in chosen.items():
        example = examples[number]
        for view in range(views):
            try:
                seen = maps.view(example.sha256, view)
            except ImageProblem as problem:
                log.warning("Skipped an image when reading boxes: it %s.", problem)
                break
            corners, visible = seen.placement.onto_canvas(example.boxes)
            shown = [each for each in which if visible[each]]
            if shown:
                yield number, shown, seen, torch.from_numpy(corners[shown])


def _levels(seen: View) -> list[torch.Tensor]:
    return [level[None].float() for level in seen.maps]


def _chosen(examples: Sequence[Example], column: Mapping[int, int], seed: int, most: int) -> dict[int, list[int]]:
    """Boxes by the number of their example: at most `most`, in turn one of each class, at random."""
    draws = np.random.default_rng(seed)
    of_class: dict[int, list[tuple[int, int]]] = {}
    for number, example in enumerate(examples):
        for each, label in enumerate(example.labels):
            if int(label) in column:
                of_class.setdefault(int(label), []).append((number, each))
    waiting = [[places[i] for i in draws.permutation(len(places))] for _, places in sorted(of_class.items())]
    chosen: dict[int, list[int]] = {}
    left = most
    while left and any(waiting):
        for places in waiting:
            if places and left:
                number, each = places.pop()
                chosen.setdefault(number, []).append(each)
                left -= 1
    return chosen
