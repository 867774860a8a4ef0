"""Any number of images goes through in batches, which shrink if the memory runs out."""

import numpy as np
import pytest
import torch
from torch import nn

from trainer.gpu.runner import Runner

MEAN, SCALE = torch.zeros(3, 1, 1), torch.ones(3, 1, 1)
IMAGES = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8), dtype=np.uint8)


class Small(nn.Module):
    """The mean colour, on a device that has room for `room` images."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.seen: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(images))
        if len(images) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return images.mean(dim=(2, 3))


def runner(network: nn.Module, at_once: int = 8) -> Runner:
    return Runner(network, MEAN, SCALE, 8, torch.device("cpu"), at_once=at_once)


def test_all_images_get_their_vector_in_order_in_batches() -> None:
    network = Small(100)
    found = runner(network).vectors(list(IMAGES))
    np.testing.assert_allclose(found, IMAGES.mean(axis=(2, 3)), rtol=1e-6)
    assert network.seen == [8, 8, 4]


def test_the_batch_is_halved_when_the_memory_runs_out_and_stays_so() -> None:
    network = Small(3)
    small = runner(network)
    np.testing.assert_allclose(small.vectors(IMAGES), IMAGES.mean(axis=(2, 3)), rtol=1e-6)
    assert network.seen == [8, 4, *[2] * 10]
    small.vectors(IMAGES[:3])
    assert network.seen[12:] == [2, 1]


def test_an_image_that_does_not_fit_alone_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        runner(Small(0)).vectors(IMAGES)


def test_another_error_is_no_reason_to_try_again() -> None:
    class Wrong(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="multiplied"):
        runner(Wrong()).vectors(IMAGES)


def test_a_batch_has_one_of_few_sizes_and_its_padding_gets_no_vector() -> None:
    network = Small(100)
    found = runner(network, at_once=16).vectors(IMAGES[:19])
    np.testing.assert_allclose(found, IMAGES[:19].mean(axis=(2, 3)), rtol=1e-6)
    assert network.seen == [16, 4]


def test_what_overflows_in_16_bits_is_computed_again() -> None:
    class Overflows(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            found = images.mean(dim=(2, 3))
            return torch.where(found[:, :1] > 140, torch.inf, found)

    exact = Small(1)
    small = Runner(Overflows(), MEAN, SCALE, 8, torch.device("cpu"), at_once=8, exact=exact)
    wanted = IMAGES.mean(axis=(2, 3))
    np.testing.assert_allclose(small.vectors(IMAGES), wanted, rtol=1e-6)
    assert len(exact.seen) == (wanted[:, 0] > 140).sum() > 0
