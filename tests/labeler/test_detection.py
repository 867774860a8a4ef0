"""A project whose answers are boxes: answers to the log and back, by one person and by several."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from starlette.testclient import TestClient

from labeler.errors import AnnotationRefused
from labeler.service import Service
from labeler.web.api import create_api
from shared.log import Fold
from shared.tasks.detection import DETECTION, MOST_BOXES, Box, Boxes
from shared.wire.dataset import SnapshotPost
from shared.wire.images import View
from shared.wire.log import Undo
from shared.wire.project import ClassPatch
from shared.wire.queries import SuggestedBox
from tests.labeler.projects import answer, boxes, labeler, photo, pushed

pytestmark = pytest.mark.usefixtures("both_stores")

CAT, DOG, HEN = 1, 2, 3
WIDTH, HEIGHT = 60, 40


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with six photos."""
    for number in range(6):
        photo(tmp_path / "photos" / f"{number:04d}.png", number, (WIDTH, HEIGHT))
    return tmp_path


@pytest.fixture
def service(project: Path) -> Iterator[Service]:
    with animals(project) as opened:
        yield opened


@pytest.fixture(scope="module")
def open_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, TestClient]]:
    tmp = tmp_path_factory.mktemp("bad")
    photo(tmp / "photos" / "0.png", 1, (WIDTH, HEIGHT))
    with animals(tmp) as service:
        yield service, TestClient(create_api(service))


def animals(project: Path, **values: Any) -> AbstractContextManager[Service]:
    return labeler(project, task="detection", classes=["cat", "dog", "hen"], **values)


def labels(service: Service) -> dict[int, Boxes]:
    return service.log.fold.labels


def test_an_answer_is_checked_kept_undone_and_brought_back(project: Path) -> None:
    with animals(project) as service:
        assert service.project().task == "detection"
        first = boxes(1, (CAT, -0.5, 0, 20, 20), ("dog", 10, 10, 50.7, 30, "accepted"))
        service.annotate([first, boxes(2), answer(3, None, action="skip")])
        assert service.annotate([first]).duplicates == 1
        with pytest.raises(AnnotationRefused, match="1 of the annotations"):
            service.annotate([first.model_copy(update={"answer": {"boxes": []}})])
        with pytest.raises(AnnotationRefused) as refused:
            service.annotate([boxes(4, (CAT, 55, 0, 20, 20))])
        assert refused.value.fields["invalid"][0]["reason"] == (
            "box 1 reaches outside the image, which has 60 × 40 pixels"
        )
        with pytest.raises(AnnotationRefused) as refused:
            service.annotate([answer(4, CAT)])
        assert "not of the form" in refused.value.fields["invalid"][0]["reason"]
        kept = {1: Boxes([Box(CAT, 0, 0, 19.5, 20), Box(DOG, 10, 10, 50, 30, "accepted")]), 2: Boxes()}
        assert labels(service) == kept
        assert service.project().images.labeled == 2
        service.snapshots.save(SnapshotPost(name="two"))
        service.undo(Undo(id=answer(1).id, annotator="ann", target=first.id))
        assert labels(service) == {2: Boxes()}
        service.snapshots.restore("two", "ann")
        assert labels(service) == kept
        rows = service.log.page(0, 100).annotations
        assert all(row.label is None for row in rows if row.action == "label")
        assert Fold(rows, DETECTION).labels == kept
    with animals(project) as again:
        assert labels(again) == kept
        opened = again.addresses.open(1, "ann", "tab")
        assert opened.given is not None
        assert opened.given.answer == opened.answer == DETECTION.to_row(kept[1])["answer"]


