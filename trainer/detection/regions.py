"""Decides which class a found object has: a linear classifier of the frozen features inside its box.

The head learns quickly *where* objects are, because all classes teach it that. It learns slowly *which* class an object
has: with ten classes and ten labeled images, each class has three boxes. So the two questions are separated. The head's
scores tell how likely there is an object of any class. The classes share that according to the features inside the box,
which are sampled on a grid that spans it. So an object looks the same in every size and place, and a linear classifier
needs few examples (`trainer.detection.region_fitting` fits it). The head has a say in the class too, but a small one.
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


class RegionClasses(nn.Module):
    """Levels (B, C, S/stride, S/stride), logits (B, P, K) and corners (B, P, 4) of the head → scores (B, P, K)."""

    mean: torch.Tensor
    scale: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, tensors: Mapping[str, torch.Tensor], channels: Sequence[int], size: int) -> None:
        super().__init__()
        self.size = size
        self.parts = lengths(channels)
        for name in TENSORS:
            self.register_buffer(name, tensors[name])

    def forward(self, levels: Sequence[torch.Tensor], logits: torch.Tensor, corners: torch.Tensor) -> torch.Tensor:
        """Return how likely each point sees an object of each class."""
        scores = torch.sigmoid(logits)
        objects = 1 - (1 - scores).prod(dim=-1, keepdim=True)
        features = normalised(inside(levels, corners, self.size), self.mean, self.scale, self.parts)
        said = features @ self.weight + self.bias + SAY * scores.clamp(min=1e-6).log()
        return objects * torch.softmax(said, dim=-1)


def inside(levels: Sequence[torch.Tensor], corners: torch.Tensor, size: int) -> torch.Tensor:
    """The features (B, P, D) inside boxes with these corners (B, P, 4) on a canvas of `size` pixels."""
    parts = []
    for level, bins in zip(levels, BINS, strict=True):
        along = (torch.arange(bins, dtype=corners.dtype, device=corners.device) + 0.5) / bins
        x = corners[..., 0:1] + (corners[..., 2:3] - corners[..., 0:1]) * along  # (B, P, bins)
        y = corners[..., 1:2] + (corners[..., 3:4] - corners[..., 1:2]) * along
        shape = (*x.shape[:2], bins, bins)
        places = torch.stack([x[..., None, :].expand(shape), y[..., :, None].expand(shape)], dim=-1)
        grid = (2 * places / size - 1).flatten(2, 3)  # (B, P, bins², 2)
        sampled = functional.grid_sample(level, grid, mode="bilinear", padding_mode="border", align_corners=False)
        parts.append(sampled.permute(0, 2, 1, 3).flatten(2))
    return torch.cat(parts, dim=-1)


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


def shapes(channels: Sequence[int], classes: int) -> dict[str, tuple[int, ...]]:
    """Name → shape of every tensor."""
    features = sum(lengths(channels))
    return {"mean": (features,), "scale": (features,), "weight": (features, classes), "bias": (classes,)}
