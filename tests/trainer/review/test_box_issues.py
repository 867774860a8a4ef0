"""Detectors that have not seen the answer find doubtful boxes, in bounded time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from shared.images.opening import ImageLimits
from shared.tasks.detection import DETECTION, MOST_BOXES, Box, Boxes
from shared.wire.review import LabelIssue
from tests.trainer.scenes import objects, scene, scenes
from trainer.detection.feature_maps import FeatureMaps
from trainer.detection.pyramid import installed_pyramid
from trainer.embeddings.space import Rows, Space
from trainer.embeddings.transform import plain
from trainer.evaluation.box_matching import Placed
from trainer.live_detector.pictures import Pictures
from trainer.review import box_issues, reviewer
from trainer.review.box_issues import BoxJudge, doubts_of, missed_of
from trainer.sync.replica import Replica
from trainer.sync.snapshot import Snapshot

NAMES = {1: "square", 2: "disc"}


def test_a_missing_box_a_wrong_class_and_a_loose_box_are_doubts_and_a_good_one_is_not() -> None:
    drawn = Placed.of([(1, 0, 0, 20, 20), (1, 50, 0, 20, 20), (2, 0, 50, 20, 20)])
    found = Placed.of(
        [(1, 1, 0, 20, 20), (2, 50, 0, 20, 20), (2, 5, 50, 20, 20), (1, 80, 80, 20, 20), (1, 100, 80, 9, 9)],
        [0.9, 0.8, 0.7, 0.6, 0.5],
    )
    told = {each.kind: each for each in doubts_of(0, drawn, found)}
    assert len(doubts_of(0, drawn, found)) == 3
    assert (told["missing"].box, told["missing"].at) == ((80, 80, 20, 20), None)
    assert (told["class"].label, told["class"].proposed, told["class"].at) == (1, 2, (50, 0, 20, 20))
    assert (told["place"].at, told["place"].box) == ((0, 50, 20, 20), (5, 50, 20, 20))


def issue(doubt) -> LabelIssue:
    judge = BoxJudge.__new__(BoxJudge)
    known = box_issues.BoxesOutOfFold(np.array([7]), [Boxes()], [None])
    [told] = judge.told(known, box_issues.BoxDoubts([doubt], None), [], NAMES, 9)
    return told


def live(label: int | None) -> int | None:
    return label if label in NAMES else None


@pytest.mark.parametrize(
    ("found", "after"),
    [
        ((1, 80, 80, 20, 20), [(1, 0, 0, 20, 20), (1, 80, 80, 20, 20)]),
        ((2, 0, 0, 20, 20), [(2, 0, 0, 20, 20)]),
        ((1, 6, 0, 20, 20), [(1, 6, 0, 20, 20)]),
    ],
)
def test_an_accepted_doubt_changes_that_box_and_is_no_doubt_any_more(found, after) -> None:
    value = Boxes([Box(1, 0, 0, 20, 20)])
    [doubt] = doubts_of(0, Placed.of([(1, 0, 0, 20, 20)]), Placed.of([found], [0.9]))
    told = issue(doubt)
    assert DETECTION.is_doubted(value, told, live)
    corrected = DETECTION.corrected(value, told, live)
    assert corrected is not None
    assert [box[:5] for box in corrected.boxes] == after
    assert not DETECTION.is_doubted(corrected, told, live)
    assert not DETECTION.is_doubted(None, told, live)


def test_no_box_is_reported_missing_from_a_full_image() -> None:
    full = Boxes([Box(1, 0, 0, 20, 20)] * MOST_BOXES)
    [doubt] = doubts_of(0, Placed.of([]), Placed.of([(1, 80, 80, 20, 20)], [0.9]))
    assert not DETECTION.is_doubted(full, issue(doubt), live)
    assert DETECTION.corrected(full, issue(doubt), live) is None


def test_boxes_left_out_of_an_answer_are_found_out_of_fold(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(box_issues, "STEPS", 90)
    _, entries = scenes(tmp_path / "photos", 28)
    replica = Replica(tmp_path)
    replica.update_catalog(entries, after=28)
    network = installed_pyramid(tmp_path / "network", size=96)
    limits = ImageLimits(10**8, 10**8)
    pictures = Pictures(
        replica,
        lambda image: scene(image.id),
        lambda read, size: FeatureMaps(tmp_path / "maps", network, limits, read),
        limits,
    )
    judge = BoxJudge(pictures)
    values = [Boxes(Box(*each) for each in objects(n)) for n in range(28)]
    spoiled = [n for n in range(28) if len(values[n]) > 1][:4]
    for n in spoiled:
        values[n] = Boxes(values[n].boxes[1:])
    ids, trusted, told = np.arange(28), np.zeros(28, np.bool_), []
    assert judge.lacking(values[:3]) > 0
    known = judge.judge(ids, np.empty((28, 0), np.float32), values, trusted, seed=0, progress=told.append)
    assert known is not None
    found = judge.doubts(known, values, trusted, values)
    missing = [int(known.ids[each.row]) for each in found.doubts if each.kind == "missing"]
    assert len(set(missing) & set(spoiled)) >= 3
    assert set(missing[:2]) <= set(spoiled)
    missed = judge.missed(known, found, NAMES, 300)
    assert [each.confidence for each in missed] == sorted(each.confidence for each in missed)
    assert all(DETECTION.is_doubted(values[each.image_id], each, live) for each in missed)
    assert told[-1] == 1.0
    judge.closing.set()
    assert judge.judge(ids, np.empty((28, 0), np.float32), values, trusted, seed=0, progress=told.append) is None
    judged_once(pictures, values, monkeypatch)
    replica.close()


def judged_once(pictures: Pictures, values: list[Boxes], monkeypatch) -> None:
    """Images that were left out of a judgement by chance do not start another one."""
    monkeypatch.setattr(box_issues, "MOST", 14)
    monkeypatch.setattr(box_issues, "STEPS", 1)
    monkeypatch.setattr(reviewer, "REST", 0)
    labels = dict(enumerate(values))
    rows = np.eye(len(values), dtype=np.float32)
    space = Space(1, 1, plain(rows[0]), Rows(np.arange(len(rows)), rows), Rows(np.arange(0), rows[:0]), {})
    snapshot = Snapshot(uuid4(), 1, labels, frozenset(labels), NAMES, task="detection")
    asked = reviewer.Reviewer(0, pictures)
    assert asked.look(space, snapshot, 10).renewing
    asked._judge()
    found = asked.look(space, snapshot, 10)
    assert (found.judged, found.renewing) == (14, False)
    fewer = replace(snapshot, labels=dict(list(labels.items())[:-11]))
    assert asked.look(space, fewer, 10).renewing


def test_a_box_is_missed_if_nothing_near_it_is_suggested_whatever_its_class() -> None:
    drawn = Placed.of([(1, 0, 0, 20, 20), (1, 50, 0, 20, 20), (2, 0, 50, 20, 20), (2, 50, 50, 20, 20)])
    found = Placed.of(
        [(1, 1, 0, 20, 20), (2, 50, 0, 20, 20), (2, 1, 50, 20, 20), (1, 0, 50, 20, 20)], [0.9, 0.8, 0.3, 0.4]
    )
    missed = missed_of(0, drawn, found)
    assert [(each.label, each.box, each.confidence) for each in missed] == [
        (2, (0, 50, 20, 20), 0.3),  # the highest score of its class there
        (2, (50, 50, 20, 20), 0.0),
    ]
    assert missed_of(0, Placed.of([]), found) == []
    assert len(missed_of(0, drawn, Placed.of([]))) == 4
