"""Networks in 16 bits give the same vectors apart from rounding, or are not used."""

import pytest
import timm
import torch
from torch import nn

from trainer.embeddings.backbones.feature_blocks import Layout, with_layout
from trainer.gpu.half import Autocast, Half, in_half

MEAN, SCALE = torch.full((3, 1, 1), 127.5), torch.full((3, 1, 1), 1 / 127.5)
NOISE = torch.randint(0, 256, (4, 3, 64, 64), generator=torch.Generator().manual_seed(1))


def drawn(name: str) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = timm.create_model(name, num_classes=0)
    return with_layout(network).eval().requires_grad_(False)


@pytest.mark.parametrize(("dtype", "most"), [(torch.float16, 0.01), (torch.bfloat16, 0.05)])
@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "test_vit"])
def test_the_vectors_differ_by_rounding_and_the_network_itself_keeps_its_weights(
    name: str, dtype: torch.dtype, most: float
) -> None:
    network = timm.create_model(name, num_classes=0, img_size=64) if "vit" in name else drawn(name)
    network = network.eval().requires_grad_(False)
    half = in_half(network, MEAN, SCALE, 64, [dtype])
    assert isinstance(half, Half)
    inputs = (NOISE - MEAN) * SCALE
    with torch.inference_mode():
        found, wanted = half(inputs), network(inputs)
    assert found.dtype == torch.float32
    assert 0 < float((found - wanted).norm() / wanted.norm()) < most
    assert {each.dtype for each in network.parameters()} == {torch.float32}


def test_statistics_of_batches_and_the_projection_of_the_layout_stay_in_float32() -> None:
    half = in_half(drawn("tf_efficientnet_lite0"), MEAN, SCALE, 64, [torch.bfloat16])
    assert isinstance(half, Half)
    layout = half.network
    assert isinstance(layout, Layout)
    assert layout.mixing is not None
    assert layout.mixing.dtype == torch.float32
    kept = {type(each) for each in half.modules() for p in each.parameters(recurse=False) if p.dtype == torch.float32}
    assert kept
    assert all(issubclass(each, nn.BatchNorm2d) for each in kept)


class Sensitive(nn.Module):
    """Small differences between large numbers, which 8 bits do not tell apart."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images.mean(dim=(2, 3)) + 1_000.0) @ torch.eye(3, dtype=images.dtype) - 1_000.0


class Only32(nn.Module):
    """A network of a user that names its type."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 8, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layer(images.float()).mean(dim=(2, 3)).float()
        return found


def test_a_network_whose_vectors_would_differ_runs_in_float32(caplog: pytest.LogCaptureFixture) -> None:
    network = Sensitive()
    assert in_half(network, MEAN, SCALE, 16, [torch.bfloat16]) is network
    assert "runs in float32" in caplog.text


def test_a_network_that_names_its_type_is_cast_at_each_operation() -> None:
    assert isinstance(in_half(Only32().eval(), MEAN, SCALE, 16, [torch.bfloat16]), Autocast)


def test_a_cpu_computes_in_float32() -> None:
    network = Only32()
    assert in_half(network, MEAN, SCALE, 16) is network


class Large(nn.Module):
    """A network whose numbers only bfloat16 and float32 can hold."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images.mean(dim=(2, 3)) + 2) * 100_000.0 / 50_000.0 * 50_000.0


def test_a_network_that_overflows_in_float16_gets_bfloat16() -> None:
    half = in_half(Large(), MEAN, SCALE, 16, [torch.float16, torch.bfloat16])
    assert isinstance(half, Half)
    assert half.dtype == torch.bfloat16
