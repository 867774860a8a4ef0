"""The features of a convolutional network: its own, and the layout, which is its last two stages, each pooled to a
coarse grid.

The final features of a classification network say what is in an image and little about where. Position carries shape:
on 3,781 clothing photos (mobilenetv2_100, 160 px, 5 draws of 20 / 100 / 400 random labels) the last-but-one stage and
the final features together gave 53.0 / 71.9 / 83.8 % right, the final features alone 50.1 / 66.9 / 77.4, with one pass
through the network either way. With photos rotated and mirrored at random, so that position means nothing, there was
still a gain: 37.4 / 56.6 / 72.6 against 36.3 / 53.4 / 66.6 (docs/measurements/experiments.md).

Features have a version, because vectors of different versions cannot be compared. A project with embeddings of version
1 keeps it (`torch_networks.as_kept`), and so does a saved backbone. In version 1, the layout has only the last-but-one
stage, and each channel of the own features is the mean of its map. In version 2, it is the generalised mean (Radenović
et al. 2018, arXiv:1711.02512), which is nearer to the maximum, so that a small object counts more.

Version 3 sees each image three times: as it is, in the mirror, and with its middle enlarged. The features of the image
and of its mirror image stand side by side, because a `b` and a `d` would have the same mean. Projecting both layouts at
once keeps the layout at 2,048 values. The middle is a block of its own: it helps where the subject is small, as hands
are, and the labels tell how much it counts. All this takes three times as long, so a project begins with version 2 and
gets version 3 later (`trainer.embeddings.second_look`).

Transformers keep one resolution throughout. For them this is not measured, so their features are left unchanged.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

VERSION = 2
"""Version of the features of new projects."""
VIEWS = 3
"""The version with three views of an image."""
GRID = 5
"""Cells per side; 3 gave about half a point less, 10 about a point less."""
LAST_GRID = 3
"""Cells per side of the last stage."""
WIDTHS = {1: 1_024, 2: 2_048, VIEWS: 2_048}
"""Version → maximum number of values of the layout. More are reduced by a random projection, which keeps distances
(Johnson & Lindenstrauss 1984)."""
MIDDLE = 11 / 14
"""Share of each side that the middle of an image has."""
MIDDLE_WIDTH = 768
"""Maximum number of values of the middle's layout."""
POWER = 3.0
"""Exponent of the generalised mean; 1 is the mean."""
LEAST = 1e-6

Seen = tuple[torch.Tensor, ...]
"""Own features (B, D), and the cells (B, L) of the layout, of one view."""


