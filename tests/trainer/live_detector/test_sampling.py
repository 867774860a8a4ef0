"""Of very many images, a stable sample is learned that leaves out no rare class."""

from trainer.live_detector.sampling import OF_A_CLASS, worth_learning


def test_all_of_few_images_are_learned():
    assert worth_learning({3: [1], 1: [], 2: [1, 1]}) == [3, 1, 2]


def test_a_rare_class_is_kept_and_the_choice_is_stable():
    images = {image: [1] if image % 500 else [1, 2] for image in range(20_000)}  # 40 images of class 2
    chosen = worth_learning(images, 300)
    assert len(chosen) == 300
    assert sum(2 in images[image] for image in chosen) == 40 < OF_A_CLASS
    assert chosen == worth_learning(images, 300) == sorted(chosen)
    more = worth_learning({**images, 20_000: [1], 20_001: []}, 300)
    assert len(set(chosen) - set(more)) <= 2
