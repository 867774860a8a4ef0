"""For every kind of answer: who holds which image, and whether an answer counts that comes after others' answers."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from labeler.service import Service
from tests.labeler.projects import labeler, photos
from tests.labeler.tasks import SAID, every_task

PEOPLE = {"a": "ann", "b": "bob", "c": "eve"}
LEASE = 10.0
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from("abc"), st.integers(1, 2)),
        st.tuples(st.just("say"), st.sampled_from("abc"), st.integers(0, 7)),
        st.tuples(st.just("wait"), st.just(""), st.integers(1, 8)),
    ),
    min_size=5,
    max_size=20,
)

LATE = [("ask", "a", 1), ("wait", "", 8), ("wait", "", 8), ("ask", "b", 1), ("say", "b", 1), ("say", "a", 2)]
"""A lease ends, another page answers, and then the first one does."""


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def held_by(service: Service, image: int) -> set[str]:
    return {lease.annotator for lease in service.leases.on(image)}


@every_task
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, overlap=st.integers(1, 2))
@example(steps=LATE, overlap=1)
def test_an_image_has_as_many_askers_as_answers_are_missing_and_a_late_answer_overrides_nobody(
    tmp_path_factory: pytest.TempPathFactory, task: str, steps: list[tuple[str, str, int]], overlap: int
) -> None:
    tmp, clock = tmp_path_factory.mktemp("leases"), Clock()
    photos(tmp / "photos", 3)
    shown: dict[str, list[int]] = {page: [] for page in PEOPLE}
    until: dict[tuple[int, str], float] = {}
    with labeler(tmp, task=task, overlap=overlap, lease_seconds=LEASE) as service:
        service.leases._clock = clock
        for action, page, number in steps:
            if action == "wait":
                clock.now += number
            elif action == "ask":
                items = [item.image_id for item in service.serve(PEOPLE[page], page, number).items]
                until = {each: at for each, at in until.items() if each[1] != page}
                until |= {(image, page): clock.now + LEASE for image in items}
                shown[page] += [image for image in items if image not in shown[page]]
                for image in items:
                    answered = service.log.fold.state(image).answered
                    assert PEOPLE[page] not in answered, "an answered image never comes back by itself"
                    assert len(answered | held_by(service, image)) <= overlap, "nobody is asked in vain"
            elif shown[page]:
                image = shown[page][number % len(shown[page])]
                before, fold = service.log.fold.state(image), service.log.fold
                others = before.answered - {PEOPLE[page]}
                late = len(others) >= overlap and until.get((image, page), 0.0) <= clock.now
                said = SAID[task](image, number % 4, annotator=PEOPLE[page], session=page)
                service.annotate([said])
                until.pop((image, page), None)
                row = service.log.page(service.log.last_seq - 1, 1).annotations[0]
                assert (row.id, row.source == "late") == (said.id, late)
                if late:
                    assert (fold.state(image).label, fold.state(image).status) == (before.label, before.status)
                else:
                    assert fold.votes(image)[PEOPLE[page]] == fold.task.of_row(row)
            alive = {each for each, at in until.items() if at > clock.now}
            assert {(image, lease.session) for image in (1, 2, 3) for lease in service.leases.on(image)} == alive
