"""A snapshot can be viewed, compared and restored, whatever happened later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labeler.errors import Conflict, Missing
from labeler.service import Service
from shared.tasks.detection import DETECTION
from shared.wire.dataset import SnapshotPost
from shared.wire.log import Annotation, Undo
from shared.wire.project import ClassPatch
from tests.labeler.projects import answer, labeler, photos, statements
from tests.labeler.tasks import SAID, Said

pytestmark = pytest.mark.usefixtures("both_stores")

PEOPLE = st.sampled_from(["ann", "bob"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["label", "settle"]), st.integers(1, 4), PEOPLE, st.sampled_from(["cat", "dog"])),
        st.tuples(st.sampled_from(["skip", "flag"]), st.integers(1, 4), PEOPLE, st.none()),
        st.tuples(st.just("undo"), st.just(0), PEOPLE, st.none()),
        st.tuples(st.just("move"), st.integers(1, 4), st.just("ann"), st.sampled_from(["train", "validation", "test"])),
    ),
    max_size=10,
)


def happen(service: Service, steps: list[Any], said: Said = answer) -> None:
    for number, (action, image, who, value) in enumerate(steps):
        if action == "move":
            service.catalog.move([image], value)
        elif action == "undo":
            try:
                service.annotations.undo(Undo(id=answer(1).id, annotator=who))
            except Missing:
                continue
        else:
            makes = answer if value is None else said
            service.annotate([makes(image, value, action=action, annotator=who, note=str(number))])


def save(service: Service, name: str) -> None:
    service.snapshots.save(SnapshotPost(name=name))


def state(service: Service, snapshot: str | None = None) -> list[Any]:
    lines = b"".join(service.exports.begin("jsonl", snapshot=snapshot)[0]).splitlines()
    rows = [json.loads(line) for line in lines]
    label = "boxes" if service.log.fold.task is DETECTION else "label"
    return [[row[name] for name in ("id", label, "split", "status", "annotators")] for row in rows]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(before=STEPS, after=STEPS)
def test_it_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, before: list[Any], after: list[Any]) -> None:
    tmp = tmp_path_factory.mktemp("snapshot")
    photos(tmp / "photos", 4)
    with labeler(tmp, overlap=2) as service:
        happen(service, before)
        save(service, "before")
        then, seq = state(service), service.log.last_seq
        happen(service, after)
        save(service, "after")
        now, seq_now = state(service), service.log.last_seq
        assert state(service, "before") == then
        looked = service.snapshots.restore("before", "me", dry_run=True)
        assert (state(service), service.log.last_seq) == (now, seq_now)
        assert service.snapshots.restore("before", "me") == looked
        assert state(service) == then
        assert service.log.last_seq >= seq  # nothing is forgotten
        difference = service.snapshots.diff("before", None, 100)
        assert (difference.labels, difference.splits) == (0, 0)
        written = service.log.last_seq
        service.snapshots.restore("before", "me")
        assert service.log.last_seq == written  # again is nothing
        service.snapshots.restore("after", "me")
        assert state(service) == now
        found = service.snapshots.diff("before", "after", 100)
        changed = {old[0] for old, new in zip(then, now, strict=True) if old[1:3] != new[1:3]}
        assert {each.image_id for each in found.differences} == changed


@pytest.mark.parametrize("task", ["multilabel", "detection"])
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(before=STEPS, after=STEPS)
def test_answers_of_any_kind_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, task: str, before: list[Any], after: list[Any]
) -> None:
    tmp = tmp_path_factory.mktemp("snapshot")
    photos(tmp / "photos", 4)

    def said(image: int, value: str, **values: Any) -> Annotation:
        return SAID[task](image, 1 + (value == "dog"), **values)

    with labeler(tmp, overlap=2, task=task) as service:
        happen(service, before, said)
        save(service, "before")
        then, labels = state(service), dict(service.log.fold.labels)
        happen(service, after, said)
        save(service, "after")
        now = state(service)
        assert state(service, "before") == then
        service.snapshots.restore("before", "me")
        assert (state(service), service.log.fold.labels) == (then, labels)
        service.snapshots.restore("after", "me")
        assert state(service) == now


def test_names_are_listed_and_never_taken_twice(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    with labeler(tmp_path) as service:
        save(service, "first")
        service.annotate([answer(1)])
        save(service, "second, with 100%")
        assert [(entry.name, entry.seq) for entry in service.snapshots.entries()] == [
            ("first", service.log.last_seq - 1),
            ("second, with 100%", service.log.last_seq),
        ]
        with pytest.raises(Conflict, match="already"):
            save(service, "first")
        with pytest.raises(Missing, match="third"):
            service.snapshots.restore("third", "me")
        (only,) = service.snapshots.diff("first", "second, with 100%", 10).differences
        assert (only.image_id, only.label) == (1, (None, "cat"))


@pytest.mark.parametrize("name", ["a/b", "a\nb"])
def test_a_name_that_cannot_be_is_refused_in_words(name: str) -> None:
    with pytest.raises(ValueError, match="a name has no slash and no line break"):
        SnapshotPost(name=name)


def test_a_class_that_was_merged_or_deleted_since_stays_so(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path, classes=["cat", "dog", "owl"]) as service:
        service.annotate([answer(1, "cat"), answer(2, "dog"), answer(3, "owl")])
        save(service, "all")
        service.classes.change(1, ClassPatch(into=2, annotator="me"))
        service.classes.delete(3, "me")
        service.annotate([answer(2, "dog", action="settle")])
        restored = service.snapshots.restore("all", "me")
        assert [row[1] for row in state(service)] == ["dog", "dog", None]
        assert restored.lost == 1
        assert [row[1] for row in state(service, "all")] == ["cat", "dog", "owl"]


def test_many_images_are_restored_with_as_many_statements_as_few(tmp_path: Path) -> None:
    """All labeling waits while a snapshot is restored."""
    photos(tmp_path / "photos", 40)
    counts = []
    with labeler(tmp_path) as service:
        save(service, "empty")
        for images in (range(1, 3), range(1, 41)):
            service.annotate([answer(image_id) for image_id in images])
            service.catalog.move(images, "validation")
            with statements(service.engine) as executed:
                restored = service.snapshots.restore("empty", "me")
            assert (restored.undone, restored.moved) == (len(images), len(images))
            counts.append(len(executed))
    assert counts[0] == counts[1]
