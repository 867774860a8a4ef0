"""`flywheel doctor` on real damage: it reports it, and repairs exactly what it announced."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from filelock import FileLock
from sqlalchemy import create_engine
from typer.testing import CliRunner

from commands.upkeep.doctor import examine
from commands.upkeep.findings import Workspace
from flywheel import app
from shared.settings.project_file import DATABASE, announce, edit
from shared.settings.services import SettingsError
from shared.settings.starting import remember
from tests.labeler.projects import answer, labeler, photos, settings
from tests.labeler.tasks import SAID
from tests.postgresql import server
from tests.trainer.descriptions import description
from trainer.embeddings.store import EmbeddingStore
from trainer.sync.replica import Replica
from trainer.versions.registry import Registry

ROWS = 12
DIM = 8


@pytest.fixture
def workspace(whole: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    shutil.copytree(whole.parent, tmp_path / "project")
    workspace = tmp_path / "project" / "workspace"
    with edit(workspace) as project:
        project.labeler["images"] = str(tmp_path / "project" / "photos")
    return workspace


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project at rest: labels, the trainer's copy of the log, embeddings, a saved version, thumbnails."""
    tmp_path = tmp_path_factory.mktemp("whole")
    photos(tmp_path / "photos", 20)
    remember(settings(tmp_path))
    with labeler(tmp_path) as service:
        images = service.catalog.page(0, 100).images
        service.annotate([answer(each.id, ["cat", "dog"][each.id % 2]) for each in images[: ROWS - 2]])
        service.thumbnail(images[0].id, 320)
        log = service.log.page(0, 100)
    assert log.last_seq == ROWS
    folder = tmp_path / "workspace"
    (folder / "trainer").mkdir()
    replica = Replica(folder / "trainer")
    replica.follow_page(log)
    replica.close()
    store = EmbeddingStore(folder / "trainer" / "embeddings" / "a-backbone", DIM)
    hashes = [each.sha256 for each in images]
    store.append(hashes, np.random.default_rng(0).normal(size=(len(hashes), DIM)).astype(np.float32))
    store.close()
    Registry(folder / "trainer" / "models").save("first", {"a": np.zeros(9)}, description(embeddings=None), [])
    return folder


