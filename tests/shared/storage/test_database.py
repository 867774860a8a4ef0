from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from shared.storage.database import open_engine, read, write


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'new' / 'test.db'}"


def test_settings_of_every_connection(tmp_path: Path) -> None:
    engine = open_engine(url(tmp_path))
    with read(engine) as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2  # FULL
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
    engine.dispose()


def test_read_modify_write_loses_nothing(tmp_path: Path) -> None:
    engine = open_engine(url(tmp_path))
    with write(engine) as connection:
        connection.execute(text("CREATE TABLE counter (n INTEGER)"))
        connection.execute(text("INSERT INTO counter VALUES (0)"))

    def increment(_: int) -> None:
        with write(engine) as connection:
            n = connection.execute(text("SELECT n FROM counter")).scalar_one()
            connection.execute(text("UPDATE counter SET n = :n"), {"n": n + 1})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(increment, range(100)))
    with read(engine) as connection:
        assert connection.execute(text("SELECT n FROM counter")).scalar_one() == 100
    engine.dispose()


def test_an_exception_rolls_back(tmp_path: Path) -> None:
    engine = open_engine(url(tmp_path))
    with write(engine) as connection:
        connection.execute(text("CREATE TABLE seen (id INTEGER PRIMARY KEY)"))
    twice = text("INSERT INTO seen VALUES (1)")
    with pytest.raises(IntegrityError), write(engine) as connection:  # noqa: PT012
        connection.execute(twice)
        connection.execute(twice)
    with read(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM seen")).scalar_one() == 0
    engine.dispose()


def test_a_reader_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    engine = open_engine(url(tmp_path))
    with write(engine) as connection:
        connection.execute(text("CREATE TABLE seen (id INTEGER PRIMARY KEY)"))
    with write(engine) as writer:
        writer.execute(text("INSERT INTO seen VALUES (1)"))
        with read(engine) as reader:
            assert reader.execute(text("SELECT count(*) FROM seen")).scalar_one() == 0
    engine.dispose()
