"""Doubtful labels as a reviewer sees them, and the effect of a verdict."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labeler.errors import AnnotationRefused, Conflict, Unreachable
from labeler.service import Service
from shared.wire.log import Annotation, Undo
from shared.wire.project import ClassPatch
from shared.wire.review import AcceptPost
from tests.labeler.followers import Follower, following
from tests.labeler.projects import answer, labeler, photos
from tests.services import wait_for

CAT, DOG, OWL = 1, 2, 3


@contextmanager
def reviewed(tmp: Path, count: int = 8, **values: Any) -> Iterator[tuple[Service, Follower]]:
    """A labeler with `count` images labeled as cats; its trainer proposes "dog", with confidence growing by number."""
    photos(tmp / "photos", count)
    values = {"classes": ["cat", "dog", "owl"], "trainer_poll_seconds": 0.05} | values
    with following() as (follower, url), labeler(tmp, trainer_url=url, **values) as service:
        wait_for(lambda: (status := service.trainer.status()) and status.log_id)
        service.annotate([answer(image, annotator="them", source="import") for image in service.tally.splits])
        ids = list(service.tally.splits)
        follower.issues = [issue(image, confidence=image / 10, evidence=ids[:3]) for image in reversed(ids)]
        follower.expected = (5, 2, 8)
        yield service, follower


def issue(image_id: int, proposed: int = DOG, confidence: float = 0.9, evidence: list[int] | None = None) -> Any:
    return {
        "image_id": image_id,
        "label": CAT,
        "label_name": "cat",
        "proposed": proposed,
        "proposed_name": "what it was called",
        "quality": 0.1,
        "confidence": confidence,
        "confident": True,
        "agreeing": 3,
        "neighbours": 10,
        "evidence": [{"image_id": each, "similarity": 0.5} for each in evidence or []],
    }


def verdict(image_id: int, reason: str, label: int | None = None, **values: Any) -> Annotation:
    action = "skip" if reason == "unsure" else "settle"
    given = {"annotator": "me", "source": "review", "proposed": DOG} | values
    return answer(image_id, label, action=action, reason=reason, **given)


def shown(service: Service) -> list[int]:
    return [each.image_id for each in service.review.page(100).items]


def test_the_worst_come_first_with_the_names_of_now(tmp_path: Path) -> None:
    with reviewed(tmp_path) as (service, _):
        service.classes.change(DOG, ClassPatch(name="hound", annotator="me"))
        page = service.review.page(3)
        assert [each.image_id for each in page.items] == [8, 7, 6]
        assert {(each.label_name, each.proposed_name) for each in page.items} == {("cat", "hound")}
        assert [each.image_id for each in page.items[0].evidence] == [1, 2, 3]
        assert (page.open, page.judged, page.errors, page.expected, page.labels) == (8, 0, 0, 5, 8)
        assert (page.expected_low, page.expected_high, page.enough) == (2, 8, True)
        assert page.acceptable == {"0.99": 0, "0.95": 0, "0.9": 0, "0.8": 1}


def test_each_verdict_has_its_effect_and_does_not_come_back(tmp_path: Path) -> None:
    with reviewed(tmp_path) as (service, _):
        service.annotate(
            [
                verdict(8, "keep", CAT),
                verdict(7, "fix", DOG),
                verdict(6, "fix", OWL),
                verdict(5, "remove"),
                verdict(4, "unsure"),
            ]
        )
        state = service.log.fold.state
        assert [state(image).label for image in (8, 7, 6, 5, 4)] == [CAT, DOG, OWL, None, CAT]
        assert state(5).status == "flagged"
        assert shown(service) == [3, 2, 1]
        page = service.review.page(1)
        assert (page.judged, page.errors, page.recent, page.recent_errors) == (5, 3, 5, 3)
        assert (page.expected, page.expected_low, page.expected_high) == (3 + 5, 3 + 2, 3 + 8)


def test_it_comes_back_when_something_is_proposed_that_nobody_weighed(tmp_path: Path) -> None:
    with reviewed(tmp_path) as (service, follower):
        service.annotate([verdict(8, "keep", CAT), verdict(7, "unsure")])
        follower.issues[:2] = [issue(8, OWL), issue(7, OWL)]
        assert shown(service)[:2] == [8, 7]
        service.annotate([verdict(8, "keep", CAT, proposed=OWL)])
        assert 8 not in shown(service)
        service.classes.change(OWL, ClassPatch(into=DOG, annotator="me"))  # then it is what was weighed before
        assert not {7, 8} & set(shown(service))


def test_a_verdict_of_unsure_keeps_ones_own_label_too(tmp_path: Path) -> None:
    with reviewed(tmp_path) as (service, _):
        service.annotate([verdict(8, "unsure", annotator="them")])
        assert service.log.fold.state(8).label == CAT
        assert 8 not in shown(service)


def test_a_verdict_is_undone_by_itself_and_many_taken_at_once_together(tmp_path: Path) -> None:
    with reviewed(tmp_path) as (service, _):
        before = dict(service.log.fold.labels)
        service.annotate([verdict(8, "fix", DOG), verdict(7, "fix", DOG)])
        receipt = service.review.accept(AcceptPost(annotator="me", confidence=0.35))
        assert receipt.accepted == 3  # 6, 5 and 4: those above are judged
        assert [service.log.fold.state(image).label for image in (6, 5, 4, 3)] == [DOG, DOG, DOG, CAT]
        page = service.review.page(1)
        assert (page.errors, page.recent) == (5, 2)  # what nobody looked at does not say how good the order is
        assert service.annotations.undo(Undo(id=uuid4(), annotator="me")) == [6, 5, 4]
        assert service.annotations.undo(Undo(id=uuid4(), annotator="me")) == [7]
        assert service.annotations.undo(Undo(id=uuid4(), annotator="me")) == [8]
        assert service.log.fold.labels == before
        assert len(shown(service)) == 8


def test_only_the_sure_and_confident_are_taken_at_once(tmp_path: Path) -> None:
    with reviewed(tmp_path) as (service, follower):
        follower.issues[0]["confident"] = False
        assert service.review.accept(AcceptPost(annotator="me", confidence=0.7)).accepted == 1
        assert service.log.fold.state(8).label == CAT


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moved=st.dictionaries(st.integers(1, 8), st.sampled_from(["validation", "test"]), max_size=8))
def test_held_out_images_are_neither_shown_nor_evidence_nor_answered(
    tmp_path_factory: pytest.TempPathFactory, moved: dict[int, Any]
) -> None:
    with reviewed(tmp_path_factory.mktemp("review")) as (service, _):
        for image, split in moved.items():
            service.catalog.move([image], split)
        page = service.review.page(100)
        named = {each.image_id for each in page.items} | {e.image_id for each in page.items for e in each.evidence}
        assert named == set(range(1, 9)) - moved.keys()
        service.review.accept(AcceptPost(annotator="me", confidence=0))
        assert all(service.log.fold.state(image).label == CAT for image in moved)
        for image in moved:
            with pytest.raises(AnnotationRefused, match="held out"):
                service.annotate([verdict(image, "fix", DOG)])


def test_labels_that_changed_meanwhile_are_not_doubted(tmp_path: Path) -> None:
    with reviewed(tmp_path) as (service, _):
        service.annotate([answer(8, DOG, action="settle"), answer(7, None, action="flag", annotator="them")])
        assert shown(service) == [6, 5, 4, 3, 2, 1]


def test_of_two_reviewers_the_first_counts(tmp_path: Path) -> None:
    with reviewed(tmp_path) as (service, _):
        as_of = service.review.page(1).as_of
        service.annotate([verdict(8, "fix", DOG, as_of=as_of)])
        receipt = service.annotate([verdict(8, "keep", CAT, annotator="you", as_of=as_of)])
        assert receipt.answered == [8]
        assert service.log.fold.state(8).label == DOG


@pytest.mark.parametrize(
    "wrong", [{"reason": "perhaps"}, {"reason": None}, {"reason": "keep", "action": "label"}, {"reason": "unsure"}]
)
def test_a_verdict_that_is_none_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with reviewed(tmp_path, 1) as (service, _), pytest.raises(AnnotationRefused, match="reason and action"):
        service.annotate([answer(1, CAT, annotator="me", source="review", **({"action": "settle"} | wrong))])


def test_in_blind_mode_and_without_trainer_there_is_none(tmp_path: Path) -> None:
    with reviewed(tmp_path / "blind", blind_mode=True) as (service, _), pytest.raises(Conflict, match="blind_mode"):
        service.review.page(1)
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service, pytest.raises(Unreachable):
        service.review.page(1)