def doctor(workspace: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """Exit code, and what it says as JSON."""
    done = CliRunner().invoke(app, ["doctor", "--json", "--workspace", str(workspace), *options])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, json.loads(done.output)


def wrong(said: dict[str, Any]) -> list[str]:
    """The checks that found something wrong."""
    return [each["check"] for each in said["findings"] if each["wrong"]]


def sql(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute(statement)
        database.commit()


def stamps(workspace: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in workspace.rglob("*") if path.is_file()}


def test_an_intact_workspace_is_healthy_and_stays_unchanged(workspace: Path) -> None:
    before = stamps(workspace)
    code, said = doctor(workspace)
    assert (code, said["healthy"], said["findings"]) == (0, True, [])
    assert stamps(workspace) == before
    told = CliRunner().invoke(app, ["doctor", "--workspace", str(workspace)])
    assert "is healthy" in told.output


def flip(path: Path, table: str) -> None:
    """One byte of the page that the table begins with."""
    with closing(sqlite3.connect(path)) as database:
        page = database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
        size = database.execute("PRAGMA page_size").fetchone()[0]
    with path.open("r+b") as stream:
        stream.seek(size * (page - 1))
        byte = stream.read(1)
        stream.seek(size * (page - 1))
        stream.write(bytes([byte[0] ^ 0x40]))


def flipped_copy(workspace: Path) -> None:
    flip(workspace / "trainer" / "replica.db", "replica_row")


def gap(workspace: Path) -> None:
    sql(workspace / DATABASE, "DELETE FROM annotation WHERE seq BETWEEN 5 AND 7")


def cut_embeddings(workspace: Path) -> None:
    os.truncate(workspace / "trainer" / "embeddings" / "a-backbone" / "vectors.f16", 2 * DIM * 13 + 5)


def infinite_embedding(workspace: Path) -> None:
    with (workspace / "trainer" / "embeddings" / "a-backbone" / "vectors.f16").open("r+b") as stream:
        stream.seek(2 * DIM * 4)
        stream.write(np.array([np.inf], "<f2").tobytes())


def copy_of_another_log(workspace: Path) -> None:
    sql(workspace / "trainer" / "replica.db", f"UPDATE fact SET value = '\"{uuid4()}\"' WHERE key = 'log_id'")


def copy_with_another_row(workspace: Path) -> None:
    change = "UPDATE replica_row SET payload = replace(payload, '\"label\":', '\"label\":1') WHERE seq = 9"
    sql(workspace / "trainer" / "replica.db", change)


def stale_address(workspace: Path) -> None:
    announce(workspace, "trainer", "http://127.0.0.1:9")


def torn_thumbnail(workspace: Path) -> None:
    (path,) = (workspace / "thumbnails").glob("*/*")
    os.truncate(path, path.stat().st_size - 9)


def leftover(workspace: Path) -> None:
    (workspace / f".{2**22 + 7}-0123456789abcdef.part").write_bytes(b"half of it")


def unreadable_wish(workspace: Path) -> None:
    (workspace / "trainer" / "intent.json").write_text("{")


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        (flipped_copy, "trainer's copy"),
        (copy_of_another_log, "trainer's copy"),
        (copy_with_another_row, "trainer's copy"),
        (gap, "log"),
        (cut_embeddings, "embeddings"),
        (infinite_embedding, "embeddings"),
        (stale_address, "addresses"),
        (torn_thumbnail, "thumbnails"),
        (leftover, "leftovers"),
        (unreadable_wish, "trainer"),
    ],
    ids=lambda each: getattr(each, "__name__", each),
)
def test_a_repair_does_exactly_what_was_announced(workspace: Path, damage: Callable[[Path], None], check: str) -> None:
    with closing(sqlite3.connect(workspace / DATABASE)) as database:
        rows = database.execute("SELECT * FROM annotation ORDER BY seq").fetchall()
    damage(workspace)
    before = stamps(workspace)
    code, said = doctor(workspace)
    assert (code, wrong(said)) == (1, [check])
    said["findings"] = [each for each in said["findings"] if each["wrong"]]  # of photos nothing is known without a log
    assert stamps(workspace) == before  # it only looked
    assert said["findings"][0]["mend"]
    code, done = doctor(workspace, "--mend")
    assert done["mended"] == said["findings"]
    assert (code, done["findings"]) == (0, [])
    assert doctor(workspace) == (0, {**done, "mended": []})
    with closing(sqlite3.connect(workspace / DATABASE)) as database:
        assert database.execute("SELECT * FROM annotation ORDER BY seq").fetchall() == rows


def flipped_byte(workspace: Path) -> None:
    flip(workspace / DATABASE, "annotation")


def gap_without_copy(workspace: Path) -> None:
    gap(workspace)
    (workspace / "trainer" / "replica.db").unlink()


def older_database(workspace: Path) -> None:
    sql(workspace / DATABASE, "DELETE FROM annotation WHERE seq > 9")


def label_of_no_image(workspace: Path) -> None:
    sql(workspace / DATABASE, "DELETE FROM image WHERE id = 20")
    sql(workspace / DATABASE, "UPDATE annotation SET image_id = 20 WHERE seq = 12")
    (workspace / "trainer" / "replica.db").unlink()


def newer_schema(workspace: Path) -> None:
    sql(workspace / DATABASE, "UPDATE alembic_version SET version_num = '9999'")


def version_without_file(workspace: Path) -> None:
    (workspace / "trainer" / "models" / "first" / "model.safetensors").unlink()


def version_of_other_bytes(workspace: Path) -> None:
    path = workspace / "trainer" / "models" / "first" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")


def missing_photo(workspace: Path) -> None:
    (workspace.parent / "photos" / "0003.png").unlink()


def missing_folder(workspace: Path) -> None:
    (workspace.parent / "photos").rename(workspace.parent / "unplugged")


def bad_project_file(workspace: Path) -> None:
    (workspace / "project.toml").write_text("name = [")


