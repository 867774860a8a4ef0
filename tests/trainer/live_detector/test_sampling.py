"""Of very many images, a stable sample is learned that leaves out no rare class."""

import pytest

from trainer.detection.feature_maps import MOST_BYTES, VIEWS
from trainer.detection.pyramid import STRIDES
from trainer.live_detector.canvas import LARGE, USUAL
from trainer.live_detector.sampling import MOST, OF_A_CLASS, most_images, worth_learning

CHANNELS = (40, 112, 320)
"""Channels of the frozen network at each stride. A value takes two bytes."""


def test_all_of_few_images_are_learned():
    assert worth_learning({3: [1], 1: [], 2: [1, 1]}, MOST) == [3, 1, 2]


@pytest.mark.parametrize("size", [USUAL, LARGE])
def test_the_views_of_all_images_that_are_learned_are_kept(size):
    view = 2 * sum(count * (size // stride) ** 2 for count, stride in zip(CHANNELS, STRIDES, strict=True))
    assert 0.8 * MOST_BYTES < most_images(size) * VIEWS * view < MOST_BYTES


def test_a_rare_class_is_kept_and_the_choice_is_stable():
    images = {image: [1] if image % 500 else [1, 2] for image in range(20_000)}  # 40 images of class 2
    chosen = worth_learning(images, 300)
    assert len(chosen) == 300
    assert sum(2 in images[image] for image in chosen) == 40 < OF_A_CLASS
    assert chosen == worth_learning(images, 300) == sorted(chosen)
    more = worth_learning({**images, 20_000: [1], 20_001: []}, 300)
    assert len(set(chosen) - set(more)) <= 2
