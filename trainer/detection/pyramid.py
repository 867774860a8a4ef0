"""The frozen network under the detector: it turns an image on a canvas into feature maps at strides 8, 16 and 32.

It is the network that Flywheel installs, so the detector works everywhere without a download. Any timm network that
halves the resolution stage by stage works too. Its weights never change. So the maps of an image are computed once and
kept (`trainer.detection.feature_maps`), and a training step costs a thirtieth of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.embeddings.backbones.compiled import Compiled, Part
from trainer.embeddings.backbones.feature_blocks import Layout
from trainer.embeddings.backbones.torch_networks import Module, TorchBackbone, compiled_part

SIZE = 320
"""Side of the canvas in pixels."""
STRIDES = (8, 16, 32)
"""Stride of each level: pixels of the canvas per cell."""
AT_ONCE = 2
"""Number of canvases per forward pass."""
MOST = 6e4
"""Upper limit for features, just below the largest float16 value."""

Maps = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Features (C, S/stride, S/stride) float16 of one canvas, at each of STRIDES."""


class Pyramid:
    """A frozen network: canvases (B, 3, S, S) uint8 → maps at each of STRIDES. Thread-safe.

    `key` identifies the backbone and changes with its weights. `channels` are the channel counts of the levels.
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
        self.compiled: Compiled | None = None  # from `compile_in` on, if the network can be compiled

    def compile_in(self, folder: Path) -> None:
        """Let the network be compiled, if it can be. `folder` is as for `Compiled`."""
        if self.backbone.compilable:
            part = Part(self.backbone.name, self.size, "stages", tuple(self.stages))
            self.compiled = compiled_part(self._levels, self.network, part, folder)

    def maps(self, canvases: NDArray[np.uint8]) -> list[Maps]:
        """Compute the maps of canvases (B, 3, S, S). The result is on the CPU. Canvases go through in small chunks:
        eight at once would need 150 MB more and are no faster on one core.
        """
        found: list[Maps] = []
        with torch.inference_mode():
            for start in range(0, len(canvases), AT_ONCE):
                pixels = torch.from_numpy(canvases[start : start + AT_ONCE]).to(self.device).float()
                found += self._of(pixels.sub_(self._mean).div_(self._std))
        return found

    def _of(self, pixels: torch.Tensor) -> list[Maps]:
        each = self._levels(pixels) if self.compiled is None else self.compiled(pixels)
        low, middle, high = (level.clamp(-MOST, MOST).half().cpu().contiguous() for level in each)
        return list(zip(low, middle, high, strict=True))

    def _levels(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return levels(self.network, self.stages, pixels.contiguous(memory_format=torch.channels_last))


def installed_pyramid(folder: Path, *, size: int = SIZE, device: torch.device | None = None) -> Pyramid:
    """The network that Flywheel installs, with its weights prepared in `folder`. Raises NotInstalledError."""
    from trainer.embeddings.backbones import installed, timm_networks

    file = installed.weights(folder)
    network = timm_networks.create(installed.NAME, timm_networks.config_of("backbone", installed.NAME), size)
    timm_networks.load_weights(network, file, repr(installed.NAME))
    pyramid = Pyramid(
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
    pyramid.compile_in(folder)
    return pyramid


def levels(network: Module, stages: Sequence[int], images: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The maps (B, C, h, w) of these stages of a timm network."""
    found: list[torch.Tensor] = network.forward_intermediates(  # type: ignore[operator]
        images, indices=list(stages), intermediates_only=True
    )
    return tuple(found)


def stages_of(network: Module) -> tuple[list[int], tuple[int, ...]]:
    """The deepest stage at each of STRIDES, and their channel counts.

    Raises ValueError with the end of a sentence whose subject is the network.
    """
    network = network.network if isinstance(network, Layout) else network
    told: list[dict[str, Any]] = list(getattr(network, "feature_info", []))
    reductions = [each["reduction"] for each in told]
    if not hasattr(network, "forward_intermediates") or not set(STRIDES) <= set(reductions):
        raise ValueError("has no feature maps at strides 8, 16 and 32")
    stages = [len(reductions) - 1 - reductions[::-1].index(stride) for stride in STRIDES]
    return stages, tuple(int(told[stage]["num_chs"]) for stage in stages)


def background_of(mean: Sequence[float]) -> tuple[int, int, int]:
    """The colour of the canvas outside the image: the one that normalises to zero."""
    red, green, blue = (round(each * 255) for each in mean)
    return red, green, blue
