from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy.exc import IntegrityError

from labeler.store.annotation_log import AnnotationLog, Draft
from labeler.store.database import Store
from labeler.store.tables import LogRow
from shared.log import Fold
from shared.wire.log import Row
from tests.labeler.projects import settings


def test_dense_in_order_and_there_after_a_restart(tmp_path: Path) -> None:
    store = Store(settings(tmp_path))
    log = AnnotationLog(store)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: log.append([Draft(action="skip", image_id=n, annotator="a")]), range(40)))
    rows = log.page(0, 100).annotations
    assert [row.seq for row in rows] == list(range(1, 41))
    store.close()
    store = Store(settings(tmp_path))
    again = AnnotationLog(store)
    again.load(lambda _: None)
    assert again.log_id == log.log_id
    assert again.page(0, 100).annotations == rows
    assert again.fold.images == log.fold.images == Fold(rows).images
    assert again.page(38, 1).annotations == rows[38:39]
    store.close()


def test_all_rows_or_none(tmp_path: Path) -> None:
    store = Store(settings(tmp_path))
    log = AnnotationLog(store)
    heard: list[int] = []
    log.listen(lambda rows, _: heard.append(len(rows)))
    twice = Draft(action="skip", image_id=1, annotator="a", id=uuid4())
    with pytest.raises(IntegrityError):
        log.append([twice, twice])
    assert (log.last_seq, log.page(0, 10).annotations, heard) == (0, [], [])
    log.append([twice])
    assert (log.last_seq, heard) == (1, [1])
    store.close()


def test_standing_answers_about_images(tmp_path: Path) -> None:
    store = Store(settings(tmp_path))
    log = AnnotationLog(store)
    first, second = (Draft(action="skip", image_id=1, annotator=who) for who in "ab")
    log.append([first, second, Draft(action="undo", image_id=1, target=first.id, annotator="a")])
    assert [row.id for row in log.answers_about([1, 2])[1]] == [second.id]
    assert set(log.find([first.id, uuid4()])) == {first.id}
    store.close()


def test_a_row_has_the_same_fields_on_the_wire_before_it_is_written_and_in_the_table() -> None:
    draft = {each.name for each in fields(Draft)} | {"seq"}
    assert draft == set(Row.model_fields) == set(LogRow.model_fields)
