"""Runs networks in 16 bits on a GPU: half the memory and several times the speed. The vectors differ by rounding.

A copy of the network has its weights cast once, to float16. With tf_efficientnet_lite0 its vectors of 450 photos were
0.4 % from those in float32, and 99.6 % of the images kept their nearest neighbour; with bfloat16, whose numbers have 8
bits instead of 11, 3.9 % and 96.4 % (docs/measurements/gpu.md). But bfloat16 has the range of float32: it is used if a
network overflows in float16. Statistics of batch normalisation stay in float32. Before a copy is used, it is
compared with the network itself. If every way fails or differs too much, float32 is used, as on a CPU.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from typing import cast

import torch

log = logging.getLogger(__name__)

Module = torch.nn.Module

MATRIX_UNITS, BFLOAT16 = (7, 0), (8, 0)
"""Compute capabilities from which NVIDIA GPUs multiply matrices in float16, and in bfloat16. Older ones emulate it."""
FURTHEST = {torch.float16: 0.02, torch.bfloat16: 0.1}
"""Largest accepted relative difference of the vectors of random images. Rounding alone causes about a fifth of it."""
KEPT = (torch.nn.modules.batchnorm._BatchNorm,)


class Half(Module):
    """A network whose weights are cast to `dtype`: inputs of any type → float32."""

    def __init__(self, network: Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.network = cast_weights(deepcopy(network), dtype)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The network's output in float32."""
        return cast(torch.Tensor, self.network(images.to(self.dtype)).float())


class Autocast(Module):
    """A network whose operations choose between float16 and float32."""

    dtype = torch.float32  # of its inputs

    def __init__(self, network: Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The network's output in float32."""
        with torch.autocast(images.device.type, torch.float16):
            return cast(torch.Tensor, self.network(images).float())


def half_types(device: torch.device) -> tuple[torch.dtype, ...]:
    """The types of 16 bits in which this device computes faster than in float32, the more exact one first."""
    if device.type != "cuda":
        return ()
    capability = torch.cuda.get_device_capability(device)
    if capability >= BFLOAT16:
        return torch.float16, torch.bfloat16
    return (torch.float16,) if capability >= MATRIX_UNITS else ()


def cast_weights(network: Module, dtype: torch.dtype) -> Module:
    """Cast parameters and buffers in place, except those of batch normalisation and of modules that say `in_float32`:
    a network may name its own there.
    """
    for module in network.modules():
        if isinstance(module, KEPT) or getattr(module, "in_float32", False):
            continue
        for parameter in module.parameters(recurse=False):
            parameter.data = parameter.data.to(dtype)
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_floating_point():
                setattr(module, name, buffer.to(dtype))
    return network


def in_half(
    network: Module,
    mean: torch.Tensor,
    scale: torch.Tensor,
    size: int,
    dtypes: Sequence[torch.dtype] | None = None,
) -> Module:
    """`network` in the first of `dtypes` that is close to it on random images (default: as `half_types`), or itself.

    Its inputs are normalised by (images - `mean`) * `scale`, both (3, 1, 1).
    """
    dtypes = half_types(mean.device) if dtypes is None else dtypes
    if not dtypes:
        return network
    draws = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8, generator=draws).to(mean.device)
    ways: list[tuple[torch.dtype, Callable[[], Module]]] = [(each, partial(Half, network, each)) for each in dtypes]
    ways.append((torch.float16, partial(Autocast, network)))
    with torch.inference_mode():
        example = (noise - mean) * scale
        wanted = network(example).float()
        for dtype, way in ways:
            try:
                found = way()
                distance = float((found(example) - wanted).norm() / wanted.norm().clamp(min=1e-12))
            except Exception as error:  # the user's own network may contain what only float32 can do
                log.info("The network does not work in %s (%s).", dtype, str(error).partition("\n")[0])
                continue
            if distance < FURTHEST[dtype]:  # False for NaN
                return found
            log.info("In %s the network's vectors differ by %.1f %%.", dtype, 100 * distance)
    log.warning("The network runs in float32 on the GPU, because in 16 bits its vectors would differ.")
    return network
