"""Promises about every kind of answer: it counts once, can be undone, may come late or from two people, or be blind."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labeler.errors import AnnotationRefused, Conflict, Missing
from labeler.web.api import create_api
from shared.log import Fold
from shared.wire.log import Undo
from shared.wire.project import ClassPatch
from shared.wire.queries import SuggestedBox, Suggestion
from tests.labeler.projects import labeler, photos, pushed
from tests.labeler.tasks import SAID, every_task

both_stores = pytest.mark.usefixtures("both_stores")

PEOPLE = ("ann", "bob")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.integers(1, 4), st.integers(0, 3)),
        st.tuples(st.just("again"), st.integers(0, 9), st.integers(0, 3)),  # an earlier post, its answer lost
        st.tuples(st.just("undo"), st.just(0), st.integers(0, 1)),
        st.tuples(st.just("rename"), st.integers(1, 2), st.integers(0, 99)),
        st.tuples(st.just("restart"), st.just(0), st.just(0)),
    ),
    max_size=12,
)


@every_task
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, merges=st.booleans(), overlap=st.integers(1, 2))
def test_every_post_counts_once_however_often_it_comes(
    tmp_path_factory: pytest.TempPathFactory, task: str, steps: list[tuple[str, int, int]], merges: bool, overlap: int
) -> None:
    tmp, said = tmp_path_factory.mktemp("once"), SAID[task]
    photos(tmp / "photos", 4)
    posts: list[Any] = []
    opened = labeler(tmp, task=task, overlap=overlap)
    service = opened.__enter__()
    try:
        for action, first, number in steps:
            if action == "restart":
                opened.__exit__(None, None, None)
                opened = labeler(tmp, task=task, overlap=overlap)
                service = opened.__enter__()
            elif action == "say":
                posts.append(said(first, number, annotator=PEOPLE[number % 2]))
                assert service.annotate(posts[-1:]).accepted == 1
            elif action == "again" and posts:
                assert service.annotate([posts[first % len(posts)]]).duplicates == 1
            elif action == "undo":
                before = service.log.last_seq
                undo = Undo(id=uuid4(), annotator=PEOPLE[number])
                try:
                    undone = service.undo(undo)
                except Missing:
                    continue
                assert (service.undo(undo).image_id, service.log.last_seq) == (undone.image_id, before + 1)
            elif action == "rename":
                service.classes.change(first, ClassPatch(name=f"name {first} {number}", annotator="ann"))
        if merges:
            service.classes.change(1, ClassPatch(into=2, annotator="ann"))
        if posts:
            assert service.annotate(posts).duplicates == len(posts)
        rows = service.log.page(0, 1_000).annotations
        assert [row.id for row in rows if row.action == "label"] == [post.id for post in posts]
        assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
        assert Fold(rows, service.log.fold.task).images == service.log.fold.images
        different = [post.model_copy(update={"answer": {}, "label": None}) for post in posts]
        for post in different:
            with pytest.raises(AnnotationRefused):
                service.annotate([post])
    finally:
        opened.__exit__(None, None, None)


@both_stores
@every_task
def test_undoing_brings_back_what_was_before(tmp_path: Path, task: str) -> None:
    photos(tmp_path / "photos", 3)
    said = SAID[task]
    with labeler(tmp_path, task=task) as service:
        states = []
        for image_id, number in ((1, 1), (2, 2), (1, 2), (1, 0), (2, 3)):
            states.append(dict(service.log.fold.images))
            service.annotate([said(image_id, number)])
        for state in reversed(states):
            service.undo(Undo(id=uuid4(), annotator="ann"))
            assert {each: now for each, now in service.log.fold.images.items() if now.answered} == {
                each: then for each, then in state.items() if then.answered
            }


@both_stores
@every_task
def test_two_people_late_answers_and_settling(tmp_path: Path, task: str) -> None:
    photos(tmp_path / "photos", 3)
    said = SAID[task]
    with labeler(tmp_path, task=task, overlap=2) as service:
        image = service.serve("ann", "a", 1).items[0].image_id
        assert service.serve("bob", "b", 1).items[0].image_id == image
        assert service.serve("eve", "c", 1).items[0].image_id != image
        service.annotate([said(image, 1, session="a")])
        assert service.serve("bob", "b", 1).items[0].image_id == image, "what one has begun the other is asked next"
        service.annotate([said(image, 2, annotator="bob", session="b")])
        assert (image in service.log.fold.labels, service.log.fold.state(image).disputed) == (False, True)
        service.annotate([said(image, 1, annotator="eve")])
        assert service.log.page(0, 100).annotations[-1].source == "late"
        assert service.log.fold.state(image).disputed, "a late answer overrides nobody"
        assert [each.image_id for each in service.disagreements.page().items] == [image]
        service.annotate([said(image, 2, annotator="boss", action="settle")])
        assert service.log.fold.labels == {image: service.log.fold.votes(image)["bob"]}
        assert (service.disagreements.page().open, service.disagreements.page("settled").settled) == (0, 1)
        assert service.disagreements.agreement().images == 1


@both_stores
@every_task
def test_test_images_are_asked_blind(tmp_path: Path, task: str) -> None:
    photos(tmp_path / "photos", 4)
    with labeler(tmp_path, task=task) as service:
        push = pushed(service, [1, 2, 3, 4])
        for query in push.queries:
            query.suggestions = [Suggestion(label=1, confidence=0.9)]
            query.boxes = [SuggestedBox(label=1, confidence=0.9, x=1, y=1, w=5, h=5)]
        service.push(push)
        service.catalog.move([2], "test")
        service.catalog.move([3], "validation")
        items = {item.image_id: item for item in service.serve("ann", "a", 4).items}
        hinted = {image_id for image_id, item in items.items() if item.suggestions or item.boxes or item.reason}
        assert hinted == {1, 4}
        for held_out in (2, 3):
            with pytest.raises(Conflict):
                service.addresses.open(held_out, "ann", "a")
            service.annotate([SAID[task](held_out, 1)])
            opened = service.addresses.open(held_out, "ann", "a")
            assert (opened.suggestions, opened.boxes, opened.reason) == ([], [], None)
            assert opened.given is not None


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["push", "label", "settle", "grid"]), st.lists(st.integers(1, 6), max_size=6)),
        st.tuples(st.just("answer"), st.just([])),
    ),
    max_size=8,
)


@every_task
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events=EVENTS)
def test_the_image_on_screen_never_moves_and_its_suggestions_stay(
    tmp_path_factory: pytest.TempPathFactory, task: str, events: list[tuple[str, list[int]]]
) -> None:
    """Whatever comes meanwhile: a new list, or answers of others about other images. In the grid, this one is left
    out."""
    tmp, said = tmp_path_factory.mktemp("screen"), SAID[task]
    photos(tmp / "photos", 6)
    with labeler(tmp, task=task) as service:
        for event, images in [("push", [2, 4]), *events]:
            if not (served := service.serve("ann", "a", 1).items):
                break
            shown = served[0]
            others = [each for each in dict.fromkeys(images) if each != shown.image_id]
            if event == "push":
                service.push(pushed(service, images))
            elif event == "grid":
                seen = service.log.last_seq
                given = [
                    said(each, 2, annotator="bob", source="grid", as_of=seen) for each in [*others, shown.image_id]
                ]
                assert service.annotate(given).held == [shown.image_id]
            elif event != "answer":
                service.annotate([said(each, 2, annotator="bob", action=event) for each in others])
            (still,) = service.serve("ann", "a", 1, keep=[shown.image_id]).items
            assert (still.image_id, still.suggestions, still.boxes) == (shown.image_id, shown.suggestions, shown.boxes)
            assert shown.image_id not in [each.image_id for each in service.serve("eve", "b", 6).items]
            service.leases.free("b")
            if event == "answer":
                service.annotate([said(shown.image_id, 1, session="a")])


@every_task
def test_no_list_names_a_held_out_image_and_it_is_not_answered_in_the_grid(tmp_path: Path, task: str) -> None:
    photos(tmp_path / "photos", 6)
    with labeler(tmp_path, task=task) as service:
        service.push(pushed(service, [1, 2, 3, 4, 5, 6]))
        service.annotate([SAID[task](each, 3) for each in (1, 2, 3)])
        service.catalog.move([2, 5], "test")
        service.catalog.move([3], "validation")
        with TestClient(create_api(service)) as client:
            for asked in (
                {"status": "any"},
                {"images": "1,2,3,4,5,6"},
                {"search": "png", "status": "any"},
                {"label": 2},
            ):
                page = client.get("/grid", params=asked)
                assert page.status_code == 200, page.text
                assert {1} <= {*page.json()["image_ids"]} <= {1, 4, 6}, asked
            told = client.get("/grid/images", params={"ids": "1,2,3,4,5,6"}).json()["images"]
            assert {each["image_id"] for each in told} == {1, 4, 6}
            body = SAID[task](5, 2, source="grid", as_of=service.log.last_seq).model_dump(
                mode="json", exclude_none=True
            )
            assert client.post("/annotations", json={"annotations": [body]}).status_code in (409, 422)
