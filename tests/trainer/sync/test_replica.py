from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from shared.log import Fold
from shared.storage.database import write
from shared.tasks.registry import task_named
from shared.wire.log import AnnotationBatch, AnnotationPage, Row
from tests.shared.tasks.count import registered
from tests.trainer.logs import LOG, WHEN, batch, class_rows, entry, label_rows
from trainer.sync.replica import Gap, Replica
from trainer.sync.snapshot import Snapshot

ROWS = [*class_rows("cat", "dog"), *label_rows([(10, 1), (11, 2), (12, 1), (10, 2)], after=2)]
BOX = {"label": 1, "x": 1.5, "y": 2.0, "w": 30.0, "h": 4.0, "origin": "accepted"}
SAID: dict[str, list[dict[str, Any]]] = {
    "classification": [{"label": 1}, {"label": 2}],
    "multilabel": [{"answer": {"yes": [1], "no": [2]}}, {"answer": {"yes": [], "no": [1, 2]}}],
    "detection": [{"answer": {"boxes": [BOX, {**BOX, "label": 2}]}}, {"answer": {"boxes": []}}],
}
LOGS = {
    task: [
        row
        if row.label is None or row.action != "label"
        else row.model_copy(update={"label": None} | said[row.label - 1])
        for row in ROWS
    ]
    for task, said in SAID.items()
}
"""The same log in a project of each task."""


@pytest.fixture
def replica(tmp_path):
    replica = Replica(tmp_path)
    yield replica
    replica.close()


def test_rows_are_there_after_a_restart(replica, tmp_path):
    replica.accept(batch(ROWS))
    replica.update_catalog([entry(10), entry(11, removed=True)], after=2)
    replica.close()

    again = Replica(tmp_path)
    assert again.acked_seq == len(ROWS)
    assert again.log_id == LOG
    assert again.fold.labels == {10: 2, 11: 2, 12: 1}
    assert again.catalog == {10: entry(10), 11: entry(11, removed=True)}
    assert again.removed() == {11}
    assert again.catalog_after == 2
    again.close()


@pytest.mark.parametrize("first", ["log", "catalog"])
def test_an_image_is_gone_once_the_log_or_the_catalogue_says_so_and_back_once_both_do(replica, first):
    replica.accept(batch(ROWS))
    replica.update_catalog([entry(10), entry(11), entry(12)], after=3)

    def say(action, *, removed):
        row = Row(seq=replica.acked_seq + 1, id=uuid4(), action=action, image_id=11, split="test", created_at=WHEN)
        heard = [lambda: replica.accept(batch([row])), lambda: replica.update_catalog([entry(11, removed=removed)], 4)]
        for hear in heard if first == "log" else reversed(heard):
            hear()
            yield {each.id: each.split for each in replica.images()}

    there, gone = {10: "train", 11: "test", 12: "train"}, {10: "train", 12: "train"}
    assert [*say("image_removed", removed=True)] == [gone, gone]
    assert (replica.removed(), replica.images([11]), replica.image_count) == ({11}, [], 2)
    assert 11 in Snapshot.of(replica).answered, "nobody is asked about it"
    assert [*say("split_changed", removed=False)] == [gone, there]
    assert (replica.removed(), replica.images([11]), replica.image_count) == (set(), [entry(11, split="test")], 3)


def test_a_batch_sent_twice_changes_nothing(replica):
    assert len(replica.accept(batch(ROWS))) == len(ROWS)
    assert replica.accept(batch(ROWS)) == []
    assert replica.acked_seq == len(ROWS)


def test_a_gap_is_refused_and_says_where_to_go_on(replica):
    replica.accept(batch(ROWS[:2]))
    with pytest.raises(Gap) as gap:
        replica.accept(batch(ROWS[4:]))
    assert gap.value.acked_seq == 2
    assert replica.acked_seq == 2


def test_rows_that_are_not_consecutive_are_refused(replica):
    holey = batch(ROWS)
    del holey.annotations[2]
    with pytest.raises(ValueError, match="consecutive"):
        replica.accept(holey)
    assert replica.acked_seq == 0


def test_another_log_sets_the_replica_aside(replica, tmp_path):
    replica.accept(batch(ROWS))
    replica.update_catalog([entry(10)], after=1)
    other = uuid4()
    with pytest.raises(Gap) as gap:
        replica.accept(batch(ROWS[3:], log_id=other))
    assert gap.value.acked_seq == 0
    assert replica.log_id == other
    assert replica.catalog == {}
    replica.accept(batch(ROWS[:3], log_id=other))
    assert replica.acked_seq == 3
    assert len(list(tmp_path.glob("replica-*.db"))) == 1


def test_a_log_that_became_shorter_is_followed_from_its_start(replica):
    replica.accept(batch(ROWS))
    with pytest.raises(Gap) as gap:
        replica.accept(batch(ROWS[2:3], last_seq=3))
    assert gap.value.acked_seq == 0
    replica.accept(batch(ROWS[:3]))
    assert replica.fold.labels == {10: 1}


