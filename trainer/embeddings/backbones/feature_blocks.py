"""Layout features: the last-but-one stage of a convolutional network, pooled to a coarse grid, next to its own
features.

The final features of a classification network say what is in an image and little about where. Position carries shape:
on 3,781 clothing photos (mobilenetv2_100, 160 px, 5 draws of 20 / 100 / 400 random labels) both together gave 53.0 /
71.9 / 83.8 % right, the final features alone 50.1 / 66.9 / 77.4, with one pass through the network either way. With
photos rotated and mirrored at random, so that position means nothing, there was still a gain: 37.4 / 56.6 / 72.6
against 36.3 / 53.4 / 66.6 (docs/measurements/experiments.md).

Transformers keep one resolution throughout. For them this is not measured, so their features are left unchanged.
"""

from __future__ import annotations

import torch
from torch.nn import functional

GRID = 5
"""Cells per side; 3 gave about half a point less, 10 about a point less."""
WIDTH = 1_024
"""Values of the grid; more are reduced by a random projection, which keeps distances (Johnson & Lindenstrauss 1984)."""


class Layout(torch.nn.Module):
    """A timm network (B, 3, S, S) → its features and the layout, each of unit length, concatenated (B, D + ≤1,024)."""

    mixing: torch.Tensor | None
    in_float32 = True  # the projection of the layout, even if the network itself computes in 16 bits

    def __init__(self, network: torch.nn.Module, channels: int) -> None:
        super().__init__()
        self.network = network
        self.pretrained_cfg = getattr(network, "pretrained_cfg", {})  # timm's description of these weights
        self.cells = values = channels * GRID * GRID
        mixing = None
        if values > WIDTH:
            draws = torch.Generator().manual_seed(0)
            mixing = torch.randn(values, WIDTH, generator=draws) / WIDTH**0.5
        self.register_buffer("mixing", mixing)  # a buffer moves with the network and is part of its hash

    def blocks(self, dim: int) -> tuple[int, int]:
        """Lengths of both blocks of a vector of `dim` values."""
        values = self.mixing.shape[1] if self.mixing is not None else self.cells
        return dim - values, values

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Inputs (B, 3, S, S) → vectors (B, D + ≤1,024)."""
        final, (earlier, _) = self.network.forward_intermediates(images, indices=2)  # type: ignore[operator]
        features = self.network.forward_head(final)  # type: ignore[operator]
        layout = functional.adaptive_avg_pool2d(earlier.float(), GRID).flatten(1)
        layout = functional.normalize(layout)
        if self.mixing is not None:
            layout = layout @ self.mixing
        return torch.cat([functional.normalize(features.float()), layout], dim=1)


def with_layout(network: torch.nn.Module) -> torch.nn.Module:
    """Add layout features to `network` if it is a timm network that reduces the resolution stage by stage."""
    stages = getattr(network, "feature_info", [])
    if not hasattr(network, "forward_intermediates") or len(stages) < 2:
        return network
    earlier, last = stages[-2], stages[-1]
    if earlier["reduction"] >= last["reduction"]:
        return network
    return Layout(network, earlier["num_chs"])
