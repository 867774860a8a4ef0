"""What a backup brings back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from commands.running.stored_labels import server_of
from commands.upkeep.backup import backup, restore
from labeler.store.writer import Writer
from shared.settings.services import SettingsError
from shared.settings.starting import remember, remember_task
from tests.labeler.projects import answer, labeler, photo, photos
from tests.postgresql import server
from trainer.loop.desired_state import DesiredState


def test_a_restored_project_stays_stopped_with_its_network(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path):
        pass
    trainer = tmp_path / "workspace" / "trainer"
    trainer.mkdir(exist_ok=True)
    DesiredState(wish="stop", reason="asked to stop", finished=True).save(trainer / "intent.json")
    (trainer / "serving.json").write_text("{}")
    restore(backup(tmp_path / "workspace", tmp_path / "copy"), tmp_path / "again")
    said = DesiredState.load(tmp_path / "again" / "trainer" / "intent.json")
    assert (said.wish, said.reason, said.finished) == ("stop", "asked to stop", True)
    assert (tmp_path / "again" / "trainer" / "serving.json").is_file()


def test_labels_in_a_database_server_are_backed_up_and_restored_there(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    database = server().new_database()
    workspace = tmp_path / "workspace"
    with labeler(tmp_path, database_url=database) as running:
        remember_task(running.settings)
        remember(running.settings)
        first = answer(1, note="kept")
        running.annotate([first])
        log_id = running.log.log_id
        copy = backup(workspace, tmp_path / "copy")  # while it runs
        running.annotate([answer(2)])
        with pytest.raises(SettingsError, match="stop it first"):
            restore(copy, workspace)

    with labeler(tmp_path, workspace=restore(copy, tmp_path / "elsewhere") or tmp_path / "elsewhere") as moved:
        assert not moved.settings.database_url  # the backup needs no server
        assert moved.log.find([first.id])[first.id].note == "kept"
        assert moved.log.log_id != log_id

    with closing(sqlite3.connect(copy / "flywheel.db")) as older:  # as an earlier version of Flywheel left it
        older.executescript(
            "ALTER TABLE query DROP COLUMN boxes; DROP TABLE lease; UPDATE alembic_version SET version_num = '0004'"
        )
    another = Writer(database)  # a labeler of the same project, on another machine
    with pytest.raises(SettingsError, match="writes to this database"):
        restore(copy, workspace)
    another.close()
    assert server_of(workspace)
    assert not [*workspace.glob("*flywheel.db*")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "elsewhere", "photos", "workspace"]

    aside = restore(copy, workspace)
    assert aside is not None
    assert not server_of(aside)
    photo(tmp_path / "photos" / "new.png", 9)
    with labeler(tmp_path, database_url=database) as running:
        assert running.tally.counts().labeled == 1
        assert running.log.log_id not in (log_id, moved.log.log_id)
        assert len(running.present.splits) == 4  # rows go on being numbered
    with labeler(tmp_path, workspace=aside) as before:
        assert before.tally.counts().labeled == 2