class Layout(torch.nn.Module):
    """A timm network (B, 3, S, S) → its features and the layout, each of the same length, concatenated."""

    mixing: torch.Tensor | None
    order: torch.Tensor | None  # of the mirror image's values before their projection, and their signs
    signs: torch.Tensor | None
    in_float32 = True  # the projection of the layout, even if the network itself computes in 16 bits

    def __init__(self, network: torch.nn.Module, channels: int, last: int = 0, *, views: bool = False) -> None:
        """`channels` of the last-but-one stage, and of the `last`: 0 for version 1. `views`: version 3."""
        super().__init__()
        self.network = network
        self.pretrained_cfg = getattr(network, "pretrained_cfg", {})  # timm's description of these weights
        self.version = VIEWS if views else 2 if last else 1
        self.generalised = self.version > 1 and _is_mean_of_rectified(network)
        self.cells = values = channels * GRID * GRID + last * LAST_GRID * LAST_GRID
        mixing = order = signs = None
        width = WIDTHS[self.version]
        if values > width:
            draws = torch.Generator().manual_seed(0)
            mixing = torch.randn(values, width, generator=draws) / width**0.5
            if views:  # the same projection of the values in another order is as good as another projection
                order = torch.randperm(values, generator=draws)
                signs = torch.randint(0, 2, (values,), generator=draws).float() * 2 - 1
        self.register_buffer("mixing", mixing)  # a buffer moves with the network and is part of its hash
        self.register_buffer("order", order)
        self.register_buffer("signs", signs)

    def blocks(self, dim: int) -> tuple[int, ...]:
        """Lengths of the blocks of a vector of `dim` values."""
        values = self.mixing.shape[1] if self.mixing is not None else self.cells
        if self.version < VIEWS:
            return dim - values, values
        middle = MIDDLE_WIDTH if self.mixing is not None else values
        layout = values if self.mixing is not None else 2 * values
        own = (dim - layout - middle) // 3
        return 2 * own, layout, own + middle

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Inputs (B, 3, S, S) → vectors (B, D + ≤2,048); version 3: (B, 3 · D + at most 6,144)."""
        return self.joined(images, self.seen)

    def joined(self, images: torch.Tensor, seen: Callable[[torch.Tensor], Seen]) -> torch.Tensor:
        """The vectors, where `seen` computes what `self.seen` does, of each view."""
        own, layout = seen(images)
        if self.version < VIEWS:
            return torch.cat([own, layout if self.mixing is None else layout @ self.mixing], dim=1)
        mirrored, reversed_layout = seen(images.flip(-1))
        middle, middle_layout = seen(_middle(images))
        if self.mixing is None or self.order is None or self.signs is None:
            layouts = torch.cat([layout, reversed_layout], dim=1)
        else:
            layouts = (layout + reversed_layout[:, self.order] * self.signs) @ self.mixing
            width = self.mixing.shape[1]
            middle_layout = middle_layout @ self.mixing[:, :MIDDLE_WIDTH] * (width / MIDDLE_WIDTH) ** 0.5
        return torch.cat([own, mirrored, layouts, middle, middle_layout], dim=1) / 2**0.5

    def seen(self, images: torch.Tensor) -> Seen:
        """Own features (B, D), and the cells (B, L) of the layout, each of unit length."""
        final, (earlier, last) = self.network.forward_intermediates(images, indices=2)  # type: ignore[operator]
        if self.generalised:
            features = final.float().clamp(min=LEAST).pow(POWER).mean((2, 3)).pow(1 / POWER)
        else:
            features = self.network.forward_head(final)  # type: ignore[operator]
        layout = _cells(earlier, GRID)
        if self.version > 1:
            layout = torch.cat([layout, _cells(last, LAST_GRID)], dim=1) / 2**0.5
        return functional.normalize(features.float()), layout


def _middle(images: torch.Tensor) -> torch.Tensor:
    """The middle of images (B, 3, S, S), enlarged to their size."""
    size = images.shape[-1]
    edge = round(size * (1 - MIDDLE) / 2)
    inner = images[..., edge : size - edge, edge : size - edge]
    return functional.interpolate(inner, size=(size, size), mode="bilinear", align_corners=False)


def _cells(maps: torch.Tensor, side: int) -> torch.Tensor:
    """The means of `maps` (B, C, h, w) in side × side cells, as unit vectors (B, C · side²)."""
    return functional.normalize(functional.adaptive_avg_pool2d(maps.float(), side).flatten(1))


def _is_mean_of_rectified(network: torch.nn.Module) -> bool:
    """Whether the features of `network` are the means of maps that are never negative, and nothing follows."""
    pool = getattr(network, "global_pool", None)
    if pool is None:
        return False
    from timm.layers import SelectAdaptivePool2d  # here, because networks of one's own do not need timm

    if not isinstance(pool, SelectAdaptivePool2d) or pool.pool_type not in {"avg", "fast", "fastavg"}:
        return False
    children = list(network.children())
    place = children.index(pool)
    before = [each for each in children[:place] if list(each.parameters())]
    return (
        bool(before)
        and _ends_in_relu(before[-1])
        and not any(list(each.parameters()) for each in children[place + 1 :])
    )


def _ends_in_relu(part: torch.nn.Module) -> bool:
    """Whether a ReLU is the last step of `part`: a norm or a layer after it could make values negative again.

    In a residual block, the shortcut is declared after the ReLU but computed before it.
    """
    last = [name for name, each in part.named_modules() if "activation" in type(each).__module__.rpartition(".")[2]]
    if not last or not isinstance(part.get_submodule(last[-1]), torch.nn.ReLU | torch.nn.ReLU6):
        return False
    block, _, name = last[-1].rpartition(".")
    steps = dict(part.get_submodule(block).named_children())
    following = list(steps)[list(steps).index(name) + 1 :] if name else []
    return not any(list(steps[each].parameters()) for each in following if each != "downsample")


def with_layout(network: torch.nn.Module, version: int = VERSION) -> torch.nn.Module:
    """Add features of this version to `network` if it is a timm network that reduces the resolution stage by stage."""
    stages = getattr(network, "feature_info", [])
    if not hasattr(network, "forward_intermediates") or len(stages) < 2:
        return network
    earlier, last = stages[-2], stages[-1]
    if earlier["reduction"] >= last["reduction"]:
        return network
    return Layout(network, earlier["num_chs"], last["num_chs"] if version > 1 else 0, views=version == VIEWS)
