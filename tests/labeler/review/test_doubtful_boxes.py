"""Doubtful boxes as a reviewer sees them: each is shown with both answers, and a verdict changes that box alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared.wire.log import Annotation
from tests.labeler.followers import following
from tests.labeler.projects import answer, boxes, labeler, photos
from tests.services import wait_for

CAT, DOG = 1, 2
AT, LOOSE, NEW = ({"x": x, "y": 0, "w": 6, "h": 6} for x in (0, 2, 9))


def doubt(
    image_id: int, kind: str, box: dict[str, int], *, at: dict[str, int] | None = None, proposed: int = CAT
) -> Any:
    names = {CAT: "cat", DOG: "dog"}
    label = proposed if at is None else CAT
    return {
        "image_id": image_id,
        "label": label,
        "label_name": names[label],
        "proposed": proposed,
        "proposed_name": names[proposed],
        "quality": 0.1,
        "confidence": 0.9,
        "confident": False,
        "agreeing": 0,
        "neighbours": 0,
        "evidence": [],
        "kind": kind,
        "box": box,
        "at": at,
    }


def verdict(item: Any, reason: str) -> Annotation:
    said = item.answer if reason == "fix" else item.kept
    action = "skip" if reason == "unsure" else "settle"
    given = {"annotator": "me", "source": "review", "reason": reason, "proposed": item.proposed}
    return answer(item.image_id, None, action=action, answer=None if reason == "unsure" else said, **given)


def test_a_fix_changes_one_box_and_the_image_comes_again_with_the_next_doubt(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 4)
    with (
        following() as (follower, url),
        labeler(
            tmp_path, task="detection", classes=["cat", "dog"], trainer_url=url, trainer_poll_seconds=0.05
        ) as service,
    ):
        wait_for(lambda: (status := service.trainer.status()) and status.log_id)
        service.annotate([boxes(image, ("cat", 0, 0, 6, 6), annotator="ann") for image in (1, 2, 3)])
        follower.issues = [
            doubt(1, "class", AT, at=AT, proposed=DOG),
            doubt(2, "place", LOOSE, at=AT),
            doubt(1, "missing", NEW),
            doubt(3, "missing", NEW),
            doubt(3, "missing", AT),  # there already
        ]
        page = service.review.page(9)
        assert [(each.image_id, each.kind) for each in page.items] == [(1, "class"), (2, "place"), (3, "missing")]
        assert page.open == 4
        first = page.items[0]
        assert (first.width, first.height) == service.catalog.shapes([1])[1]
        assert first.kept["boxes"][0]["label"] == CAT
        service.annotate([verdict(first, "fix")])
        assert [box.label for box in service.log.fold.labels[1].boxes] == [DOG]
        again = service.review.page(9)
        assert [(each.image_id, each.kind) for each in again.items] == [(2, "place"), (1, "missing"), (3, "missing")]
        assert [box["label"] for box in again.items[1].answer["boxes"]] == [DOG, CAT]
        service.annotate(
            [verdict(again.items[1], "fix"), verdict(again.items[0], "keep"), verdict(again.items[2], "unsure")]
        )
        assert [(box.label, box.origin) for box in service.log.fold.labels[1].boxes] == [
            (DOG, "corrected"),
            (CAT, "accepted"),
        ]
        assert len(service.log.fold.labels[3].boxes) == 1
        last = service.review.page(9)
        assert (last.items, last.judged, last.errors) == ([], 4, 2)
        follower.issues = [doubt(2, "missing", NEW)]
        assert service.review.page(9).items == []  # who kept the boxes has looked at the whole image


def test_missed_boxes_are_listed_while_they_are_drawn_and_only_in_train_images(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 4)
    with (
        following() as (follower, url),
        labeler(
            tmp_path, task="detection", classes=["cat", "dog"], trainer_url=url, trainer_poll_seconds=0.05
        ) as service,
    ):
        wait_for(lambda: (status := service.trainer.status()) and status.log_id)
        two = [("cat", 0, 0, 6, 6), ("cat", 9, 0, 6, 6)]
        service.annotate([boxes(image, *two, annotator="ann") for image in (1, 2, 3)])
        service.tally.splits[3] = "test"
        follower.missed = [
            doubt(1, "missed", AT, at=AT),
            doubt(3, "missed", AT, at=AT),
            doubt(2, "missed", LOOSE, at=LOOSE),  # has been moved since
            doubt(2, "missed", NEW, at=NEW),
            doubt(1, "missed", NEW, at=NEW),
        ]
        page = service.review.page(9)
        assert [(each.image_id, each.at.x) for each in page.missed] == [(1, 0), (2, 9), (1, 9)]
        assert (page.items, page.open) == ([], 0)  # there is nothing to judge
        assert {each.image_id for each in service.review.page(1).missed} == {1}
