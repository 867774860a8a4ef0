"""The metrics of boxes: COCO's own tool agrees, and the intervals cover."""

from __future__ import annotations

import contextlib
import io
import tracemalloc

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from trainer.evaluation.box_matching import THRESHOLDS, Placed, pairing
from trainer.evaluation.detection_metrics import average_precision, evaluate, mean_average_precision, ranked

NAMES = {1: "cell", 2: "platelet", 5: "dust"}
Images = tuple[list[Placed], list[Placed]]


def images(seed: int, count: int = 40) -> Images:
    """Random scenes, and what a mediocre detector would find in them: shifted, missed, doubled and wrong boxes."""
    draw = np.random.default_rng(seed)
    truth, found = [], []
    for _ in range(count):
        true, said, scores = [], [], []
        for _ in range(int(draw.integers(0, 9))):
            label = int(draw.choice([1, 1, 1, 2, 5]))
            box = (*draw.uniform(0, 300, 2), *draw.uniform(8, 80, 2))
            true.append((label, *box))
            for _ in range(int(draw.choice([0, 1, 1, 1, 2]))):
                moved = np.array(box) + draw.normal(0, 0.08, 4) * np.array([box[2], box[3], box[2], box[3]])
                said.append((label if draw.uniform() < 0.85 else 2, *np.maximum(moved, 1)))
                scores.append(round(float(draw.beta(4, 2)), 3))
        for _ in range(int(draw.integers(0, 3))):
            said.append((int(draw.choice([1, 2])), *draw.uniform(1, 300, 2), *draw.uniform(8, 80, 2)))
            scores.append(round(float(draw.beta(2, 4)), 3))
        truth.append(Placed.of(true))
        found.append(Placed.of(said, scores))
    return truth, found


def by_coco(truth: list[Placed], found: list[Placed]) -> COCOeval:
    """The same figures by COCO's own tool."""
    annotations, results = [], []
    for number, (real, said) in enumerate(zip(truth, found, strict=True), 1):
        for class_id, place in zip(real.classes.tolist(), real.places.tolist(), strict=True):
            size = {"id": len(annotations) + 1, "area": place[2] * place[3], "iscrowd": 0}
            annotations.append({"image_id": number, "category_id": class_id, "bbox": place, **size})
        for class_id, place, score in zip(
            said.classes.tolist(), said.places.tolist(), said.scores.tolist(), strict=True
        ):
            results.append({"image_id": number, "category_id": class_id, "bbox": place, "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": number + 1} for number in range(len(truth))],
            "annotations": annotations,
            "categories": [{"id": class_id} for class_id in NAMES],
        }
        coco.createIndex()
        judged = COCOeval(coco, coco.loadRes(results), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return judged


@pytest.mark.parametrize("seed", range(4))
def test_coco_s_own_tool_finds_the_same_precision(seed: int) -> None:
    truth, found = images(seed)
    judged = by_coco(truth, found)
    measured = evaluate(truth, found, NAMES, learned=frozenset(NAMES), suggested_from=0.5)
    assert measured.details["map_50_95"].value == pytest.approx(judged.stats[0], abs=1e-9)
    assert measured.details["map_50"].value == pytest.approx(judged.stats[1], abs=1e-9)
    by_class = judged.eval["precision"][:, :, :, 0, 2].mean(axis=1)  # (T, classes), of all sizes, 100 boxes
    for column, class_id in enumerate(NAMES):
        ours = average_precision(ranked(truth, found, class_id), np.ones((1, len(truth))))[0]
        assert ours == pytest.approx(by_class[:, column], abs=1e-9)
    assert [each.average_precision.value for each in measured.details["classes"]] == pytest.approx(by_class[0].tolist())


def test_weights_count_an_image_as_often_as_it_is_drawn() -> None:
    truth, found = images(7, 12)
    times = np.random.default_rng(0).integers(0, 3, 12)
    some = [number for number, count in enumerate(times) for _ in range(count)]
    repeated = [truth[each] for each in some], [found[each] for each in some]
    weighed = mean_average_precision(truth, found, list(NAMES), times[None].astype(float), THRESHOLDS)
    alone = mean_average_precision(*repeated, list(NAMES), np.ones((1, len(some))), THRESHOLDS)
    assert weighed[0] == pytest.approx(alone[0], abs=0.01)  # boxes with equal scores come in another order


def test_the_interval_holds_the_value_of_many_more_images() -> None:
    whole = evaluate(*images(100, 1_500), NAMES, learned=frozenset(NAMES), suggested_from=0.5).details["map_50"].value
    covered = 0
    for seed in range(20):
        found = evaluate(*images(seed, 40), NAMES, learned=frozenset(NAMES), suggested_from=0.5).details["map_50"]
        assert found.low <= found.value <= found.high
        assert found.n == 40
        covered += found.low <= whole <= found.high
    assert covered >= 17


def test_a_perfect_detector_of_three_images_is_not_certainly_perfect() -> None:
    truth = [Placed.of([(1, 10, 10, 50, 50)]) for _ in range(3)]
    measured = evaluate(truth, truth, {1: "cell"}, learned=frozenset({1}), suggested_from=0.5)
    found = measured.details["map_50"]
    assert found.value == 1.0
    assert found.low < 0.5
    assert measured.lower_bounds["map_50"] == found.low


def test_no_box_in_the_test_images_measures_nothing() -> None:
    empty = [Placed.of([]), Placed.of([])]
    measured = evaluate(
        empty, [Placed.of([(1, 1, 1, 9, 9)], [0.9])] * 2, NAMES, learned=frozenset(), suggested_from=0.5
    )
    assert measured.lower_bounds == {}
    assert measured.details["map_50"].n == 0
    assert [each.support for each in measured.details["classes"]] == [0, 0, 0]
    assert measured.details["classes"][0].precision == 0.0


def test_precision_and_recall_count_only_suggested_boxes_and_confusions_are_named() -> None:
    truth = [Placed.of([(1, 0, 0, 20, 20), (1, 50, 50, 20, 20), (2, 100, 100, 10, 10)])]
    found = [
        Placed.of(
            [(1, 1, 0, 20, 20), (2, 50, 51, 20, 20), (2, 100, 100, 10, 10), (1, 200, 200, 9, 9)], [0.9, 0.8, 0.3, 0.7]
        )
    ]
    measured = evaluate(truth, found, NAMES, learned=frozenset({1, 2}), suggested_from=0.5)
    cell, platelet, dust = measured.details["classes"]
    assert (cell.precision, cell.recall, cell.support) == (0.5, 0.5, 2)
    assert (platelet.precision, platelet.recall, platelet.support) == (0.0, 0.0, 1)
    assert (dust.learned, dust.threshold, dust.average_precision) == (False, None, None)
    [confused] = measured.details["confused"]
    assert (confused.name, confused.other_name, confused.images, confused.among) == ("cell", "platelet", 1, 2)
    pairs = pairing(truth[0], found[0].suggested(0.5), 0.5)
    assert (pairs.same, pairs.confused, pairs.missed, pairs.extra) == ([(0, 0)], [(1, 1)], [2], [2])


def test_thousands_of_found_boxes_take_little_memory() -> None:
    draw = np.random.default_rng(0)
    found = [
        Placed.of([(1, *each, 9, 9) for each in draw.uniform(0, 300, (60, 2))], draw.random(60)) for _ in range(300)
    ]
    truth = [Placed.of([(1, *each.places[0])]) for each in found]
    tracemalloc.start()
    evaluate(truth, found, NAMES, learned=frozenset({1}), suggested_from=0.5)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 150_000_000
