"""The memory of a GPU: how to notice that it ran out, how to give it back, and how many images fit into it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch takes seconds to import, and comparing images by their pixels needs none of it
    import torch

SHARE = 0.5
"""Share of the free memory that one batch may take: other programs use the GPU too, and so does a challenger."""
TRIED = 8
"""Number of images in the pass that measures the memory per image."""


def out_of_memory(error: Exception) -> bool:
    """Whether an error of torch means that the GPU or the machine is out of memory."""
    said = str(error).lower()  # torch.OutOfMemoryError says so too
    return "out of memory" in said or "can't allocate memory" in said


def images_at_once(run: Callable[[int], object], device: torch.device, most: int) -> int:
    """How many images fit into the free memory of a GPU, a power of two up to `most`. `run` runs that many once.

    Other processes may take the memory later, so that a batch must also be able to shrink.
    """
    import torch

    with torch.cuda.device(device):
        run(1)  # libraries allocate their permanent memory here
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run(TRIED)
        each = max((torch.cuda.max_memory_allocated() - before) / TRIED, 1.0)
        kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()  # by torch, for us
        fitting = int(SHARE * (torch.cuda.mem_get_info()[0] + kept) / each)
    return min(1 << max(fitting, 1).bit_length() - 1, most)


def is_used() -> bool:
    """Whether this process uses an NVIDIA GPU."""
    torch = sys.modules.get("torch")  # without it none is used, and its import takes seconds
    return torch is not None and bool(torch.cuda.is_initialized())


def give_back() -> None:
    """Return memory that torch keeps for later to the GPU, so that other processes can use it."""
    if is_used():
        sys.modules["torch"].cuda.empty_cache()
