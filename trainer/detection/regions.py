"""Reads the frozen features inside a found box: which class the object has, where its edges are, and how well it fits.

The head learns quickly *where* objects are, because all classes teach it that. It learns slowly *which* class an object
has: with ten classes and ten labeled images, each class has three boxes. So the two questions are separated. The head's
scores tell how likely there is an object of any class. The classes share that according to the features inside the box,
which are sampled on a grid that spans it. So an object looks the same in every size and place, and a linear classifier
needs few examples (`trainer.detection.region_fitting` fits it). The head has a say in the class too, but a small one.

The same features tell how far the box is from the object's edges. A linear regression moves its four sides there, as
the second stage of R-CNN does (Girshick et al. 2014). The head learns boxes from the points that see an object, so few
labeled images teach it only roughly. The regression learns from many shifted copies of each box that a person drew.

A second regression of edges then moves the sides again. It sees the finest level alone, on a finer grid that reaches
beyond the box. That takes longer, so it only moves boxes that may show an object.

Another linear regression predicts how well a found box fits an object. It learns from the boxes that the head finds in
labeled images, so it learns from objects, from loose boxes, and from what looks like an object but is none. A box that
it expects to fit gets a higher score, another one a lower score. So of several boxes of one object, the tightest counts
most, and lookalikes are suggested less often.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional

BINS = (4, 3, 1)
"""Samples along a side of the grid, for the level of each stride. Fine levels tell shapes, the coarsest the kind. Four
times as many samples found the objects of our sets no better, and took 2.5 times as long.
"""
SAY = 0.25
"""Exponent of the head's scores in the probability of a class: a compromise. With 0, scenes of hands were 3 points
better after 20 images, and scenes of animals 5 points worse after 10; with 1, all were worse.
"""
LEAST_SPREAD = 1e-3
"""Is added to the standard deviation of a feature, so that a constant feature stays small."""
TENSORS = ("mean", "scale", "weight", "bias")
FARTHEST = 0.25
"""Maximum distance that a side of a box is moved, as a share of the box's width or height."""
FINE_BINS = 8
"""Samples along a side of the finer grid."""
REACH = 1.4
"""Width and height of the finer grid, as a multiple of those of the box."""
LEAST_OBJECT = 0.2
"""The finer grid only moves boxes that show an object with at least this probability."""
MOST_MOVED = 300
"""Maximum number of points whose boxes it moves: those that most likely see an object."""
SWAY = 2.0
"""Maximum change of the log odds of a score. It was chosen among 1, 2 and 3."""
SMALLEST = 2.0
"""Minimum width and height of a box in pixels of the canvas, from which these shares are taken."""


class _Linear(nn.Module):
    """A linear function of the features (B, P, D) inside boxes."""

    mean: torch.Tensor
    scale: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, tensors: Mapping[str, torch.Tensor], channels: Sequence[int]) -> None:
        super().__init__()
        self.parts = self.parts_of(channels)
        for name in TENSORS:
            self.register_buffer(name, tensors[name])

    @staticmethod
    def parts_of(channels: Sequence[int]) -> tuple[int, ...]:
        """Number of features of each level."""
        return lengths(channels)

    def said(self, features: torch.Tensor) -> torch.Tensor:
        """Its values (B, P, number of outputs)."""
        return normalised(features, self.mean, self.scale, self.parts) @ self.weight + self.bias


