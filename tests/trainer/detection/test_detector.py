"""The detector learns, continues to learn, and finds boxes in pixels of the upright original."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.trainer.detection.squares import BLUE, COLOURS, RED, Album, overlap
from trainer.detection.detector import Detector, Example
from trainer.detection.learning import fit


def found_share(detector, maps, examples):
    """Share of the boxes that are found, and of the findings that are boxes."""
    right = wanted = given = 0
    for example in examples:
        found = detector.detect(maps.plain(example.sha256)).above(0.6)
        given, wanted = given + len(found), wanted + len(example.boxes)
        for box, label in zip(example.boxes, example.labels, strict=True):
            right += any(label == k and overlap(box, b) >= 0.5 for b, k in zip(found.boxes, found.classes, strict=True))
    return right / wanted, right / max(given, 1)


def test_the_same_examples_and_seed_give_the_same_detector(tmp_path):
    album = Album()
    maps = album.maps(tmp_path)
    examples = [album.squares(seed) for seed in range(3)]

    def twice(seed):
        return fit(examples, maps, previous=fit(examples, maps, steps=3, seed=seed), steps=3, seed=seed)

    first, second, other = twice(1), twice(1), twice(2)
    assert all(first.weights[name].equal(second.weights[name]) for name in first.weights)
    assert not all(first.weights[name].equal(other.weights[name]) for name in first.weights)


def test_it_stops_when_asked_and_leaves_the_earlier_detector_alone(tmp_path):
    album = Album()
    maps = album.maps(tmp_path)
    examples = [album.squares(seed) for seed in range(3)]
    before = fit(examples, maps, steps=2)
    kept = {name: each.clone() for name, each in before.weights.items()}
    asked = iter([False, True])
    after = fit(examples, maps, previous=before.with_threshold(0.3), steps=100, should_stop=lambda: next(asked))
    assert after.steps == 3
    assert after.threshold == pytest.approx(0.3)
    assert all(before.weights[name].equal(each) for name, each in kept.items())


def test_without_boxes_nothing_is_learned_and_deleted_classes_disappear(tmp_path):
    album = Album()
    maps = album.maps(tmp_path)
    with pytest.raises(ValueError, match="at least one box"):
        fit([album.squares(0, most=0)], maps, steps=1)
    both = [album.squares(seed, classes=(RED, BLUE)) for seed in range(3)]
    detector = fit(both, maps, steps=2)
    assert fit(both, maps, previous=detector, steps=2, classes=[RED, 99]).classes.tolist() == [RED]


def test_an_image_that_cannot_be_read_is_left_out(tmp_path, caplog):
    album = Album()
    maps = album.maps(tmp_path)
    good, bad = album.squares(0), album.squares(1)
    album.files[bad.sha256] = b"no image"
    assert fit([good, bad], maps, steps=2).steps == 2
    assert "Skipped" in caplog.text
    assert fit([bad], maps, steps=2).steps == 0


def test_it_is_the_same_after_it_was_saved(tmp_path):
    album = Album()
    maps = album.maps(tmp_path)
    examples = [album.squares(seed) for seed in range(2)]
    detector = fit(examples, maps, steps=5).with_threshold(0.25)
    loaded = Detector.of_tensors(
        detector.to_tensors(), channels=detector.channels, size=detector.size, pyramid=detector.pyramid
    )
    view = maps.plain(examples[0].sha256)
    one, other = detector.detect(view), loaded.detect(view)
    assert one.scores.tolist() == other.scores.tolist()
    assert loaded.threshold == detector.threshold
    assert fit(examples, maps, previous=loaded, steps=1).steps == 1


def test_arrays_of_another_head_are_refused(tmp_path):
    album = Album()
    maps = album.maps(tmp_path)
    detector = fit([album.squares(0)], maps, steps=1)
    how = {"channels": detector.channels, "size": detector.size, "pyramid": detector.pyramid}
    tensors = detector.to_tensors()
    del tensors["head.levels.0.0.weight"]
    with pytest.raises(ValueError, match="another structure"):
        Detector.of_tensors(tensors, **how)
    wider = detector.to_tensors()
    wider["head.scores.bias"] = np.zeros(2, np.float32)
    with pytest.raises(ValueError, match="another structure"):
        Detector.of_tensors(wider, **how)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """An album, its maps, red examples, and a detector that knows red squares."""
    album = Album()
    maps = album.maps(tmp_path_factory.mktemp("maps"))
    examples = [*(album.squares(seed) for seed in range(6)), album.squares(50, most=0)]
    return album, maps, examples, fit(examples, maps, steps=120)


def test_it_finds_squares_in_new_pictures(learned):
    album, maps, _, detector = learned
    assert detector.classes.tolist() == [RED]
    recall, precision = found_share(detector, maps, [album.squares(seed) for seed in range(100, 106)])
    assert recall >= 0.7
    assert precision >= 0.7
    assert len(detector.detect(maps.plain(album.squares(51, most=0).sha256)).above(0.6)) == 0


def test_several_pictures_at_once_give_the_boxes_of_each(learned):
    album, maps, _, detector = learned
    assert detector.fine_edges is not None  # it looks at as many boxes in each as in the fullest
    views = [maps.plain(album.squares(seed, most=seed % 3).sha256) for seed in range(100, 104)]
    for together, alone in zip(detector.detect_all(views), map(detector.detect, views), strict=True):
        together, alone = together.above(0.1), alone.above(0.1)
        assert together.scores == pytest.approx(alone.scores, abs=1e-3)
        assert together.boxes == pytest.approx(alone.boxes, abs=0.1)
    assert detector.detect_all([]) == []


def test_it_goes_on_with_another_class(learned):
    album, maps, examples, detector = learned
    new = [album.squares(seed, classes=(RED, BLUE)) for seed in range(110, 116)]
    both = [*examples, *(album.squares(seed, classes=(RED, BLUE)) for seed in range(10, 16))]
    grown = fit(both, maps, previous=detector, steps=0)
    assert grown.classes.tolist() == [BLUE, RED]  # ascending ids
    before, after = (each.detect(maps.plain(new[0].sha256)) for each in (detector, grown))
    known, unknown = (after.only(after.classes == each) for each in (RED, BLUE))
    assert known.boxes == pytest.approx(before.boxes, abs=0.1)  # nothing is forgotten
    assert known.scores == pytest.approx(before.scores, abs=0.01)
    assert unknown.scores.max(initial=0) < 0.1  # the new class finds nothing yet
    grown = fit(both, maps, previous=detector, steps=160)
    assert grown.steps == 280
    recall, precision = found_share(grown, maps, new)
    assert recall >= 0.7
    assert precision >= 0.6


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_boxes_are_those_of_the_upright_original(learned, orientation):
    """The square is wherever the viewer sees it, in a JPEG that is stored turned and decoded at reduced scale."""
    album, maps, _, detector = learned
    upright = Image.new("RGB", (1280, 960), (128, 128, 128))
    upright.paste(COLOURS[RED], (200, 500, 560, 860))
    turn = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    stored = upright if turn[orientation] is None else upright.transpose(turn[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = detector.detect(maps.plain(album.add(stored, "JPEG", exif=exif)))
    assert overlap(found.boxes[0], (200, 500, 360, 360)) > 0.5
    assert (found.boxes[:, :2] >= 0).all()
    assert (found.boxes[:, 0] + found.boxes[:, 2] <= 1280.01).all()
    assert (found.boxes[:, 1] + found.boxes[:, 3] <= 960.01).all()


def test_boxes_cut_by_the_edge_and_tiny_boxes_do_no_harm(tmp_path):
    album = Album()
    maps = album.maps(tmp_path)
    example = album.squares(0)
    boxes = np.array([[0, 0, 1, 1], [127, 95, 1, 1], [0, 0, 128, 96]], np.float32)
    detector = fit([Example(example.sha256, boxes, np.array([RED, RED, BLUE]))], maps, steps=3)
    assert all(np.isfinite(each.numpy()).all() for each in detector.weights.values())


def test_training_does_not_continue_from_a_broken_detector(tmp_path):
    album = Album()
    maps = album.maps(tmp_path)
    examples = [album.squares(seed) for seed in range(2)]
    broken = fit(examples, maps, steps=2)
    broken = replace(broken, weights={name: each * np.nan for name, each in broken.weights.items()})
    again = fit(examples, maps, previous=broken, steps=1)
    assert again.steps == 1
    assert all(np.isfinite(each.numpy()).all() for each in again.weights.values())
