"""Disk errors: how they are recognised, what the message says, and that the log gets one line."""

from __future__ import annotations

import errno
import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from sqlalchemy.exc import DBAPIError

from shared.settings.project_file import edit
from shared.settings.services import SettingsError
from shared.storage.database import open_engine, write
from shared.storage.disk_errors import Disk, kind_of, status_of
from shared.wire.fields import DiskKind
from tests.disks import no_more_files, no_room
from tests.services import wait_for


def no_room_on_a_device(_: Path) -> None:
    with Path("/dev/full").open("r+b", buffering=0) as stream:
        stream.write(b"something")


def no_room_for_rust(folder: Path) -> None:
    with no_room():
        save_file({"a": np.zeros(1)}, folder / "a.safetensors")


def no_room_for_a_table(folder: Path) -> None:
    engine = open_engine(f"sqlite:///{folder / 'a.db'}")
    try:
        with write(engine) as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 2")
            for number in range(9):
                connection.exec_driver_sql(f"CREATE TABLE t{number} (a)")
    finally:
        engine.dispose()


def read_only_database(folder: Path) -> None:
    sqlite3.connect(folder / "a.db").close()
    with closing(sqlite3.connect(f"file:{folder / 'a.db'}?mode=ro", uri=True)) as database:
        database.execute("CREATE TABLE t (a)")


def damaged_database(folder: Path) -> None:
    (folder / "a.db").write_bytes(b"no database at all" * 300)
    with closing(sqlite3.connect(folder / "a.db")) as database:
        database.execute("CREATE TABLE t (a)")


def too_many_files(folder: Path) -> None:
    with no_more_files():
        (folder / "a").open("wb").close()


def failing(_: Path) -> None:
    raise OSError(errno.EIO, "Input/output error")


def read_only(folder: Path) -> None:
    raise OSError(errno.EROFS, "Read-only file system", str(folder / "a"))


def quota(_: Path) -> None:
    raise OSError(errno.EDQUOT, "Disk quota exceeded")


CASES: list[tuple[Callable[[Path], None], DiskKind]] = [
    (no_room_on_a_device, "full"),
    (no_room_for_rust, "full"),
    (no_room_for_a_table, "full"),
    (read_only_database, "read_only"),
    (damaged_database, "damaged"),
    (too_many_files, "descriptors"),
    (failing, "failing"),
    (read_only, "read_only"),
    (quota, "quota"),
]


@pytest.mark.parametrize(("act", "kind"), CASES, ids=[each.__name__ for each, _ in CASES])
def test_each_disk_error_is_recognised_reported_and_ends(
    act: Callable[[Path], None], kind: DiskKind, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = Disk(tmp_path, look_seconds=0.01)
    again: list[int] = []
    disk.on_recovery(lambda: again.append(1))
    disk.start()
    try:
        trouble = None
        for _ in range(3):
            with pytest.raises(Exception) as raised:
                act(tmp_path)
            trouble = disk.notice(raised.value) or trouble
            logging.getLogger("a.room").error("It failed", exc_info=raised.value)
        assert trouble is not None
        assert (trouble.kind, trouble.folder) == (kind, str(tmp_path))
        assert status_of(trouble) == (503 if kind == "descriptors" else 507)
        assert kind == "damaged" or "is safe" in trouble.message
        errors = [record.name for record in caplog.records if record.levelno == logging.ERROR]
        assert errors == ["shared.storage.disk_errors", "a.room"]  # once, also where it is over between two tries
        assert all(record.exc_info is None for record in caplog.records)
        if kind != "damaged":  # that stays until somebody mends it
            wait_for(lambda: again and disk.trouble is None, "the end of the trouble")
    finally:
        disk.close()


def test_other_errors_are_not_the_disks(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    assert disk.notice(FileNotFoundError(errno.ENOENT, "No such file")) is None
    assert disk.notice(ValueError("the disk is full")) is None
    assert disk.notice(PermissionError(errno.EACCES, "Permission denied", "/proc/1/mem")) is None
    assert disk.notice(DBAPIError("SELECT", None, sqlite3.IntegrityError("UNIQUE"))) is None
    assert disk.trouble is None


def test_a_setting_that_cannot_be_kept_says_why(tmp_path: Path) -> None:
    with no_more_files(), pytest.raises(SettingsError) as raised, edit(tmp_path) as project:
        project.name = "another"
    assert kind_of(raised.value) == "descriptors"