class RegionClasses(_Linear):
    """Features (B, P, D) inside boxes and the head's logits (B, P, K) → scores (B, P, K)."""

    def forward(self, features: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Return how likely each point sees an object of each class."""
        said = self.said(features) + SAY * torch.sigmoid(logits).clamp(min=1e-6).log()
        return objects(logits) * torch.softmax(said, dim=-1)


class RegionEdges(_Linear):
    """Features (B, P, D) inside boxes and the corners (B, P, 4) of the boxes → corners (B, P, 4)."""

    def forward(self, features: torch.Tensor, corners: torch.Tensor) -> torch.Tensor:
        """Move the sides of each box to the edges of its object."""
        return corners + self.said(features).clamp(-FARTHEST, FARTHEST) * sides(corners)


class RegionFineEdges(RegionEdges):
    """The same, from features (B, P, D) on the finer grid."""

    @staticmethod
    def parts_of(channels: Sequence[int]) -> tuple[int, ...]:
        """Number of features: those of the finest level alone."""
        return fine_lengths(channels)


class RegionTightness(_Linear):
    """Features (B, P, D) inside boxes, the head's logits (B, P, K) and scores (B, P, K) → scores (B, P, K)."""

    def forward(self, features: torch.Tensor, logits: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Raise the scores of boxes that fit an object, and lower those of others. The classes keep their shares."""
        odds = (SWAY * (2 * self.said(features).clamp(0, 1) - 1)).exp()
        return scores * odds / (1 + objects(logits) * (odds - 1))


def read(
    levels: Sequence[torch.Tensor],
    logits: torch.Tensor,
    corners: torch.Tensor,
    size: int,
    classes: RegionClasses | None,
    edges: RegionEdges | None,
    tightness: RegionTightness | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores (B, P, K) and corners (B, P, 4) from the head's logits and corners on a canvas of `size` pixels."""
    if classes is None and edges is None and tightness is None:
        return torch.sigmoid(logits), corners
    features = inside(levels, corners, size)
    scores = torch.sigmoid(logits) if classes is None else classes(features, logits)
    if tightness is not None:
        scores = tightness(features, logits, scores)
    return scores, corners if edges is None else edges(features, corners)


def refined(
    levels: Sequence[torch.Tensor],
    scores: torch.Tensor,
    corners: torch.Tensor,
    size: int,
    edges: RegionFineEdges,
    most: int = MOST_MOVED,
) -> torch.Tensor:
    """Move the boxes with these `corners` (B, P, 4) that may show an object, as their `scores` (B, P, K) tell: at most
    `most` boxes of an image. Returns all corners (B, P, 4). The canvas has `size` pixels a side.
    """
    likely, best = scores.sum(dim=2).topk(min(most, scores.shape[1]), dim=1)
    places = best[..., None].expand(-1, -1, 4)
    some = corners.gather(1, places)
    moved = edges(around(levels, some, size), some)
    return corners.scatter(1, places, torch.where(likely[..., None] >= LEAST_OBJECT, moved, some))


def objects(logits: torch.Tensor) -> torch.Tensor:
    """How likely each point sees an object of any class (B, P, 1), from logits (B, P, K)."""
    return 1 - (1 - torch.sigmoid(logits)).prod(dim=-1, keepdim=True)


def sides(corners: torch.Tensor) -> torch.Tensor:
    """Width and height of each box, twice (…, 4)."""
    both = (corners[..., 2:] - corners[..., :2]).clamp(min=SMALLEST)
    return torch.cat([both, both], dim=-1)


def inside(levels: Sequence[torch.Tensor], corners: torch.Tensor, size: int) -> torch.Tensor:
    """The features (B, P, D) inside boxes with these corners (B, P, 4) on a canvas of `size` pixels."""
    return torch.cat([_sampled(level, corners, size, bins) for level, bins in zip(levels, BINS, strict=True)], dim=-1)


def around(levels: Sequence[torch.Tensor], corners: torch.Tensor, size: int) -> torch.Tensor:
    """The features (B, P, D) on the finer grid around boxes with these corners (B, P, 4) on a canvas of `size`
    pixels."""
    beyond = (REACH - 1) / 2 * (corners[..., 2:] - corners[..., :2])
    return _sampled(levels[0], corners + torch.cat([-beyond, beyond], dim=-1), size, FINE_BINS)


def _sampled(level: torch.Tensor, corners: torch.Tensor, size: int, bins: int) -> torch.Tensor:
    """Features (B, P, C · bins²) of a level (B, C, H, W), on a grid of bins × bins points in each box."""
    along = (torch.arange(bins, dtype=corners.dtype, device=corners.device) + 0.5) / bins
    x = corners[..., 0:1] + (corners[..., 2:3] - corners[..., 0:1]) * along  # (B, P, bins)
    y = corners[..., 1:2] + (corners[..., 3:4] - corners[..., 1:2]) * along
    shape = (*x.shape[:2], bins, bins)
    places = torch.stack([x[..., None, :].expand(shape), y[..., :, None].expand(shape)], dim=-1)
    grid = (2 * places / size - 1).flatten(2, 3)  # (B, P, bins², 2)
    sampled = functional.grid_sample(level, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return sampled.permute(0, 2, 1, 3).flatten(2)


def normalised(features: torch.Tensor, mean: torch.Tensor, scale: torch.Tensor, parts: Sequence[int]) -> torch.Tensor:
    """Standardise features (…, D), and give each level the same length: the square root of its share."""
    standard = (features - mean) / scale
    levels = [functional.normalize(part, dim=-1) for part in torch.split(standard, list(parts), dim=-1)]
    return torch.cat(levels, dim=-1) / math.sqrt(len(parts))


def mirrored(features: torch.Tensor, channels: Sequence[int]) -> torch.Tensor:
    """The features (n, D) of the mirrored boxes."""
    parts = []
    for part, count, bins in zip(torch.split(features, list(lengths(channels)), dim=-1), channels, BINS, strict=True):
        parts.append(part.reshape(-1, count, bins, bins).flip(-1).flatten(1))
    return torch.cat(parts, dim=-1)


def lengths(channels: Sequence[int]) -> tuple[int, ...]:
    """Number of features of each level."""
    return tuple(count * bins * bins for count, bins in zip(channels, BINS, strict=True))


def fine_lengths(channels: Sequence[int]) -> tuple[int, ...]:
    """Number of features on the finer grid, as one part."""
    return (channels[0] * FINE_BINS * FINE_BINS,)


def shapes(parts: Sequence[int], outputs: int) -> dict[str, tuple[int, ...]]:
    """Name → shape of every tensor of a linear function of features in these parts."""
    features = sum(parts)
    return {"mean": (features,), "scale": (features,), "weight": (features, outputs), "bias": (outputs,)}


def all_shapes(channels: Sequence[int], classes: int) -> dict[str, dict[str, tuple[int, ...]]]:
    """Name of each linear function, as it stands in files → its `shapes`."""
    coarse = lengths(channels)
    return {
        "regions": shapes(coarse, classes),
        "edges": shapes(coarse, 4),
        "tightness": shapes(coarse, 1),
        "fine_edges": shapes(fine_lengths(channels), 4),
    }
