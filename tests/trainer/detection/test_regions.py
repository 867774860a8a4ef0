"""The class of an object and its edges are read from the frozen features inside its box."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainer.detection.squares import BLUE, RED, Album
from trainer.detection import region_fitting
from trainer.detection.detector import Detector, Example
from trainer.detection.learning import fit
from trainer.detection.region_fitting import fit_classes, fit_edges, fit_tightness
from trainer.detection.regions import (
    RegionClasses,
    RegionEdges,
    RegionFineEdges,
    RegionTightness,
    around,
    fine_lengths,
    inside,
    lengths,
    mirrored,
    refined,
    shapes,
)

CHANNELS = (2, 2, 2)
NEWER = ("regions.", "edges.", "tightness.", "fine_edges.")
"""Arrays that versions of earlier releases lack."""


def levels(image: torch.Tensor) -> list[torch.Tensor]:
    """Levels (1, 2, S/stride, S/stride) of a canvas (1, 2, S, S)."""
    return [torch.nn.functional.avg_pool2d(image, stride) for stride in (8, 16, 32)]


def test_the_features_of_a_box_do_not_depend_on_its_place_and_size() -> None:
    canvas = torch.zeros(1, 2, 192, 192)
    for x, side in ((0, 64), (64, 128)):  # left half: first colour; upper half: second colour
        canvas[0, 0, x : x + side, x : x + side // 2] = 1
        canvas[0, 1, x : x + side // 2, x : x + side] = 1
    corners = torch.tensor([[[0.0, 0, 64, 64], [64, 64, 192, 192]]])
    small, large = inside(levels(canvas), corners, 192)[0].split(list(lengths(CHANNELS)), dim=-1)[0]
    assert small.tolist() == pytest.approx(large.tolist())
    cells = small.reshape(2, 4, 4)
    assert (cells[0, :, 0] == 1).all()
    assert (cells[0, :, -1] == 0).all()
    assert (cells[1, 0] == 1).all()


def test_mirrored_features_are_those_of_the_mirrored_picture() -> None:
    canvas = torch.rand(1, 2, 64, 64, generator=torch.Generator().manual_seed(0))
    corners = torch.tensor([[[8.0, 0, 40, 64]]])
    turned = inside(levels(canvas.flip(-1)), torch.tensor([[[24.0, 0, 56, 64]]]), 64)[0]
    assert torch.allclose(mirrored(turned, CHANNELS), inside(levels(canvas), corners, 64)[0], atol=1e-6)


def test_the_classes_share_the_score_of_the_object() -> None:
    count = shapes(lengths(CHANNELS), 2)["mean"][0]
    tensors = {"mean": torch.zeros(count), "scale": torch.ones(count)}
    tensors |= {"weight": torch.zeros(count, 2), "bias": torch.tensor([0.0, 5.0])}
    logits, corners = torch.tensor([[[0.0, 0.0], [-9.0, -9.0]]]), torch.tensor([[[0.0, 0, 32, 32]] * 2])
    features = inside(levels(torch.ones(1, 2, 64, 64)), corners, 64)
    seen, nothing = RegionClasses(tensors, CHANNELS)(features, logits)[0]
    assert seen.sum().item() == pytest.approx(0.75)  # any of two classes with a score of a half each
    assert seen[1] > 0.7
    assert nothing.max() < 0.001


def test_it_tells_classes_apart_that_a_head_without_training_cannot(tmp_path: Path) -> None:
    album = Album()
    maps = album.maps(tmp_path)
    examples = [album.squares(seed, classes=(RED, BLUE)) for seed in range(4)]
    detector = fit(examples, maps, steps=1)
    assert detector.region_classes is not None
    for seed in range(50, 55):
        new = album.squares(seed, classes=(RED, BLUE))
        view = maps.plain(new.sha256)
        corners, _ = view.placement.onto_canvas(new.boxes)
        features = inside(
            [level[None].float() for level in view.maps], torch.from_numpy(corners)[None], maps.pyramid.size
        )
        scores = detector.region_classes(features, torch.zeros(1, len(corners), 2))[0]
        assert detector.classes[scores.argmax(1).numpy()].tolist() == new.labels.tolist()


def test_one_class_needs_no_classifier_and_an_unreadable_image_is_left_out(tmp_path: Path) -> None:
    album = Album()
    maps = album.maps(tmp_path)
    red, both, bad = album.squares(0), album.squares(1, classes=(RED, BLUE)), album.squares(2, classes=(RED, BLUE))
    assert fit_classes([red], maps, {RED: 0}, 0) is None
    assert fit([red], maps, steps=1).regions is None
    assert fit_classes([Example(red.sha256, red.boxes[:0], red.labels[:0])], maps, {RED: 0, BLUE: 1}, 0) is None
    alone = fit_classes([both], maps, {RED: 0, BLUE: 1}, 0)
    album.files[bad.sha256] = b"no image"
    with_bad = fit_classes([both, bad], maps, {RED: 0, BLUE: 1}, 0)
    assert alone is not None
    assert with_bad is not None
    assert fit_classes([bad], maps, {RED: 0, BLUE: 1}, 0) is None


def test_a_round_on_very_many_boxes_takes_some_of_each_class() -> None:
    labels = np.array([RED] * 50 + [BLUE])
    many = Example("0" * 64, np.tile(np.array([[0, 0, 9, 9]], np.float32), (51, 1)), labels)
    chosen = region_fitting._chosen([many], {RED: 0, BLUE: 1}, seed=0, most=4)
    assert sorted(labels[chosen[0]].tolist()) == [BLUE, RED, RED, RED]


def test_sides_move_by_a_share_of_the_box_but_not_far() -> None:
    features = shapes(lengths(CHANNELS), 4)["mean"][0]
    tensors = {"mean": torch.zeros(features), "scale": torch.ones(features), "weight": torch.zeros(features, 4)}
    edges = RegionEdges(tensors | {"bias": torch.tensor([0.1, -0.1, 9.0, 0.0])}, CHANNELS)
    moved = edges(torch.zeros(1, 1, features), torch.tensor([[[10.0, 20, 50, 40]]]))
    assert moved[0, 0].tolist() == pytest.approx([14, 18, 60, 40])


def test_the_sides_of_a_loose_box_move_to_the_edges_of_its_object(tmp_path: Path) -> None:
    album = Album()
    maps = album.maps(tmp_path)
    squares = [album.squares(seed, classes=(RED, BLUE)) for seed in range(8)]
    tensors, fine_tensors = fit_edges(squares, maps, {RED: 0, BLUE: 1}, 0)
    assert tensors is not None
    assert fine_tensors is not None
    edges, draws = RegionEdges(tensors, maps.pyramid.channels), np.random.default_rng(0)
    fine = RegionFineEdges(fine_tensors, maps.pyramid.channels)
    before, after, at_last = [], [], []
    for seed in range(50, 60):
        new = album.squares(seed, classes=(RED, BLUE))
        view = maps.plain(new.sha256)
        true = torch.from_numpy(view.placement.onto_canvas(new.boxes)[0])[None]
        loose = true + torch.from_numpy(draws.uniform(-3, 3, true.shape).astype(np.float32))
        levels, size = [level[None].float() for level in view.maps], maps.pyramid.size
        moved = edges(inside(levels, loose, size), loose)
        before.append((loose - true).abs().mean().item())
        after.append((moved - true).abs().mean().item())
        at_last.append((fine(around(levels, moved, size), moved) - true).abs().mean().item())
    assert np.mean(after) < 0.8 * np.mean(before)
    assert np.mean(at_last) < 0.9 * np.mean(after)


def test_the_finer_grid_reaches_beyond_the_box() -> None:
    canvas = torch.zeros(1, 2, 320, 320)
    canvas[0, 0, :, 240:] = 1  # white, right of the box
    corners = torch.tensor([[[80.0, 80, 240, 240]]])
    on_finer = around(levels(canvas), corners, 320).reshape(2, 8, 8)
    assert on_finer[0, :, -1].tolist() == pytest.approx([1.0] * 8)
    assert on_finer[0, :, 0].tolist() == pytest.approx([0.0] * 8)
    assert inside(levels(canvas), corners, 320).max() < 0.1


def test_the_finer_grid_only_moves_boxes_that_may_show_an_object() -> None:
    features = shapes(fine_lengths(CHANNELS), 4)["mean"][0]
    tensors = {"mean": torch.zeros(features), "scale": torch.ones(features), "weight": torch.zeros(features, 4)}
    fine = RegionFineEdges(tensors | {"bias": torch.tensor([0.1, -0.1, 9.0, 0.0])}, CHANNELS)
    box = [10.0, 20, 50, 40]
    corners = torch.tensor([[box, box, box], [box, box, box]])
    scores = torch.tensor([[[0.05, 0.05], [0.1, 0.15], [0.9, 0.0]], [[0.0, 0.1], [0.1, 0.0], [0.0, 0.0]]])
    canvas = levels(torch.rand(2, 2, 64, 64, generator=torch.Generator().manual_seed(0)))
    moved = pytest.approx([14, 18, 60, 40])
    assert refined(canvas, scores, corners, 64, fine).tolist() == [[box, moved, moved], [box, box, box]]
    assert refined(canvas, scores, corners, 64, fine, most=1).tolist() == [[box, box, moved], [box, box, box]]


def test_edges_need_two_images_that_can_be_read(tmp_path: Path) -> None:
    album = Album()
    maps = album.maps(tmp_path)
    bad, one, *others = (album.squares(seed) for seed in range(8))
    album.files[bad.sha256] = b"no image"
    assert fit_edges([one], maps, {RED: 0}, 0) == (None, None)
    assert fit_edges([one, bad], maps, {RED: 0}, 0) == (None, None)
    assert None not in fit_edges([one, *others, bad], maps, {RED: 0}, 0)
    nothing = [Example(each.sha256, each.boxes[:0], each.labels[:0]) for each in others]
    assert fit_edges([one, *nothing], maps, {RED: 0}, 0) == (None, None)


def test_boxes_stay_where_they_are_while_left_out_images_show_no_gain(tmp_path: Path) -> None:
    album = Album()
    draws = np.random.default_rng(0)
    anywhere = [
        Example(album.squares(seed).sha256, draws.uniform(20, 60, (2, 4)).astype(np.float32), np.array([RED, RED]))
        for seed in range(2)
    ]
    assert fit_edges(anywhere, album.maps(tmp_path), {RED: 0}, 0) == (None, None)


def test_scores_rise_where_a_box_fits_and_fall_where_it_does_not() -> None:
    features = shapes(lengths(CHANNELS), 1)["mean"][0]
    tensors = {"mean": torch.zeros(features), "scale": torch.ones(features), "weight": torch.zeros(features, 1)}
    logits = torch.tensor([[[0.0, -1.0], [-30.0, -30.0], [30.0, -30.0]]])
    scores = torch.sigmoid(logits)
    before = 1 - (1 - scores[0, 0]).prod()
    for said, change in ((9.0, 2.0), (1.0, 2.0), (0.5, 0.0), (0.25, -1.0), (-9.0, -2.0)):
        tightness = RegionTightness(tensors | {"bias": torch.tensor([said])}, CHANNELS)
        doubtful, nothing, sure = tightness(torch.zeros(1, 3, features), logits, scores)[0]
        factor = doubtful / scores[0, 0]
        assert factor[0].item() == pytest.approx(factor[1].item())  # the classes keep their shares
        assert torch.logit(before * factor[0]).item() == pytest.approx(torch.logit(before).item() + change, abs=1e-5)
        assert nothing.max() < 1e-9
        assert sure.tolist() == pytest.approx([1.0, 0.0])


def test_a_box_of_an_object_is_told_from_a_loose_one_and_from_a_lookalike_that_nobody_boxes(tmp_path: Path) -> None:
    album = Album()
    maps = album.maps(tmp_path)

    def red_alone(seed: int) -> tuple[Example, Example]:
        both = album.squares(seed, classes=(RED, BLUE))
        red = both.labels == RED
        return Example(both.sha256, both.boxes[red], both.labels[red]), both

    detector = fit([red_alone(seed)[1] for seed in range(4)], maps, steps=30)  # it finds blue squares, too
    tensors = fit_tightness([red_alone(seed)[0] for seed in range(8)], maps, {RED: 0}, 0, detector)
    assert tensors is not None
    tightness, said = RegionTightness(tensors, maps.pyramid.channels), []
    for seed in range(50, 55):
        both = red_alone(seed)[1]
        view = maps.plain(both.sha256)
        corners = torch.from_numpy(view.placement.onto_canvas(both.boxes)[0])
        levels = [level[None].float() for level in view.maps]
        values = tightness.said(inside(levels, corners[None], maps.pyramid.size))[0, :, 0]
        said += [(int(label), value) for label, value in zip(both.labels, values.tolist(), strict=True)]
    of_red, of_blue = ([value for label, value in said if label == each] for each in (RED, BLUE))
    assert np.mean(of_red) > np.mean(of_blue) + 0.3


def test_tightness_needs_found_boxes_in_two_images_that_can_be_read(tmp_path: Path) -> None:
    album = Album()
    maps = album.maps(tmp_path)
    bad, one, *others = (album.squares(seed) for seed in range(4))
    detector = fit([one, *others], maps, steps=10)
    album.files[bad.sha256] = b"no image"
    assert fit_tightness([one], maps, {RED: 0}, 0, detector) is None
    assert fit_tightness([one, bad], maps, {RED: 0}, 0, detector) is None
    nothing = [Example(each.sha256, each.boxes[:0], each.labels[:0]) for each in others]
    assert fit_tightness(nothing, maps, {RED: 0}, 0, detector) is None  # no box fits, so there is nothing to tell apart


def test_features_that_are_not_finite_teach_nothing_and_end_no_round() -> None:
    parts = lengths(CHANNELS)
    goal = torch.tensor([[0.0], [1.0], [0.0], [1.0]])
    features = goal + torch.zeros(4, sum(parts))
    assert region_fitting._best(features, goal, [0, 0, 1, 1], parts, (0.1,), 0.5) is not None
    features[2, 5] = torch.nan
    assert region_fitting._best(features, goal, [0, 0, 1, 1], parts, (0.1,), 0.5) is None


def test_it_is_saved_with_the_detector_and_another_structure_is_refused(tmp_path: Path) -> None:
    album = Album()
    maps = album.maps(tmp_path)
    examples = [album.squares(seed, classes=(RED, BLUE)) for seed in range(3)]
    detector = fit(examples, maps, steps=20)
    assert detector.tightness is not None
    assert detector.fine_edges is not None
    how = {"channels": detector.channels, "size": detector.size, "pyramid": detector.pyramid}
    tensors = detector.to_tensors()
    view = maps.plain(examples[0].sha256)
    assert Detector.of_tensors(tensors, **how).detect(view).scores.tolist() == detector.detect(view).scores.tolist()
    earlier = {name: each for name, each in tensors.items() if not name.startswith(NEWER)}
    before = Detector.of_tensors(earlier, **how)  # as an earlier release saved it
    assert (before.region_classes, before.region_edges, before.region_tightness) == (None, None, None)
    assert before.region_fine_edges is None
    before.detect(view)
    for name in ("regions.bias", "edges.bias", "tightness.bias", "fine_edges.bias"):
        with pytest.raises(ValueError, match="another structure"):
            Detector.of_tensors({each: array for each, array in tensors.items() if each != name}, **how)
    same = fit(examples, maps, previous=detector, steps=0)
    assert (same.regions, same.edges) == (detector.regions, detector.edges)
    assert same.tightness is detector.tightness
    assert same.fine_edges is detector.fine_edges