def test_an_image_may_have_a_thousand_boxes(service: Service) -> None:
    many = [(CAT, k % 50, k % 30, 2 + k / 1000, 9) for k in range(MOST_BOXES)]
    client = TestClient(create_api(service))
    post = {"annotations": [boxes(each, *many).model_dump(mode="json") for each in (1, 2)]}
    assert client.post("/annotations", json=post).json()["accepted"] == 2
    assert client.post("/annotations", json=post).json()["duplicates"] == 2
    too_many = {"annotations": [boxes(3, *many * 10).model_dump(mode="json")]}
    refused = client.post("/annotations", json=too_many)
    assert refused.status_code == 422
    assert "it has 10,000 boxes, and an image may have at most 1,000" in refused.text
    assert len(labels(service)[2]) == MOST_BOXES


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ('"label": 1, "x": NaN, "y": 1, "w": 5, "h": 5', "not valid JSON"),
        ('"label": 1, "x": 1e999, "y": 1, "w": 5, "h": 5', "a finite number"),
        (f'"label": 1, "x": 1{"0" * 400}, "y": 1, "w": 5, "h": 5', "no finite number"),
        ('"label": 1, "x": -1e300, "y": 1, "w": 1e300, "h": 5', "reaches outside the image"),
        (f'"label": {10**30}, "x": 1, "y": 1, "w": 5, "h": 5', "there is no class 1000000000000000"),
        ('"label": 1, "x": 1, "y": 1, "w": 0, "h": 5', "smaller than 1 pixel"),
        ('"label": 1, "x": 1, "y": 1, "w": 59.999, "h": 40.5', "outside the image"),
        ('"label": {"a": []}, "x": 1, "y": 1, "w": 5, "h": 5', "its label is no class id"),
        ('"label": 1, "x": [1], "y": 1, "w": 5, "h": 5', "no finite number"),
        ('"label": 1, "x": 1, "y": 1, "w": 5, "h": 5, "origin": {}', "its origin is none of"),
    ],
)
def test_a_bad_box_is_refused_with_a_sentence_and_nothing_is_written(open_project: Any, box: str, words: str) -> None:
    service, client = open_project
    before = service.log.last_seq
    said = (
        f'{{"id": "{uuid4()}", "image_id": 1, "action": "label", "annotator": "a", "answer": {{"boxes": [{{{box}}}]}}}}'
    )
    refused = client.post(
        "/annotations", content=f'{{"annotations": [{said}]}}', headers={"content-type": "application/json"}
    )
    assert refused.status_code in (400, 422)
    assert words in refused.text
    assert service.log.last_seq == before


def test_the_queue_gives_out_sizes_and_suggested_boxes(service: Service) -> None:
    push = pushed(service, [1, 2])
    push.queries[0].boxes = [
        SuggestedBox(label=CAT, confidence=0.9, x=-3, y=2, w=20, h=20),
        SuggestedBox(label=HEN, confidence=0.6, x=1, y=2, w=20, h=20),
        SuggestedBox(label=DOG, confidence=0.5, x=59.5, y=2, w=20, h=20),
    ]
    service.push(push)
    service.classes.change(CAT, ClassPatch(name="tom"))
    service.classes.delete(HEN, "ann")
    first, second = service.serve("ann", "tab", 2).items
    assert (first.image_id, first.width, first.height, first.suggestions) == (1, WIDTH, HEIGHT, [])
    assert [box.model_dump() for box in first.boxes] == [
        {"label": CAT, "name": "tom", "confidence": 0.9, "x": 0, "y": 2, "w": 17, "h": 20}
    ]
    assert second.boxes == []


def test_suggested_boxes_survive_a_restart_and_are_hidden_in_blind_mode(project: Path) -> None:
    with animals(project) as service:
        push = pushed(service, [1])
        push.queries[0].boxes = [SuggestedBox(label=CAT, confidence=0.9, x=1, y=2, w=20, h=20)]
        service.push(push)
        shown = service.serve("ann", "tab", 1).items[0]
    with animals(project) as again:
        assert again.serve("ann", "tab", 1).items[0] == shown
        assert again.addresses.open(1, "ann", "tab").boxes == shown.boxes != []
    with animals(project, blind_mode=True) as blind:
        hidden = blind.serve("ann", "tab", 1).items[0]
        assert (hidden.boxes, hidden.width) == ([], WIDTH)


def test_pages_that_show_many_images(service: Service) -> None:
    service.annotate([boxes(1, (CAT, 1, 1, 20, 20), (DOG, 5, 5, 9, 9), (CAT, 9, 9, 9, 9)), boxes(2)])
    labeled = service.gallery.listing(View(status="labeled"))
    assert sorted(labeled.image_ids) == [1, 2]
    assert service.gallery.listing(View(label=DOG, status="labeled")).image_ids == [1]
    tiles = {tile.image_id: tile for tile in service.gallery.tiles([1, 2, 3], "ann").images}
    assert (tiles[1].width, tiles[1].height, len(tiles[1].answer["boxes"])) == (WIDTH, HEIGHT, 3)
    assert (tiles[2].answer, tiles[3].answer) == ({"boxes": []}, None)
    assert {each.name: each.labels for each in service.project().classes} == {"cat": 1, "dog": 1, "hen": 0}
    grid = [boxes(each, source="grid") for each in (3, 4)]
    assert service.annotate(grid).accepted == 2
    service.undo(Undo(id=answer(1).id, annotator="ann", target=grid[0].id))
    assert sorted(labels(service)) == [1, 2]
