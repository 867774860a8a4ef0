"""The section that says what the project is made of, as Streamlit runs it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from streamlit.testing.v1 import AppTest

from labeler.service import Service
from labeler.ui.sections.project import when_new_ones_join
from shared.settings import recent_projects
from shared.settings.project_file import edit
from shared.settings.services import LabelerSettings
from shared.settings.starting import remember
from tests.labeler.projects import labeler, photo, photos, settings
from tests.services import wait_for


def script() -> None:
    from labeler.ui.sections import project

    project.section()


def opened() -> AppTest:
    page = AppTest.from_function(script, default_timeout=60).run()
    assert not page.exception
    return page


def words(page: AppTest) -> str:
    shown = [*page.markdown, *page.caption, *page.error, *page.warning, *page.subheader]
    return " ".join(str(each.value) for each in shown)


def table(page: AppTest, number: int = 0) -> str:
    return page.table[number].value.to_string()


def running(tmp_path: Path, **values: object) -> AbstractContextManager[Service]:
    photos(tmp_path / "photos", 2)
    remember(settings(tmp_path))
    return labeler(tmp_path, **values)


def test_the_folders_of_the_project_are_shown_and_one_is_added(tmp_path: Path) -> None:
    photo(tmp_path / "more" / "a.png", 30)
    with running(tmp_path) as service:
        page = opened()
        assert "Project photos" in words(page)
        assert str(tmp_path / "workspace") in words(page)
        assert str(tmp_path / "photos") in table(page).replace("\\", "")
        page.text_input("folder").set_value("nowhere")
        page.button[0].click().run()
        assert "is not a folder" in words(page)
        page.text_input("folder").set_value(str(tmp_path / "more"))
        page.button[0].click().run()
        assert str(tmp_path / "more") in table(page).replace("\\", "")
        wait_for(lambda: service.project().images.total == 3, "the folder's photo")


def test_a_missing_folder_is_said_with_what_to_do(tmp_path: Path) -> None:
    with running(tmp_path, watch=False):
        (tmp_path / "photos").rename(tmp_path / "elsewhere")
        assert "The labels of a missing folder are kept" in words(opened())


def test_beyond_loopback_a_folder_is_added_by_a_command(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        service.settings.host = "0.0.0.0"
        page = opened()
        assert "flywheel add FOLDER" in words(page)
        assert not page.text_input


def test_other_projects_are_listed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("FLYWHEEL_STATE", str(tmp_path / "state"))
    with edit(tmp_path / "other") as project:
        project.name = "hats"
    for name in ("other", "workspace"):
        recent_projects.note(tmp_path / name)
    with running(tmp_path):
        listed = table(opened(), 1)
        assert "hats" in listed
        assert f"flywheel up --workspace {tmp_path / 'other'}" in listed.replace("\\", "")
        assert listed.count("flywheel up") == 1


def test_when_new_photos_join() -> None:
    folder, store = Path("photos"), "s3://bucket"
    every_minute = LabelerSettings.load(command_line={"relist_seconds": 60})[0]
    assert when_new_ones_join(every_minute, [folder]) == (
        "New photos in these folders are added automatically within seconds."
    )
    assert when_new_ones_join(every_minute, [folder, store]).endswith(
        "within seconds. New photos in a store are added within 1 min."
    )
    never = LabelerSettings.load(command_line={"relist_seconds": 0})[0]
    assert when_new_ones_join(never, [store]) == "New photos in a store are added at the next start."
    unwatched = LabelerSettings.load(command_line={"watch": False})[0]
    assert "at the next start" in when_new_ones_join(unwatched, [folder, store])