@pytest.mark.parametrize(
    ("damage", "check", "words"),
    [
        (flipped_byte, "database", "flywheel restore"),
        (gap_without_copy, "log", "does not have these rows"),
        (older_database, "trainer's copy", "older database"),
        (label_of_no_image, "database", "reference to a row that does not exist"),
        (newer_schema, "schema", "does not know"),
        (version_without_file, "versions", "cannot be read"),
        (version_of_other_bytes, "versions", "checksum differs"),
        (missing_photo, "photos", "0003.png"),
        (missing_folder, "photos", "Connect its disk"),
        (bad_project_file, "project.toml", "Correct"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_unrepairable_damage_is_reported_with_advice(
    workspace: Path, damage: Callable[[Path], None], check: str, words: str
) -> None:
    damage(workspace)
    before = stamps(workspace)
    code, said = doctor(workspace, "--mend")
    assert code == 1
    assert check in wrong(said)
    (first, *_) = [each for each in said["findings"] if each["check"] == check]
    assert words in first["what"] + first["advice"]
    assert first["advice"]
    assert not first["mend"]
    assert stamps(workspace) == before
    told = " ".join(CliRunner().invoke(app, ["doctor", "--workspace", str(workspace)]).output.split())
    assert "What to do:" in told


def test_nothing_is_changed_while_a_service_runs(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    remember(settings(tmp_path))
    with labeler(tmp_path) as service:
        service.workspace.announce("http://127.0.0.1:9")
        code, said = doctor(tmp_path / "workspace")
        assert (code, said["running"], said["findings"]) == (0, ["labeler"], [])
        with pytest.raises(SettingsError, match=r"The labeler of .* is running: stop Flywheel before you repair"):
            doctor(tmp_path / "workspace", "--mend")
        (tmp_path / "workspace" / "trainer").mkdir(exist_ok=True)
        with (
            FileLock(tmp_path / "workspace" / "trainer" / "trainer.lock"),
            pytest.raises(SettingsError, match=r"The labeler and trainer of .* are running"),
        ):
            doctor(tmp_path / "workspace", "--mend")


@pytest.mark.parametrize("task", ["multilabel", "detection"])
def test_a_workspace_of_another_task_is_healthy(tmp_path: Path, task: str) -> None:
    photos(tmp_path / "photos", 2)
    remember(settings(tmp_path, task=task))
    with labeler(tmp_path, task=task) as service:
        service.annotate([SAID[task](1, 3), SAID[task](2, 0)])
    place = Workspace(tmp_path / "workspace")
    assert [finding.what for finding in examine(place) if finding.wrong] == []
    assert place.fold is not None
    assert len(place.fold.labels) == 2


def test_a_folder_that_is_no_workspace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is not a Flywheel workspace"):
        doctor(tmp_path)


def test_the_log_in_a_server_is_checked_like_one_in_a_file(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 4)
    database, workspace = server().new_database(), tmp_path / "workspace"
    with labeler(tmp_path, database_url=database) as service:
        remember(service.settings)
        service.annotate([answer(1), answer(2)])
        copied = service.log.page(0, 100)
    (workspace / "trainer").mkdir(exist_ok=True)
    replica = Replica(workspace / "trainer")
    replica.follow_page(copied)
    replica.close()
    assert [each.told() for each in examine(Workspace(workspace)) if each.wrong] == []
    (folder / "0003.png").unlink()
    (missing,) = (each for each in examine(Workspace(workspace)) if each.wrong)
    assert "The file of 1 image is missing (0003.png)" in missing.what
    engine = create_engine(database)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DELETE FROM annotation WHERE seq = {copied.last_seq - 1}")
    engine.dispose()
    (gap,) = (each for each in examine(Workspace(workspace)) if each.wrong)
    assert gap.what == f"The log lacks 1 row of {copied.last_seq} ({copied.last_seq - 1})."
    assert "has the missing rows" in gap.advice
    assert gap.act is None  # nothing is repaired in a server
    with edit(workspace) as project:
        project.labeler["database_url"] = database.replace("host=", "host=/nowhere")
    (away,) = (each for each in examine(Workspace(workspace)) if each.check == "database")
    assert "cannot be reached" in away.what
    assert "database_url" in away.advice
    with edit(workspace) as project:
        project.labeler["database_url"] = "postgresql+psycopg://ann:***@127.0.0.1/labels"
    (locked,) = (each for each in examine(Workspace(workspace)) if each.check == "database")
    assert "with its password" in locked.what


@pytest.mark.parametrize("address", ["postgres", "postgresql+psycopg://ann:***@host:port/labels"])
def test_an_invalid_database_address_is_reported(tmp_path: Path, address: str) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service:
        remember(service.settings)
    with edit(tmp_path / "workspace") as project:
        project.labeler["database_url"] = address
    with pytest.raises(SettingsError, match=r"not an address of a database\. Correct it there"):
        examine(Workspace(tmp_path / "workspace"))
