import numpy as np
import pytest
import timm
import torch

from trainer.embeddings.backbones.feature_blocks import GRID, WIDTH, Layout, with_layout

STAGED = ("test_efficientnet", "test_resnet", "test_convnext")


def photos(seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", STAGED)
def test_network_features_come_first_then_the_layout_with_equal_weight(name: str) -> None:
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=0).eval()
    both = with_layout(network)
    with torch.inference_mode():
        own, joined = network(photos()), both(photos())
    width = own.shape[1]
    assert joined.shape[1] > width
    torch.testing.assert_close(joined[:, :width], torch.nn.functional.normalize(own), rtol=1e-4, atol=1e-5)
    assert both.blocks(joined.shape[1]) == (width, joined.shape[1] - width)
    assert joined[:, width:].norm(dim=1).numpy() == pytest.approx(1, abs=0.15)  # mixed at random: nearly one


def test_moving_things_changes_the_layout() -> None:
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=0).eval()
    both = with_layout(network)
    picture = torch.zeros(1, 3, 160, 160)
    picture[:, :, :40] = 1
    with torch.inference_mode():
        upright, upside_down = both(torch.cat([picture, picture.flip(2)]))[:, -WIDTH:]
    assert float(upright @ upside_down / (upright.norm() * upside_down.norm())) < 0.99


def test_few_values_are_kept_as_they_are() -> None:
    network = timm.create_model("mobilenetv2_035", num_classes=0).eval()
    few = 32 * GRID * GRID  # channels of the stage before the last
    assert few <= WIDTH
    with torch.inference_mode():
        layout = with_layout(network)(photos())[:, network.num_features :]
    assert layout.shape == (2, few)
    np.testing.assert_allclose(layout.norm(dim=1), 1, rtol=1e-5)


def test_the_mixing_is_the_same_at_every_start() -> None:
    first, second = (Layout(torch.nn.Identity(), 96).state_dict() for _ in range(2))
    torch.testing.assert_close(first["mixing"], second["mixing"], rtol=0, atol=0)


def test_a_transformer_and_a_network_of_one_s_own_are_left_as_they_are() -> None:
    for network in (timm.create_model("test_vit", num_classes=0), torch.nn.Flatten()):
        assert with_layout(network) is network
