"""Random image augmentation, as a pure function over tensors.

All images of a batch are changed at once, each in its own way, on their device. This takes a small part of a training
step; one image after the other would keep a GPU waiting. Crop, mirroring, colours and grey follow SimCLR (Chen et al.
2020, appendix A) at its strength for small images, 0.5, without blur. A crop keeps at least a fifth of the area, not 8
%, because the objects that people label seldom fill the picture.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

SMALLEST_CROP = 0.2
"""Minimum share of the area that a crop keeps."""

_GREY = torch.tensor([0.299, 0.587, 0.114]).repeat(3, 1)
_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


def view(images: Tensor) -> Tensor:
    """Augment `images` (B, 3, S, S) with values from 0 to 1, using torch's seed; same shape and range."""
    n, device = len(images), images.device

    def between(low: float, high: float) -> Tensor:
        return torch.empty(n).uniform_(low, high)  # on the CPU, so that a seed gives the same numbers everywhere

    def chance(share: float) -> Tensor:
        return torch.rand(n) < share

    area, shape = between(SMALLEST_CROP, 1), between(math.log(3 / 4), math.log(4 / 3)).exp()
    width, height = (area * shape).sqrt().clamp(max=1), (area / shape).sqrt().clamp(max=1)
    crop = torch.zeros(n, 2, 3)
    crop[:, 0, 0] = torch.where(chance(0.5), -width, width)  # negative: mirrored
    crop[:, 1, 1] = height
    crop[:, 0, 2], crop[:, 1, 2] = between(-1, 1) * (1 - width), between(-1, 1) * (1 - height)
    grid = functional.affine_grid(crop.to(device), list(images.shape), align_corners=False)
    changed = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    grey = _GREY.expand(n, 3, 3)
    saturation, angle = between(0.6, 1.4).view(n, 1, 1), between(-0.1, 0.1) * 2 * math.pi
    colours = _hue(angle) @ (saturation * torch.eye(3) + (1 - saturation) * grey)
    jittered = chance(0.8).view(n, 1, 1)
    colours = torch.where(jittered, colours * between(0.6, 1.4).view(n, 1, 1), torch.eye(3))
    colours = torch.where(chance(0.2).view(n, 1, 1), grey @ colours, colours)
    contrast = torch.where(jittered, between(0.6, 1.4).view(n, 1, 1), torch.tensor(1.0)).unsqueeze(-1).to(device)
    changed = torch.einsum("nij,njhw->nihw", colours.to(device), changed)
    middle = changed.mean(dim=(1, 2, 3), keepdim=True)
    return ((changed - middle) * contrast + middle).clamp(0, 1)


def _hue(angle: Tensor) -> Tensor:
    """Rotation matrices (n, 3, 3) of RGB about the grey axis by `angle` (n,), in radians."""
    turn = torch.zeros(len(angle), 3, 3)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = angle.cos()
    turn[:, 1, 2], turn[:, 2, 1] = -angle.sin(), angle.sin()
    rotated: Tensor = _YIQ.inverse() @ turn @ _YIQ
    return rotated
