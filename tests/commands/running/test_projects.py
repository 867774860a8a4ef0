from pathlib import Path

import pytest
from typer.testing import CliRunner

from commands.upkeep.backup import backup
from flywheel import app
from shared.settings import recent_projects
from shared.settings.project_file import ProjectFile, announce, edit
from shared.settings.starting import remember
from tests.labeler.projects import photos, settings


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLYWHEEL_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLYWHEEL_WORKSPACE", raising=False)


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "600"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return " ".join(done.output.split())


def made(tmp_path: Path) -> Path:
    photos(tmp_path / "photos", 1)
    remember(settings(tmp_path))
    recent_projects.note(tmp_path / "workspace")
    return tmp_path / "workspace"


def test_projects_of_this_machine_are_listed(tmp_path: Path) -> None:
    assert "No project was started on this machine yet" in run("projects")
    workspace = made(tmp_path)
    announce(workspace, "labeler", "http://127.0.0.1:4000")
    listed = run("projects")
    narrow = CliRunner().invoke(app, ["projects"], env={"COLUMNS": "80"}).output
    for path in (workspace, tmp_path / "photos"):
        assert any(
            line.endswith(f" {path}") for line in narrow.splitlines()
        )  # it can be copied, even from a narrow table
    for words in ("photos", str(workspace), str(tmp_path / "photos"), "http://127.0.0.1:4000"):
        assert words in listed


def test_a_folder_is_added_to_the_project_here(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    with pytest.raises(ValueError, match="is not a Flywheel workspace"):
        run("add", "more")
    workspace = made(tmp_path)
    assert "The names of its images begin with more/." in run("add", "more")
    assert "already belongs to photos" in run("add", "more", "--workspace", str(workspace))
    project = ProjectFile.read(workspace)
    assert project is not None
    assert project.images(workspace) == [tmp_path / "photos", tmp_path / "more"]


def test_a_backup_remembers_the_project_and_no_addresses(tmp_path: Path) -> None:
    workspace = made(tmp_path)
    (workspace / "flywheel.db").touch()
    with edit(workspace) as project:
        project.services = {"labeler": "http://127.0.0.1:4000"}
    import sqlite3

    with sqlite3.connect(workspace / "flywheel.db") as store:
        store.execute("CREATE TABLE meta (key, value)")
    backup(workspace, tmp_path / "copy")
    copied = ProjectFile.read(tmp_path / "copy")
    assert copied is not None
    assert copied.labeler["images"] == str(tmp_path / "photos")
    assert copied.services == {}
