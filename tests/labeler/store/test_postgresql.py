"""A labeler on a real PostgreSQL server: one writer, snapshots, and commits whose confirmation is lost."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest
from sqlalchemy import text

from labeler.errors import DatabaseAway, Invalid
from labeler.service import Service
from labeler.store import writer
from labeler.store.database import Store
from labeler.store.writer import Taken, is_free
from shared.web.parts import PART_BYTES
from shared.wire.log import Annotation
from tests.labeler.projects import answer, labeler, photos, pushed, settings
from tests.postgresql import CutCommit, server
from tests.services import wait_for


@pytest.fixture
def database() -> str:
    return server().new_database()


@pytest.fixture
def cut() -> Iterator[CutCommit]:
    proxy = CutCommit(server())
    yield proxy
    proxy.close()


def stored(url: str) -> list[int | None]:
    """The images that the log is about, as another program sees them."""
    import psycopg

    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        return [
            row[0] for row in connection.execute("SELECT image_id FROM annotation WHERE action = 'label' ORDER BY seq")
        ]


def test_a_second_labeler_is_refused_and_told_where_the_first_is(tmp_path: Path, database: str) -> None:
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path, database_url=database) as first:
        assert first.store.writer is not None
        first.store.writer.announce(first.engine, "http://10.0.0.1:8501")
        assert not is_free(first.engine.url)
        with pytest.raises(Taken, match=r"Another labeler at http://10\.0\.0\.1:8501 writes to this database"):
            Service(settings(tmp_path, database_url=database, workspace=tmp_path / "other"))
        first.annotate([answer(1)])
    with labeler(tmp_path, database_url=database) as next_one:
        assert next_one.log.fold.state(1).answered


def test_a_writer_that_was_cut_off_writes_no_more(tmp_path: Path, database: str) -> None:
    photos(tmp_path / "photos", 3)
    lost: list[str] = []
    with labeler(tmp_path, database_url=database) as first:
        assert first.store.writer is not None
        first.store.writer.on_lost = lambda: lost.append("lost")
        first.annotate([answer(1)])
        server().execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")

        def taken_over() -> Store | None:
            with suppress(writer.Taken):  # the server has not ended that connection yet
                return Store(settings(tmp_path, database_url=database, workspace=tmp_path / "other"))
            return None

        second = wait_for(taken_over)
        with pytest.raises(DatabaseAway, match="Another labeler has taken over"):
            first.annotate([answer(2)])
        assert lost == ["lost"]
        second.close()
    assert stored(database) == [1]


def test_a_writer_takes_its_lock_again_after_the_server_was_away(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "LOOK_SECONDS", 0.05)
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path, database_url=database) as running:
        running.annotate([answer(1)])
        server().stop()
        with pytest.raises(DatabaseAway, match="does not answer"):
            running.annotate([answer(2)])
        server().start()
        running.annotate([answer(2)])
        for _ in range(200):
            if not is_free(running.engine.url):
                break
        else:
            pytest.fail("the lock was not taken again")
        running.annotate([answer(3)])
    assert stored(database) == [1, 2, 3]


@pytest.mark.parametrize("lost", ["before", "after"])
def test_a_commit_whose_answer_is_lost(
    tmp_path: Path, database: str, cut: CutCommit, lost: Literal["before", "after"]
) -> None:
    photos(tmp_path / "photos", 4)
    with labeler(tmp_path, database_url=cut.address(database)) as running:
        running.annotate([answer(1)])
        again: Annotation = answer(2)
        cut.cut = lost
        if lost == "before":
            with pytest.raises(DatabaseAway):
                running.annotate([again])
            assert stored(database) == [1]
            assert running.annotate([again]).accepted == 1
        else:
            assert running.annotate([again]).accepted == 1
            assert running.annotate([again]).duplicates == 1
        assert stored(database) == [1, 2]
        cut.cut = lost  # of every kind of write, not of labels alone
        if lost == "before":
            with pytest.raises(DatabaseAway):
                running.push(pushed(running, [3, 4]))
        else:
            running.push(pushed(running, [3, 4]))
        running.push(pushed(running, [4, 3]))
        running.annotate([answer(3)])
        assert [row.seq for row in running.log.page(0, 100).annotations] == list(range(1, running.log.last_seq + 1))
    assert stored(database) == [1, 2, 3]


def test_a_commit_of_which_nothing_is_known(
    tmp_path: Path, database: str, cut: CutCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "UNSURE_SECONDS", 0.1)
    photos(tmp_path / "photos", 4)
    lost: list[str] = []
    with labeler(tmp_path, database_url=cut.address(database)) as running:
        assert running.store.writer is not None
        running.store.writer.on_lost = lambda: lost.append("lost")
        again = answer(1)
        reached = running.store.writer._committed

        def away(*given: object) -> bool:
            cut.away = True
            return reached(*given)

        monkeypatch.setattr(running.store.writer, "_committed", away)
        cut.cut = "after"
        with pytest.raises(DatabaseAway, match="does not answer"):
            running.annotate([again])
        with pytest.raises(DatabaseAway):  # as long as that is so, nothing is written over it
            running.annotate([answer(2)])
        monkeypatch.setattr(running.store.writer, "_committed", reached)
        cut.away = False
        with pytest.raises(DatabaseAway, match="holds rows that this labeler has not seen"):
            running.annotate([answer(2)])
        assert lost == ["lost"]  # the row is there, and only a new start reads it
    with labeler(tmp_path, database_url=database) as next_one:
        assert next_one.annotate([again]).duplicates == 1
    assert stored(database) == [1]


def test_a_value_that_the_server_cannot_store_gives_one_sentence(tmp_path: Path, database: str) -> None:
    photos(tmp_path / "photos", 2)
    with labeler(tmp_path, database_url=database) as running:
        with pytest.raises(Invalid, match="cannot store this: PostgreSQL text fields cannot contain NUL"):
            running.annotate([answer(1, note="a\0b")])
        running.annotate([answer(1)])
    assert stored(database) == [1]


def test_a_page_of_the_log_that_is_cut_leaves_no_cursor(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labeler.store.annotation_log._ROW_BYTES", PART_BYTES)  # a message holds one row
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path, database_url=database) as running:
        running.annotate([answer(1), answer(2)])
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            assert len(running.log.page(0, 100).annotations) == 1
            gc.collect()
    assert not said


def test_a_read_sees_one_snapshot(tmp_path: Path, database: str) -> None:
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path, database_url=database) as running, running.store.read() as connection:
        count = text("SELECT count(*) FROM annotation")
        before = connection.execute(count).scalar()
        running.annotate([answer(1)])
        assert connection.execute(count).scalar() == before
