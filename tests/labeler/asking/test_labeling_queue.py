import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import select

from labeler.asking.labeling_queue import LabelingQueue, Pick
from labeler.asking.leases import Leases
from labeler.errors import Conflict
from labeler.store.annotation_log import AnnotationLog, Draft
from labeler.store.counts import Counts
from labeler.store.database import Store
from labeler.store.present import PresentImages
from labeler.store.tables import PUSH, RANKED
from shared.wire.fields import Split
from shared.wire.log import Row
from shared.wire.queries import Query, QueryPush, Suggestion
from tests.labeler.projects import settings


class Project:
    """A queue over images that need no files: image n has place n/1000."""

    def __init__(self, folder: Path, splits: dict[int, Split], **values: object) -> None:
        self.settings = settings(folder, **values)
        self.splits = splits
        self.open()

    def open(self) -> None:
        self.store = Store(self.settings)
        self.log = AnnotationLog(self.store)
        self.present = PresentImages(self.log.fold)
        self.tally = Counts(self.log.fold, self.present)
        self.log.load(self.tally.observe)
        self.leases = Leases()
        self.queue = LabelingQueue(self.store, self.log, self.tally, self.leases, self.settings)
        self.present.follow(self.queue.moved)
        self.log.listen(self._written)
        for image_id, split in self.splits.items():
            self.present.take_in(image_id, split, image_id / 1_000)

    def reopen(self) -> None:
        self.store.close()
        self.open()

    def label(self, image_id: int, annotator: str = "ann") -> UUID:
        row = Draft(action="skip", image_id=image_id, annotator=annotator)
        self.log.append([row])
        for session in ("tab", "other"):
            self.leases.release(image_id, session)
        return row.id

    def undo(self, image_id: int, target: UUID) -> None:
        self.log.append([Draft(action="undo", image_id=image_id, target=target, annotator="ann")])

    def push(self, image_ids: list[int], **values: object) -> QueryPush:
        content = {
            "id": uuid4(),
            "log_id": self.log.log_id,
            "model_version": "m",
            "acked_seq": self.log.last_seq,
            "strategy": "margin",
            "queries": [Query(image_id=image_id, score=-place) for place, image_id in enumerate(image_ids)],
        }
        return QueryPush.model_validate(content | values)

    def ask(self, session: str = "tab", limit: int = 1, keep: tuple[int, ...] = (), annotator: str = "") -> list[int]:
        return [pick.image_id for pick in self.picks(session, limit, keep, annotator)]

    def picks(self, session: str, limit: int, keep: tuple[int, ...] = (), annotator: str = "") -> list[Pick]:
        return self.queue.serve(annotator or session, session, limit, keep)

    def _written(self, _rows: Sequence[Row], changed: set[int]) -> None:
        for image_id in changed:
            self.tally.refresh(image_id)
            self.queue.refresh(image_id)


def train(count: int) -> dict[int, Split]:
    return dict.fromkeys(range(1, count + 1), "train")


def test_before_any_list_the_order_is_the_hash(tmp_path: Path) -> None:
    project = Project(tmp_path, train(5))
    assert project.ask(limit=3) == [1, 2, 3]


def test_a_list_goes_first_and_the_rest_keeps_its_order(tmp_path: Path) -> None:
    project = Project(tmp_path, train(8))
    project.queue.push(project.push([7, 5, 3]))
    project.queue.push(project.push([2, 5]))
    assert list(project.queue.ranked()) == [2, 5, 7, 3, 1, 4, 6, 8]


def test_images_held_by_a_page_stay_there_and_go_to_nobody_else(tmp_path: Path) -> None:
    project = Project(tmp_path, train(6))
    assert project.ask("tab", 2) == [1, 2]
    project.queue.push(project.push([6, 2, 5]))
    assert project.ask("other", 2) == [6, 5]
    assert project.ask("tab", 3, keep=(1, 2)) == [1, 2, 3]
    assert project.ask("tab", 2, keep=(2,)) == [2, 1]


