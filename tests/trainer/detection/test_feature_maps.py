"""Feature maps are computed once, bounded on disk, and computed again when they are missing or damaged."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shared.images.opening import ImageProblem
from tests.trainer.detection.squares import LIMITS, RED, Album, tiny_pyramid
from trainer.detection.feature_maps import VIEWS, FeatureMaps
from trainer.detection.placement import Placement
from trainer.detection.pyramid import Pyramid, installed_pyramid
from trainer.embeddings.backbones.torch_networks import TorchBackbone


def test_maps_are_computed_once_and_the_views_contain_the_plain_one(tmp_path):
    album = Album()
    maps = album.maps(tmp_path)
    sha256 = album.squares(0).sha256
    plain = maps.plain(sha256)
    assert [tuple(each.shape) for each in plain.maps] == [(16, 8, 8), (16, 4, 4), (16, 2, 2)]
    assert (maps.has_plain(sha256), maps.has_views(sha256)) == (True, False)
    views = [maps.view(sha256, number) for number in range(VIEWS)]
    assert len(album.fetched) == 2
    assert (maps.has_plain(sha256), maps.has_views(sha256)) == (True, True)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1
    assert all(one.equal(other) for one, other in zip(plain.maps, views[0].maps, strict=True))
    assert len({view.placement for view in views}) == VIEWS
    again = album.maps(tmp_path)  # after a restart
    assert again.view(sha256, 3).placement == views[3].placement
    assert len(album.fetched) == 2


def test_a_damaged_file_is_computed_again(tmp_path):
    album = Album()
    maps = album.maps(tmp_path)
    sha256 = album.squares(0).sha256
    before = maps.plain(sha256)
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:100])
    after = maps.plain(sha256)
    assert before.maps[0].equal(after.maps[0])
    assert len(album.fetched) == 2
    path.write_bytes(bytes(path.stat().st_size))
    counted = maps._bytes
    maps.plain(sha256)
    assert maps._bytes == counted  # not counted twice


def test_the_folder_is_bounded_and_the_oldest_go_first(tmp_path):
    album = Album()
    measure = album.maps(tmp_path / "one")
    measure.plain(album.squares(0).sha256)
    (path,) = (tmp_path / "one").rglob("*.safetensors")
    most = 4 * path.stat().st_size
    maps = album.maps(tmp_path / "many", most_bytes=most)
    shas = [album.squares(seed).sha256 for seed in range(1, 9)]
    for sha256 in shas:
        maps.plain(sha256)
        assert sum(each.stat().st_size for each in (tmp_path / "many").rglob("*.safetensors")) <= most
    assert maps.has_plain(shas[-1])
    assert not maps.has_plain(shas[0])
    assert maps.plain(shas[0]).maps[0].shape == (16, 8, 8)
    maps.forget({shas[0]})
    assert [maps.has_plain(sha256) for sha256 in (shas[0], shas[-1])] == [True, False]


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "I;16"])
def test_images_of_any_mode(tmp_path, mode):
    album = Album()
    image = Image.new("I;16", (50, 40), 900) if mode == "I;16" else Image.new("RGB", (50, 40), "red").convert(mode)
    sha256 = album.add(image, "JPEG" if mode == "CMYK" else "PNG")
    assert np.isfinite(album.maps(tmp_path).plain(sha256).maps[0].float().numpy()).all()


def test_an_unreadable_image_is_reported(tmp_path):
    album = Album()
    sha256 = album.squares(0).sha256
    album.files[sha256] = b"no image"
    with pytest.raises(ImageProblem, match="is not an image"):
        album.maps(tmp_path).plain(sha256)
    assert not list(tmp_path.rglob("*.safetensors"))


@given(
    width=st.integers(1, 5_000),
    height=st.integers(1, 5_000),
    seed=st.integers(0, 999),
    part=st.tuples(*[st.floats(0.1, 0.45)] * 2, *[st.floats(0.05, 0.5)] * 2),
)
def test_boxes_are_placed_on_the_canvas_and_mapped_back(width, height, seed, part):
    box = np.array([[part[0] * width, part[1] * height, part[2] * width, part[3] * height]], np.float32)
    for placement in (
        Placement.letterbox(width, height, 320),
        Placement.drawn(width, height, 320, np.random.default_rng(seed)),
    ):
        assert Placement.of_numbers(np.array(placement.numbers())) == placement
        corners, visible = placement.onto_canvas(box)
        assert (corners >= 0).all()
        assert (corners <= 320).all()
        inside = (corners > 0).all() and (corners < 320).all()
        assert visible[0] or not inside or min(corners[0, 2:] - corners[0, :2]) < 2
        if inside:
            assert np.allclose(placement.onto_original(corners), box, atol=0.01 * max(width, height))


@pytest.mark.parametrize("seed", range(6))
def test_a_view_shows_the_square_where_the_box_says(seed):
    image = Image.new("RGB", (300, 200), "black")
    image.paste("white", (60, 50, 160, 150))
    placement = Placement.drawn(300, 200, 320, np.random.default_rng(seed))
    shown = np.asarray(placement.paint(image, (0, 0, 0)))[..., 0] > 127
    y, x = np.nonzero(shown)
    (corners,), _ = placement.onto_canvas(np.array([[60, 50, 100, 100]], np.float32))
    assert np.abs(np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) - corners).max() <= 2.5


def test_the_network_that_comes_with_the_installation(tmp_path):
    album = Album()
    pyramid = installed_pyramid(tmp_path, size=96)
    maps = FeatureMaps(tmp_path / "maps", pyramid, LIMITS, album.fetch)
    example = album.squares(0, classes=(RED,))
    assert pyramid.channels == (40, 112, 320)
    assert [each.shape[0] for each in maps.plain(example.sha256).maps] == [40, 112, 320]
    assert pyramid.key == installed_pyramid(tmp_path, size=96).key != tiny_pyramid().key


def test_a_network_without_these_levels_is_refused():
    flat = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    zero, one, cpu = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), torch.device("cpu")
    with pytest.raises(ValueError, match="no feature maps at strides 8, 16 and 32"):
        Pyramid(TorchBackbone("flat", flat, input_size=64, mean=zero, std=one, device=cpu))
