from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from trainer.embeddings.backbones.pixels import COMPONENTS, PixelBackbone, preprocessing


def noise(count: int, *, seed: int = 0, size: int = 32) -> list[npt.NDArray[np.uint8]]:
    return list(np.random.default_rng(seed).integers(0, 255, (count, 3, size, size), dtype=np.uint8))


def test_digits_can_be_told_apart_by_their_components() -> None:
    digits = load_digits()
    images = [Image.fromarray((pixels * 255 / 16).astype(np.uint8)).convert("RGB") for pixels in digits.images]
    prepared = [preprocessing(32).cut(image) for image in images]
    train, test = np.arange(1000), np.arange(1000, len(images))
    backbone = PixelBackbone.fit([prepared[i] for i in train], seed=0)
    vectors = backbone.embed(np.stack([backbone.preprocessing.cut(image) for image in images]))
    assert vectors.shape == (len(images), backbone.dim)
    centred = vectors - vectors[train].mean(axis=0)
    rows = 20 * centred / np.linalg.norm(centred, axis=1, keepdims=True)
    head = LogisticRegression(max_iter=500).fit(rows[train], digits.target[train])
    assert head.score(rows[test], digits.target[test]) > 0.9


def test_distances_between_few_images_are_kept_whole() -> None:
    images = np.stack(noise(20, size=8))
    vectors = PixelBackbone.fit(list(images), seed=0).embed(images)
    flat = images.reshape(20, -1) / 255
    expected = np.linalg.norm(flat[:, None] - flat[None], axis=2)
    np.testing.assert_allclose(np.linalg.norm(vectors[:, None] - vectors[None], axis=2), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(("count", "dim"), [(2, 1), (5, 4), (300, COMPONENTS)])
def test_it_can_be_fitted_on_few_images(count: int, dim: int) -> None:
    assert PixelBackbone.fit(noise(count), seed=0).dim == dim


def test_images_that_are_all_alike_give_one_finite_number() -> None:
    image = noise(1)[0]
    backbone = PixelBackbone.fit([image] * 3, seed=0)
    assert backbone.dim == 1
    assert np.isfinite(backbone.embed(np.stack([image]))).all()


def test_it_is_the_same_after_saving_and_another_after_another_fit(tmp_path: Path) -> None:
    backbone = PixelBackbone.fit(noise(10, size=16), seed=0)
    backbone.save(tmp_path / "deep" / "pixels.safetensors")
    again = PixelBackbone.load(tmp_path / "deep" / "pixels.safetensors")
    assert again is not None
    assert (again.key, again.dim, again.input_size) == (backbone.key, backbone.dim, 16)
    batch = np.stack(noise(4, seed=1, size=16))
    np.testing.assert_array_equal(again.embed(batch), backbone.embed(batch))
    assert PixelBackbone.fit(noise(10, seed=2, size=16), seed=0).key != backbone.key


def test_missing_or_incomplete_files_are_fitted_again(tmp_path: Path) -> None:
    path = tmp_path / "pixels.safetensors"
    assert PixelBackbone.load(path) is None
    PixelBackbone.fit(noise(3), seed=0).save(path)
    path.write_bytes(path.read_bytes()[:-100])
    assert PixelBackbone.load(path) is None


def test_the_whole_image_is_seen() -> None:
    wide = Image.new("RGB", (300, 100), "black")
    wide.paste("white", (0, 0, 30, 100))
    prepared = preprocessing(30).cut(wide)
    assert (prepared[:, :, :2] > 200).all()
    assert (prepared[:, :, 5:] < 50).all()
