import numpy as np
import pytest
import timm
import torch

from trainer.embeddings.backbones.feature_blocks import GRID, LAST_GRID, VIEWS, WIDTHS, Layout, with_layout

STAGED = ("test_efficientnet", "test_resnet", "test_convnext")


def drawn(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    network: torch.nn.Module = timm.create_model(name, num_classes=0).eval()
    return network


def photos(seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("name", STAGED)
def test_network_features_come_first_then_the_layout_with_equal_weight(name: str, version: int) -> None:
    network = drawn(name)
    both = with_layout(network, version)
    with torch.inference_mode():
        own, joined = network(photos()), both(photos())
    width = own.shape[1]
    assert joined.shape[1] > width
    assert joined[:, :width].norm(dim=1).numpy() == pytest.approx(1, abs=1e-5)
    if not (version == 2 and name == "test_resnet"):  # that one has the generalised mean instead
        torch.testing.assert_close(joined[:, :width], torch.nn.functional.normalize(own), rtol=1e-4, atol=1e-5)
    assert both.blocks(joined.shape[1]) == (width, joined.shape[1] - width)
    assert joined[:, width:].norm(dim=1).numpy() == pytest.approx(1, abs=0.15)  # a random projection: nearly one


def test_a_small_thing_counts_more_in_the_generalised_mean() -> None:
    network = drawn("test_resnet")
    maps = torch.zeros(1, 2, 4, 4)  # a channel that is strong in one place, and one with the same mean that is even
    maps[0, 0, 1, 2], maps[0, 1] = 1.6, 0.1
    network.forward_intermediates = lambda images, indices: (maps, (maps, maps))  # type: ignore[assignment]
    with torch.inference_mode():
        one, even = Layout(network, 2, 2)(photos())[0, :2].tolist()
        assert one > 2 * even
        one, even = Layout(network, 2)(photos())[0, :2].tolist()
    assert one == pytest.approx(even)


@pytest.mark.parametrize(
    "name",
    ["test_efficientnet", "test_convnext", "mobilenetv4_conv_small", "starnet_s1", "efficientvit_m0", "shvit_s1"],
)
def test_features_that_can_be_negative_or_go_through_more_layers_are_the_network_s_own(name: str) -> None:
    network = drawn(name)
    with torch.inference_mode():
        own, joined = network(photos()), with_layout(network)(photos())
    torch.testing.assert_close(joined[:, : own.shape[1]], torch.nn.functional.normalize(own), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("version", [1, 2])
def test_moving_things_changes_the_layout(version: int) -> None:
    both = with_layout(drawn("test_resnet"), version)
    picture = torch.zeros(1, 3, 160, 160)
    picture[:, :, :40] = 1
    with torch.inference_mode():
        vectors = both(torch.cat([picture, picture.flip(2)]))
        upright, upside_down = vectors[:, both.blocks(vectors.shape[1])[0] :]
    assert float(upright @ upside_down / (upright.norm() * upside_down.norm())) < 0.99


@pytest.mark.parametrize("name", ["test_resnet", "mobilenetv2_035"])  # a projected layout, and one kept as it is
def test_three_views_of_an_image_and_of_its_mirror_image(name: str) -> None:
    views, single = with_layout(drawn(name), VIEWS), with_layout(drawn(name))
    pictures = photos()
    with torch.inference_mode():
        vectors, mirrored, once = views(pictures), views(pictures.flip(-1)), single(pictures)
    blocks = views.blocks(vectors.shape[1])
    assert sum(blocks) == vectors.shape[1]
    own = single.blocks(once.shape[1])[0]
    assert blocks[0] == 2 * own
    torch.testing.assert_close(vectors[:, :own] * 2**0.5, once[:, :own])  # the image itself comes first
    torch.testing.assert_close(vectors[:, :own], mirrored[:, own : 2 * own], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(vectors[:, own : 2 * own], mirrored[:, :own], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(vectors[:, :own], vectors[:, own : 2 * own], atol=1e-3)  # so the two tell more than one
    for block in vectors.split(blocks, dim=1):
        assert block.norm(dim=1).numpy() == pytest.approx(1, abs=0.15)


def test_only_the_middle_of_an_image_counts_for_the_third_view() -> None:
    views = with_layout(drawn("test_resnet"), VIEWS)
    pictures = photos()
    framed = pictures.clone()
    framed[..., :10, :] = framed[..., -10:, :] = framed[..., :10] = framed[..., -10:] = 0.5
    with torch.inference_mode():
        before, after = views(pictures), views(framed)
    blocks = views.blocks(before.shape[1])
    torch.testing.assert_close(before[:, -blocks[2] :], after[:, -blocks[2] :])
    assert not torch.allclose(before[:, : blocks[0]], after[:, : blocks[0]], atol=1e-3)


def test_few_values_are_kept_as_they_are() -> None:
    network = drawn("mobilenetv2_035")
    channels = 32, 112  # of the last two stages
    few = channels[0] * GRID * GRID + channels[1] * LAST_GRID * LAST_GRID
    assert few <= WIDTHS[2]
    with torch.inference_mode():
        layout = with_layout(network)(photos())[:, network.num_features :]
    assert layout.shape == (2, few)
    np.testing.assert_allclose(layout.norm(dim=1), 1, rtol=1e-5)
    halves = layout.split([channels[0] * GRID * GRID, channels[1] * LAST_GRID * LAST_GRID], dim=1)
    assert [float(half[0].square().sum()) for half in halves] == pytest.approx([0.5, 0.5])  # equal weight


def test_the_mixing_is_the_same_at_every_start() -> None:
    first, second = (Layout(torch.nn.Identity(), 96, 32).state_dict() for _ in range(2))
    torch.testing.assert_close(first["mixing"], second["mixing"], rtol=0, atol=0)


def test_a_transformer_and_a_network_of_one_s_own_are_left_as_they_are() -> None:
    for network in (timm.create_model("test_vit", num_classes=0), torch.nn.Flatten()):
        assert with_layout(network) is network
