from pathlib import Path

import pytest

from shared.settings import recent_projects
from shared.settings.project_file import edit


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLYWHEEL_STATE", str(tmp_path / "state"))


def started(workspace: Path) -> None:
    with edit(workspace) as project:
        project.name = workspace.name
    recent_projects.note(workspace)


def test_the_latest_is_first_and_none_is_twice(tmp_path: Path) -> None:
    assert recent_projects.recent() == []
    for name in ("a", "b", "a"):
        started(tmp_path / name)
    assert [each.workspace for each in recent_projects.recent()] == [tmp_path / "a", tmp_path / "b"]
    project = recent_projects.recent()[0].project()
    assert project is not None
    assert project.name == "a"


def test_deleted_projects_are_not_listed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        started(tmp_path / name)
    (tmp_path / "a" / "project.toml").unlink()
    (tmp_path / "b" / "project.toml").write_text("damaged = ")
    assert recent_projects.recent() == []


def test_the_list_is_bounded(tmp_path: Path) -> None:
    for number in range(recent_projects.MOST + 3):
        started(tmp_path / str(number))
    assert len(recent_projects.recent()) == recent_projects.MOST


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file in the way")
    started(tmp_path / "a")
    assert recent_projects.recent() == []
