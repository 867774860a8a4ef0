"""The frozen network under the detector: an image on a canvas becomes feature maps at strides 8, 16 and 32.

It is the network that comes with the installation, so that boxes can be learned anywhere and without a download. Any
network of timm that halves the resolution stage by stage will do as well. It never learns. So the maps of an image are
computed once and kept (`trainer.detection.feature_maps`), and a step of learning costs a thirtieth of what it would.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.embeddings.backbones.feature_blocks import Layout
from trainer.embeddings.backbones.torch_networks import Module, TorchBackbone

SIZE = 320
"""Pixels per side of the canvas."""
STRIDES = (8, 16, 32)
"""Pixels of the canvas per cell of each level."""
AT_ONCE = 2
"""Canvases that go through the network together."""
MOST = 6e4
"""Features are cut at this value, just below the largest of 16 bits."""

Maps = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Features (C, S/stride, S/stride) float16 of one canvas, at each of STRIDES."""


class Pyramid:
    """A frozen network: canvases (B, 3, S, S) uint8 → maps at each of STRIDES. Thread-safe.

    `key` is that of the backbone, and changes with its weights; `channels` are those of each level.
    """

    def __init__(self, backbone: TorchBackbone) -> None:
        """Raises ValueError unless the network has a stage at each of STRIDES."""
        network = backbone.network
        network = network.network if isinstance(network, Layout) else network
        try:
            self.stages, self.channels = stages_of(network)
        except ValueError as error:
            raise ValueError(f"the network {backbone.name!r} {error}") from None
        self.size = backbone.input_size
        if self.size % STRIDES[-1]:
            raise ValueError(f"the canvas must be a multiple of {STRIDES[-1]} pixels")
        self.backbone = backbone
        self.key = backbone.key
        self.device = backbone.device
        self.background = background_of(backbone.mean)
        self.network = network
        self._mean = torch.tensor(backbone.mean, device=self.device).view(3, 1, 1) * 255
        self._std = torch.tensor(backbone.std, device=self.device).view(3, 1, 1) * 255

    def maps(self, canvases: NDArray[np.uint8]) -> list[Maps]:
        """The maps of canvases (B, 3, S, S), on the CPU. A few at a time: eight at once would need
        150 MB more, and are no quicker on one core."""
        found: list[Maps] = []
        with torch.inference_mode():
            for start in range(0, len(canvases), AT_ONCE):
                pixels = torch.from_numpy(canvases[start : start + AT_ONCE]).to(self.device).float()
                pixels = pixels.sub_(self._mean).div_(self._std).contiguous(memory_format=torch.channels_last)
                levels = self.network.forward_intermediates(  # type: ignore[operator]
                    pixels, indices=self.stages, intermediates_only=True
                )
                low, middle, high = (level.clamp(-MOST, MOST).half().cpu().contiguous() for level in levels)
                found += zip(low, middle, high, strict=True)
        return found


def installed_pyramid(folder: Path, *, size: int = SIZE, device: torch.device | None = None) -> Pyramid:
    """The network that comes with the installation, its weights prepared in `folder`. Raises NotInstalledError."""
    from trainer.embeddings.backbones import installed, timm_networks

    file = installed.weights(folder)
    network = timm_networks.create(installed.NAME, timm_networks.config_of("backbone", installed.NAME), size)
    timm_networks.load_weights(network, file, repr(installed.NAME))
    return Pyramid(
        TorchBackbone(
            installed.NAME,
            network,
            input_size=size,
            mean=installed.HALF,
            std=installed.HALF,
            device=device if device is not None else torch.device("cpu"),
            weights="installed",
        )
    )


def stages_of(network: Module) -> tuple[list[int], tuple[int, ...]]:
    """The deepest stage at each of STRIDES, and their channels. Raises ValueError, as a part of a sentence."""
    network = network.network if isinstance(network, Layout) else network
    told: list[dict[str, Any]] = list(getattr(network, "feature_info", []))
    reductions = [each["reduction"] for each in told]
    if not hasattr(network, "forward_intermediates") or not set(STRIDES) <= set(reductions):
        raise ValueError("has no feature maps at strides 8, 16 and 32")
    stages = [len(reductions) - 1 - reductions[::-1].index(stride) for stride in STRIDES]
    return stages, tuple(int(told[stage]["num_chs"]) for stage in stages)


def background_of(mean: Sequence[float]) -> tuple[int, int, int]:
    """The colour of a canvas where there is no image: that which the network sees as zero."""
    red, green, blue = (round(each * 255) for each in mean)
    return red, green, blue
