import pytest
import torch

from trainer.learners.augment import view


@pytest.fixture
def images() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.rand(64, 3, 16, 16)


def test_views_keep_shape_and_range_and_follow_the_seed(images):
    torch.manual_seed(1)
    first, second = view(images), view(images)
    torch.manual_seed(1)
    assert torch.equal(view(images), first)
    assert (first.shape, first.dtype) == (images.shape, images.dtype)
    assert 0 <= first.min() < first.max() <= 1
    assert (first != second).flatten(1).any(1).all()


def test_each_image_is_changed_in_its_own_way(images):
    same = view(images[:1].expand(64, 3, 16, 16))
    assert len({tuple(image.flatten().tolist()) for image in same}) == 64


def test_about_a_fifth_is_grey_and_half_of_an_uneven_picture_is_mirrored():
    torch.manual_seed(2)
    coloured = torch.tensor([0.9, 0.5, 0.1]).view(1, 3, 1, 1) * torch.ones(500, 3, 8, 8)
    grey = (view(coloured).std(dim=1) < 1e-3).flatten(1).all(1)
    assert 60 < grey.sum() < 140
    slope = torch.linspace(0.2, 0.8, 8).expand(500, 3, 8, 8)  # brighter to the right
    rising = view(slope).mean(dim=(1, 2)).diff(dim=1).sum(dim=1) > 0
    assert 200 < rising.sum() < 300


def test_a_flat_picture_stays_flat(images):
    flat = view(torch.full((50, 3, 8, 8), 0.5))
    assert flat.flatten(2).std(dim=2).max() < 1e-5