def test_only_open_train_images_are_taken_from_a_list(tmp_path: Path) -> None:
    project = Project(tmp_path, train(4) | {5: "test", 6: "validation"}, test_free_labels=1_000)
    project.label(2)
    project.queue.push(project.push([5, 2, 6, 99, 3, 3]))
    assert list(project.queue.ranked()) == [3, 1, 4]
    assert project.ask(limit=10)[:3] == [3, 1, 4]
    held_out = [pick for pick in project.picks("tab", 10) if pick.split != "train"]
    assert {pick.image_id for pick in held_out} == {5, 6}
    assert all(pick.place is None for pick in held_out)


def test_a_repeat_gets_the_version_that_it_got(tmp_path: Path) -> None:
    project = Project(tmp_path, train(3))
    push = project.push([3, 2])
    first = project.queue.push(push)
    project.queue.push(project.push([1]))
    project.reopen()
    assert project.queue.push(push) == first
    assert project.queue.version == 2


def test_a_list_that_has_seen_less_is_refused(tmp_path: Path) -> None:
    project = Project(tmp_path, train(5))
    old = project.push([1])
    project.label(1)
    project.queue.push(project.push([2]))
    with pytest.raises(Conflict) as refused:
        project.queue.push(old)
    assert refused.value.fields == {"acked_seq": 1, "query_version": 1}
    with pytest.raises(Conflict):
        project.queue.push(project.push([3], acked_seq=2))
    with pytest.raises(Conflict):
        project.queue.push(project.push([3], log_id=uuid4()))
    project.queue.push(project.push([4]))
    assert project.ask() == [4]


def test_score_reason_and_suggestions_of_an_image_survive_a_restart(tmp_path: Path) -> None:
    project = Project(tmp_path, train(2))
    said = Query(image_id=2, score=0.5, reason="unlike the rest", suggestions=[Suggestion(label=1, confidence=0.7)])
    project.queue.push(project.push([], queries=[said]))
    project.reopen()
    place = project.picks("tab", 1)[0].place
    assert place is not None
    assert (place.score, place.reason, place.suggestions) == (0.5, said.reason, tuple(said.suggestions))


def test_the_reason_for_asking_is_kept_after_the_answer(tmp_path: Path) -> None:
    """Model, labels that it had seen, gain, place and strategy: what an analysis of the queries needs."""
    project = Project(tmp_path, train(6))
    project.label(6)
    project.queue.push(project.push([3, 1], model_version="m1", strategy="margin"))
    project.label(3)
    project.queue.push(project.push([1, 2], model_version="m2", strategy="badge"))
    kept = (
        select(RANKED.c.image_id, RANKED.c.model_version, PUSH.c.acked_seq, RANKED.c.score, PUSH.c.strategy)
        .join(PUSH, PUSH.c.query_version == RANKED.c.query_version)
        .order_by(RANKED.c.image_id)
    )
    with project.store.read() as connection:
        found = [tuple(row) for row in connection.execute(kept)]
    assert found == [(1, "m2", 2, 0.0, "badge"), (2, "m2", 2, -1.0, "badge"), (3, "m1", 1, 0.0, "margin")]


def test_overlap_asks_so_many_and_never_one_twice(tmp_path: Path) -> None:
    project = Project(tmp_path, train(1), overlap=2)
    assert project.ask("tab", annotator="ann") == [1]
    assert project.ask("other", annotator="ann") == []  # the same person in another tab
    assert project.ask("third", annotator="bob") == [1]
    assert project.ask("fourth", annotator="eve") == []
    project.leases.release(1, "third")
    project.label(1, "ann")
    assert project.ask("other", annotator="ann") == []
    assert project.ask("fourth", annotator="eve") == [1]
    project.log.append([Draft(action="skip", image_id=1, annotator="eve")])
    assert project.queue.remaining == 0


def test_with_overlap_what_others_have_begun_comes_before_anything_new(tmp_path: Path) -> None:
    project = Project(tmp_path, train(6) | {7: "test"}, overlap=2, test_free_labels=1_000)
    for image_id in (4, 7, 2):
        project.label(image_id, "ann")
    project.queue.push(project.push([6, 5]))  # a trainer does not name again what somebody answered
    assert project.ask("bobs", 4, annotator="bob") == [4, 7, 2, 6]
    assert project.ask("anns", 2, annotator="ann") == [6, 5]
    assert [pick.place for pick in project.picks("bobs", 2, annotator="bob")] == [None, None]
    project.reopen()
    assert set(project.ask("bobs", 3, annotator="bob")) == {2, 4, 7}
    project.label(4, "bob")
    assert 4 not in project.ask("eves", 3, annotator="eve")  # two have answered


