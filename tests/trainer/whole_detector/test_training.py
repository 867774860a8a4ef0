"""A whole detector learns squares, goes on after a kill, and makes do with less memory."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.trainer.detection.squares import BLUE, LIMITS, RED, Album, overlap
from trainer.detection.detections import pick
from trainer.whole_detector import views
from trainer.whole_detector.networks import built
from trainer.whole_detector.training import Plan, train

IDS = (BLUE, RED)
GREY = (128, 128, 128)
PLAN = Plan(epochs=30, batch_size=4, learning_rate=5e-3, flip=True, seed=0, pretrained=False)


@pytest.fixture(scope="module")
def squares():
    """Twelve pictures of red and blue squares, of which one cannot be read, and an album of them."""
    album = Album()
    examples = [album.squares(seed, classes=(RED, BLUE)) for seed in range(12)]
    columns = {class_id: place for place, class_id in enumerate(IDS)}
    return examples, views.Album(album.fetch, LIMITS, 64, GREY, columns)


def fresh():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return built("test_resnet", 64, 2, [0.5] * 3, [0.25] * 3)


def learned(network, squares, tmp_path, plan=PLAN, **more):
    examples, album = squares
    counts = [sum(int((each.labels == class_id).sum()) for each in examples) for class_id in IDS]
    more = {"judge": None, "checkpoint": tmp_path / "checkpoint", "device": torch.device("cpu"), **more}
    return train(network, album, examples, plan, counts=counts, **more)


def test_it_finds_what_was_drawn(squares, tmp_path):
    network, steps = fresh(), []
    done = learned(network, squares, tmp_path, on_step=steps.append)
    assert (done.epoch, done.best_epoch) == (30, 30)
    assert [each.done for each in steps] == list(range(1, 91))
    assert done.history[-1]["train_loss"] < 0.6 * done.history[0]["train_loss"]
    examples, album = squares
    hits = 0
    for example in examples:
        canvas, placement = album.plain(example.sha256)
        with torch.inference_mode():
            scores, corners = network(torch.from_numpy(canvas[None]))
        found = pick(scores[0], corners[0], np.array(IDS), placement)
        for box, label in zip(example.boxes, example.labels, strict=True):
            best = [k for k, each in enumerate(found.boxes) if overlap(box, each) > 0.5]
            hits += bool(best) and found.classes[best[0]] == label
    assert hits > 0.7 * sum(len(each.labels) for each in examples)


def test_a_killed_training_goes_on_and_the_best_epoch_is_kept(squares, tmp_path):
    class KilledError(Exception):
        pass

    def kill(step):
        if step.done == 14:
            raise KilledError

    plan = replace(PLAN, epochs=6)
    with pytest.raises(KilledError):
        learned(fresh(), squares, tmp_path, plan, on_step=kill)
    steps, judged = [], []

    def judge(network):
        assert not network.training
        judged.append({name: each.clone() for name, each in network.state_dict().items()})
        return 0.5 if len(judged) == 1 else 0.1  # the first epoch after the restart is the best

    network = fresh()
    done = learned(network, squares, tmp_path, plan, on_step=steps.append, judge=judge)
    assert steps[0].done == 13  # it repeats the fifth of six epochs, each of three steps, from its start
    assert [row["epoch"] for row in done.history] == [1, 2, 3, 4, 5, 6]
    assert done.best_epoch == 5
    for name, each in network.state_dict().items():
        assert torch.equal(each, judged[0][name])
    (tmp_path / "checkpoint").write_bytes(b"torn")
    with pytest.raises(ValueError, match="delete it to start over"):
        learned(fresh(), squares, tmp_path, plan)


def test_less_memory_means_smaller_batches(squares, tmp_path):
    network = fresh()
    inside = network.loss

    def loss(images, truths, weights):
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inside(images, truths, weights)

    network.loss = loss
    done = learned(network, squares, tmp_path, replace(PLAN, epochs=1))
    assert (done.batch_size, done.notes) == (2, ["Memory ran out, so the batch was reduced to 2 images."])


def test_a_mosaic_shows_parts_of_four_images_with_their_boxes(squares):
    examples, album = squares
    for seed in range(20):
        canvas, corners, columns = album.mosaic(examples[:4], np.random.default_rng(seed), flip=False)
        assert canvas.shape == (3, 64, 64)
        assert len(corners) == len(columns)
        assert corners.size == 0 or (corners.min() >= 0 and corners.max() <= 64)
        for (left, top, right, bottom), column in zip(corners.round().astype(int), columns, strict=True):
            inside = canvas[:, top:bottom, left:right].reshape(3, -1).mean(axis=1)
            assert inside.argmax() == (0 if IDS[column] == RED else 2)  # the box is where its colour is
    again = [album.draw(examples[:1], [3, 1, 4], flip=True)[0] for _ in range(2)]
    assert np.array_equal(*again)


def test_a_training_that_ended_early_does_not_go_on_after_a_kill(squares, tmp_path):
    """It was killed while its result was measured."""
    plan = replace(PLAN, epochs=8, patience=2)
    judged = []

    def judge(_):
        judged.append(1)
        return 0.5 if len(judged) == 1 else 0.1

    done = learned(fresh(), squares, tmp_path, plan, judge=judge)
    ended = "Ended after epoch 3: no improvement for 2 epochs."
    assert (done.epoch, done.best_epoch, done.notes) == (3, 1, [ended])
    steps = []
    again = learned(fresh(), squares, tmp_path, plan, judge=judge, on_step=steps.append)
    assert (steps, again.epoch, again.best_epoch, again.notes) == ([], 3, 1, [ended])


def test_a_batch_without_a_readable_image_is_passed_over(tmp_path):
    pictures = Album()
    examples = [pictures.squares(seed, classes=(RED, BLUE)) for seed in range(4)]
    album = views.Album(pictures.fetch, LIMITS, 64, GREY, {class_id: place for place, class_id in enumerate(IDS)})
    bad, steps = examples[3], []
    pictures.files[bad.sha256] = b"no image"
    plan = replace(PLAN, epochs=2, batch_size=1, mosaic=0)
    done = learned(fresh(), (examples, album), tmp_path, plan, on_step=steps.append)
    assert [each.done for each in steps] == list(range(1, 9))
    assert (done.epoch, done.images) == (2, 6)
    with pytest.raises(ValueError, match="None of the labeled images can be read"):
        learned(fresh(), ([bad] * 4, album), tmp_path / "none", plan)
