"""A slow backbone and a failing strategy, for pages that report them."""

from __future__ import annotations

import time
from typing import NoReturn

import torch

from trainer.strategies import Pool

SECONDS = 0.7  # a batch


class Slow(torch.nn.Module):
    """The mean colour of each image, after a delay."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(n, 3) for images (n, 3, h, w)."""
        time.sleep(SECONDS)
        return images.mean(dim=(2, 3))


def slow() -> torch.nn.Module:
    """The backbone."""
    return Slow()


def failing(pool: Pool, count: int) -> NoReturn:
    """The strategy."""
    raise RuntimeError(f"cannot order {len(pool.candidates)} images")