def test_when_only_held_out_images_are_left_they_are_served(tmp_path: Path) -> None:
    project = Project(tmp_path, {1: "train", 2: "test", 3: "test"})
    assert project.ask(limit=5) == [1, 2, 3]


@examples(max_examples=8)
@given(st.lists(st.sampled_from(["one", "page", "keep"]), min_size=30, max_size=80))
def test_the_test_share_holds_at_every_prefix(steps: list[str]) -> None:
    """However a page asks, one at a time or ahead, the n-th image shown is a test image when the schedule says so."""
    with tempfile.TemporaryDirectory() as folder:
        splits = train(300) | dict.fromkeys(range(301, 400), "test")
        project = Project(Path(folder), splits, test_free_labels=5, test_first_share=0.25, test_first_count=50)
        shown: list[str] = []
        held: list[int] = []
        for step in steps:
            if not held:
                held = project.ask("tab", 1 if step == "one" else 4)
            elif step == "keep":
                held = project.ask("tab", 4, keep=tuple(held))
            image_id = held.pop(0)
            shown.append(splits[image_id])
            project.label(image_id)
        for asked in range(1, len(shown) + 1):
            assert shown[:asked].count("test") == max(0, asked - 5) // 4
        project.store.close()


def test_a_page_that_was_closed_brings_no_test_image_forward(tmp_path: Path) -> None:
    splits = train(60) | dict.fromkeys(range(61, 80), "test")
    project = Project(tmp_path, splits, test_free_labels=20, test_first_share=0.25, test_first_count=50)
    for closed in range(3):
        project.ask(f"closed {closed}", 10)
    assert [splits[image_id] for image_id in project.ask("tab", 24)] == ["train"] * 23 + ["test"]


STEP: st.SearchStrategy[tuple[str, list[int]]] = st.one_of(
    st.tuples(st.just("push"), st.lists(st.integers(1, 14), max_size=6)),
    st.tuples(st.sampled_from(["ask", "other", "label", "undo", "reopen"]), st.just([])),
)


@examples(max_examples=25)
@given(st.lists(STEP, max_size=25))
def test_any_course_of_events(steps: list[tuple[str, list[int]]]) -> None:
    """The order is a permutation of the open images: newest list first, the rest as it was; sessions stay apart."""
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder), train(12))
        newest_first: list[int] = []
        done: dict[int, UUID] = {}
        held: dict[str, list[int]] = {"tab": [], "other": []}
        for step, names in steps:
            if step == "push":
                named = [name for name in dict.fromkeys(names) if name <= 12 and name not in done]
                project.queue.push(project.push(names))
                newest_first = named + [image_id for image_id in newest_first if image_id not in named]
            elif step in ("ask", "other"):
                session = "tab" if step == "ask" else "other"
                before = held[session]
                held[session] = project.ask(session, 3, keep=tuple(before[:2]))
                assert held[session][: len(before[:2])] == before[:2]
            elif step == "label" and held["tab"]:
                image_id = held["tab"].pop(0)
                done[image_id] = project.label(image_id)
            elif step == "undo" and done:
                image_id, target = done.popitem()
                project.undo(image_id, target)
            elif step == "reopen":
                project.reopen()
                held = {"tab": [], "other": []}
            never_named = [image_id for image_id in range(1, 13) if image_id not in newest_first]
            expected = [image_id for image_id in newest_first + never_named if image_id not in done]
            assert list(project.queue.ranked()) == expected
            assert not set(held["tab"]) & set(held["other"])
            assert project.queue.remaining == len(expected)
        project.store.close()


def test_a_push_does_not_repeat_a_place(tmp_path: Path) -> None:
    project = Project(tmp_path, train(50))
    numbers = count(1)
    for _ in range(5):
        project.queue.push(project.push([next(numbers) for _ in range(8)]))
    order = list(project.queue.ranked())
    project.reopen()
    assert list(project.queue.ranked()) == order == [*range(33, 41), *range(25, 33), *range(17, 25), *range(9, 17),
                                                     *range(1, 9), *range(41, 51)]  # fmt: skip
