import os
import threading
from pathlib import Path

import pytest

from shared.settings.project_file import (
    FILE,
    ProjectFile,
    announce,
    default_workspace,
    edit,
    is_project,
    trainer_command,
)
from shared.settings.services import LabelerSettings, SettingsError
from shared.settings.starting import check_photos


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert ProjectFile.read(tmp_path) is None
    with edit(tmp_path / "w") as project:
        project.name, project.labeler = 'Ann\'s "clothes" 衣', {"images": "photos", "classes": ["cat", "dog"]}
    read = ProjectFile.read(tmp_path / "w")
    assert read == project
    assert (tmp_path / "w" / FILE).read_text(encoding="utf-8").startswith("# Flywheel writes this file.")
    assert is_project(tmp_path / "w")
    assert not is_project(tmp_path)


def test_two_services_write_without_losing_each_others_words(tmp_path: Path) -> None:
    def write(service: str) -> None:
        for number in range(20):
            announce(tmp_path, service, f"http://127.0.0.1:{number}")

    threads = [threading.Thread(target=write, args=(service,)) for service in ("labeler", "trainer")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    project = ProjectFile.read(tmp_path)
    assert project is not None
    assert project.labeler_address == project.trainer_address == "http://127.0.0.1:19"
    announce(tmp_path, "labeler", None)
    project = ProjectFile.read(tmp_path)
    assert project is not None
    assert (project.labeler_address, project.trainer_address) == (None, "http://127.0.0.1:19")


def test_an_error_while_editing_writes_nothing(tmp_path: Path) -> None:
    def broken() -> None:
        with edit(tmp_path) as project:
            project.name = "half"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert ProjectFile.read(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "words"), [("name = ", "Invalid"), ('task = "poems"', "task"), ('nam = "x"', "nam"), ("\0", "Invalid")]
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(SettingsError, match=words) as problem:
        ProjectFile.read(tmp_path)
    assert FILE in str(problem.value)
    with pytest.raises(SettingsError), edit(tmp_path):
        pass
    assert (tmp_path / FILE).read_text() == text


def test_the_default_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLYWHEEL_WORKSPACE", raising=False)
    assert default_workspace() == Path("workspace-demo")
    assert default_workspace(photos=True) == Path("workspace")
    with edit(Path("workspace")):
        pass
    assert default_workspace() == Path("workspace")
    monkeypatch.setenv("FLYWHEEL_WORKSPACE", "mine")
    assert default_workspace() == default_workspace(photos=True) == Path("mine")


def test_the_command_that_starts_the_trainer_names_a_workspace_that_is_not_the_usual_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLYWHEEL_WORKSPACE", raising=False)
    assert trainer_command(Path("my photos")) == f"flywheel trainer --workspace '{tmp_path}/my photos'"
    with edit(Path("workspace")):
        pass
    assert trainer_command(Path("workspace")) == trainer_command(tmp_path / "workspace") == "flywheel trainer"


def test_folders_move_with_the_workspace(tmp_path: Path) -> None:
    project = ProjectFile(labeler={"images": "photos"}, folders={"more": "/elsewhere/more"})
    assert project.images(tmp_path) == [tmp_path / "photos", Path("/elsewhere/more")]
    assert ProjectFile(demo=True, labeler={"images": ""}).images(tmp_path) == [tmp_path / "demo" / "images"]


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX alone")
def test_a_folder_whose_name_is_not_utf_8_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    photos, workspace = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")), tmp_path / "w"
    try:
        photos.mkdir()
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    settings = LabelerSettings.load(command_line={"images": str(photos), "workspace": str(workspace)})[0]
    refused = pytest.raises(SettingsError, match=r"caf\\udce9', because it is not UTF-8: rename it\.")
    with refused:
        check_photos(settings)
    with refused:
        ProjectFile().join(photos, workspace)
    assert not workspace.exists()