def test_a_log_that_was_set_back_and_has_grown_past_the_copy_is_followed_from_its_start(replica):
    """A copy of the labeler's database made by hand keeps the log's id, so only the rows tell."""
    replica.accept(batch(ROWS))
    other = [*ROWS[:3], *label_rows([(11, 1), (12, 2), (13, 1), (14, 2)], after=3)]
    rest = batch(other[len(ROWS) :]).model_copy(update={"after_id": other[len(ROWS) - 1].id})
    with pytest.raises(Gap) as gap:
        replica.accept(rest)
    assert gap.value.acked_seq == 0
    replica.accept(batch(other))
    assert replica.fold.labels == Fold(other).labels
    assert replica.accept(rest) == []


def test_a_page_that_was_asked_for_counts_like_a_batch(replica):
    replica.accept(batch(ROWS[:3]))
    rest = AnnotationPage(log_id=LOG, annotations=ROWS[3:], last_seq=len(ROWS))
    assert len(replica.follow_page(rest)) == len(ROWS) - 3


@pytest.mark.parametrize("task", sorted(LOGS))
@settings(max_examples=15)
@given(st.lists(st.tuples(st.integers(0, len(ROWS)), st.integers(0, len(ROWS))), max_size=12))
def test_any_order_of_batches_ends_with_the_whole_log(tmp_path_factory, task, slices):
    """Batches lost, repeated and out of order are refused or harmless, and the rest completes the log."""
    folder, rows, kind = tmp_path_factory.mktemp("replica"), LOGS[task], task_named(task)
    replica = Replica(folder)

    def message(start, end):
        sent = AnnotationBatch(
            log_id=LOG, after_seq=start, last_seq=len(rows), annotations=rows[start:end], catalog_version=0, task=task
        )
        return AnnotationBatch.model_validate_json(sent.model_dump_json())

    for start, end in [*slices, (0, 0)]:
        if start > replica.acked_seq:
            with pytest.raises(Gap):
                replica.accept(message(start, end))
        else:
            replica.accept(message(start, end))
        assert replica.fold.labels == Fold(rows[: replica.acked_seq], kind).labels
    replica.accept(message(replica.acked_seq, len(rows)))
    assert replica.fold.labels == Fold(rows, kind).labels != {}
    replica.close()
    again = Replica(folder)
    assert (again.fold.labels, again.fold.task) == (replica.fold.labels, kind)
    again.close()


def test_labels_of_another_task_are_what_its_task_says_also_after_a_restart(replica, tmp_path):
    def counted(seq: int, who: str, count: int) -> Row:
        said = {"action": "label", "image_id": 10, "answer": count, "annotator": who, "created_at": WHEN}
        return Row(seq=seq, id=uuid4(), **said)

    with registered():
        rows = [counted(1, "ann", 2), counted(2, "bob", 5), counted(3, "eve", 3)]
        replica.accept(batch(rows).model_copy(update={"task": "count"}))
        replica.close()
        again = Replica(tmp_path)
        snapshot = Snapshot.of(again)
        assert (snapshot.task, snapshot.labels) == ("count", {10: 3})
        again.close()


def test_the_catalogue_of_an_earlier_version_is_taken_over(replica, tmp_path):
    """It kept each image as JSON. It may have run again after this one, and have learned of changes then."""
    later = [entry(10, split="validation"), entry(11, split="test"), entry(12, removed=True)]
    replica.update_catalog([entry(10)], after=1)
    with write(replica.engine) as connection:
        connection.exec_driver_sql("CREATE TABLE replica_image (id INTEGER PRIMARY KEY, payload VARCHAR NOT NULL)")
        for each in later:
            connection.exec_driver_sql("INSERT INTO replica_image VALUES (?, ?)", (each.id, each.model_dump_json()))
    replica.close()
    for _ in range(2):
        again = Replica(tmp_path)
        assert again.catalog == {each.id: each for each in later}
        assert again.removed() == {12}
        again.close()


def test_an_image_of_a_catalogue_that_was_replaced_is_unknown(replica):
    replica.update_catalog([entry(5)], after=1)
    before = replica.catalog  # held by a reader on another thread
    replica.forget_catalog()
    assert before.get(5) is None
    assert before.some([5]) == []


def test_whoever_follows_the_catalogue_sees_each_change_once(replica):
    replica.update_catalog([entry(5), entry(3)], after=2)
    places, seen = replica.catalog.changes(0)
    assert replica.catalog.ids[places].tolist() == [5, 3]
    replica.update_catalog([entry(3, removed=True), entry(9)], after=4)
    places, seen = replica.catalog.changes(seen)
    assert replica.catalog.ids[places].tolist() == [3, 9]
    assert replica.catalog.gone[places].tolist() == [True, False]
    assert len(replica.catalog.changes(seen)[0]) == 0
    assert [each.id for each in replica.catalog.entries()] == [3, 5, 9]
    assert replica.catalog.some([9, 4, 3]) == [entry(9), entry(3, removed=True)]


def test_the_hash_of_an_image_needs_no_statement(replica):
    replica.update_catalog([entry(1), entry(2), entry(3).model_copy(update={"removed": True})], after=3)
    gone = Row(seq=1, id=uuid4(), action="image_removed", image_id=2, created_at=WHEN)
    replica.accept(batch([gone]))
    executed: list[str] = []
    event.listen(replica.engine, "before_cursor_execute", lambda *given: executed.append(given[2]))
    assert [replica.hash_of(image_id) for image_id in (1, 2, 3, 4)] == [entry(1).sha256, None, None, None]
    assert executed == []
