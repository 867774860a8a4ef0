from pathlib import Path
from typing import Any

import pytest

from shared.backbone import ResolvedBackbone
from shared.settings.project_file import ProjectFile
from shared.settings.services import LabelerSettings, SettingsError, TrainerSettings
from shared.settings.starting import (
    Start,
    check_photos,
    identity,
    remember,
    remember_backbone,
    remember_changes,
    remember_task,
    remembered_backbone,
    start,
)


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLYWHEEL_WORKSPACE", raising=False)


def labeler(*, change: bool = False, **given: Any) -> Start[LabelerSettings]:
    return start(LabelerSettings, command_line={name: str(value) for name, value in given.items()}, change=change)


def trainer(*, change: bool = False, **given: Any) -> Start[TrainerSettings]:
    return start(TrainerSettings, command_line={name: str(value) for name, value in given.items()}, change=change)


def made(tmp_path: Path, **given: Any) -> None:
    remember(labeler(workspace="w", images=tmp_path / "photos", classes="cat,dog", **given).settings)


def test_a_start_without_arguments_continues_the_project(tmp_path: Path) -> None:
    made(tmp_path)
    begun = labeler(workspace="w")
    assert begun.settings.images == str(tmp_path / "photos")
    assert begun.settings.classes == ["cat", "dog"]
    assert begun.sources["images"] == "project"
    assert begun.notes == []


def test_photos_in_the_workspace_move_with_it(tmp_path: Path) -> None:
    remember(labeler(workspace="w", images=tmp_path / "w" / "photos").settings)
    (tmp_path / "w").rename(tmp_path / "elsewhere")
    assert labeler(workspace="elsewhere").settings.images == str(tmp_path / "elsewhere" / "photos")


def test_other_photos_need_a_flag(tmp_path: Path) -> None:
    made(tmp_path)
    with pytest.raises(SettingsError, match=r"would change the project 'photos'.*images .*photos → .*others.*--change"):
        labeler(workspace="w", images="others")
    assert labeler(workspace="w", images="photos").notes == []  # the same folder, from here
    begun = labeler(workspace="w", images="others", change=True)
    assert begun.settings.images == "others"
    assert "images" in begun.notes[0]
    remember(begun.settings)
    assert labeler(workspace="w").settings.images == str(tmp_path / "others")


def test_known_classes_are_no_change_and_new_ones_are(tmp_path: Path) -> None:
    made(tmp_path)
    assert labeler(workspace="w", classes="dog").notes == []
    with pytest.raises(SettingsError, match="classes cat, dog → dog, cow"):
        labeler(workspace="w", classes="dog,cow")


def test_the_task_is_chosen_when_a_project_begins(tmp_path: Path) -> None:
    made(tmp_path, task="multilabel")
    assert labeler(workspace="w").settings.task == "multilabel"
    assert labeler(workspace="w", task="multilabel").sources["task"] == "command line"
    for change in (False, True):
        with pytest.raises(SettingsError, match=r"is multilabel, which was chosen when it began.*--workspace NEW"):
            labeler(workspace="w", task="classification", change=change)
    with pytest.raises(SettingsError, match=r"'task' .*'dance'.*There is no task 'dance', only"):
        labeler(workspace="other", task="dance")


def test_a_project_of_before_is_classification(tmp_path: Path) -> None:
    made(tmp_path)
    path = tmp_path / "w" / "project.toml"
    path.write_text(path.read_text().replace('task = "classification"\n', ""))
    (tmp_path / "older").mkdir()
    (tmp_path / "older" / "flywheel.db").touch()
    for workspace in ("w", "older"):
        assert labeler(workspace=workspace, images=tmp_path / "photos").settings.task == "classification"
        with pytest.raises(SettingsError, match="is classification, which was chosen"):
            labeler(workspace=workspace, images=tmp_path / "photos", task="multilabel")


def test_a_first_start_that_was_killed_keeps_its_task(tmp_path: Path) -> None:
    remember(trainer(workspace="w").settings)  # the trainer is often the first to write the file
    remember_task(labeler(workspace="w", images=tmp_path / "photos", task="multilabel").settings)
    (tmp_path / "w" / "flywheel.db").touch()
    begun = labeler(workspace="w", images=tmp_path / "photos")
    assert begun.settings.task == "multilabel"
    remember(begun.settings)
    assert identity(labeler(workspace="w").settings).task == "multilabel"


def test_another_backbone_needs_a_flag() -> None:
    remember(trainer(workspace="w", backbone="resnet18", input_size=96, backbone_mean="0.5,0.5,0.5").settings)
    begun = trainer(workspace="w")
    assert (begun.settings.backbone, begun.settings.input_size) == ("resnet18", 96)
    assert begun.settings.backbone_mean == [0.5, 0.5, 0.5]
    with pytest.raises(SettingsError, match="backbone resnet18 → pixels"):
        trainer(workspace="w", backbone="pixels")
    assert trainer(workspace="w", backbone="pixels", change=True).settings.backbone == "pixels"


def test_the_network_that_auto_took_is_remembered(tmp_path: Path) -> None:
    settings = trainer(workspace="w").settings
    remember(settings)
    assert remembered_backbone(settings) is None
    half = (0.5, 0.5, 0.5)
    for weights, name in (("none", "pixels"), ("installed", "tf_efficientnet_lite0")):
        resolved = ResolvedBackbone(name, weights, 224, half, half)
        remember_backbone(settings, resolved)
        assert remembered_backbone(settings) == (resolved if weights == "installed" else None)
    assert remembered_backbone(trainer(workspace="w", backbone="resnet18", change=True).settings) is None
    text = (tmp_path / "w" / "project.toml").read_text()
    assert 'name = "tf_efficientnet_lite0"' in text
    assert "input_size = 224" in text


def test_the_demo_stays_the_demo(tmp_path: Path) -> None:
    begun = labeler()
    assert begun.settings.workspace == Path("workspace-demo")
    remember(begun.settings)
    project = ProjectFile.read(Path("workspace-demo"))
    assert project is not None
    assert project.demo
    for change in (False, True):
        with pytest.raises(SettingsError, match="holds the demo"):
            labeler(workspace="workspace-demo", images=tmp_path / "photos", change=change)
    made(tmp_path)
    assert labeler(workspace="w").settings.images  # and no project becomes the demo


def test_a_workspace_of_before_is_never_taken_for_the_demo(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "flywheel.db").touch()
    with pytest.raises(SettingsError, match="flywheel up PHOTOS --workspace w"):
        labeler(workspace="w")
    assert labeler(workspace="w", images="photos").settings.images == "photos"
    (tmp_path / "w" / "demo" / "images").mkdir(parents=True)
    assert labeler(workspace="w").settings.images == ""


def test_a_setting_changed_on_a_page_is_kept(tmp_path: Path) -> None:
    made(tmp_path, buffer_size=20)
    settings = labeler(workspace="w", buffer_size=20).settings
    settings.buffer_size = 50
    remember_changes(settings, {"buffer_size": 20})
    for given in ({}, {"buffer_size": 20}):  # the same command again is no new wish
        begun = labeler(workspace="w", **given)
        assert begun.settings.buffer_size == 50
        assert begun.sources["buffer_size"] == "changed while running"
    begun = labeler(workspace="w", buffer_size=30)
    assert begun.settings.buffer_size == 30
    assert "buffer_size is 30 (from the command line), not 50" in begun.notes[0]


def test_a_setting_changed_back_is_as_the_start_says(tmp_path: Path) -> None:
    made(tmp_path)
    settings = labeler(workspace="w").settings
    for before, after in ((10, 50), (50, 70), (70, 10)):
        settings.buffer_size = after
        remember_changes(settings, {"buffer_size": before})
    project = ProjectFile.read(tmp_path / "w")
    assert project is not None
    assert project.changed == {}
    assert labeler(workspace="w").sources["buffer_size"] == "default"


def test_labels_in_a_server_are_not_looked_for_in_a_file(tmp_path: Path) -> None:
    made(tmp_path, database_url="postgresql+psycopg://ann:secret@db/labels")
    assert "secret" not in (tmp_path / "w" / "project.toml").read_text()
    with pytest.raises(SettingsError, match=r"its labels are in postgresql\+psycopg://ann:\*\*\*@db/labels"):
        labeler(workspace="w")
    again = labeler(workspace="w", database_url="postgresql+psycopg://ann:other@db/labels")
    assert again.settings.database_url.endswith("ann:other@db/labels")


def test_further_folders_get_names(tmp_path: Path) -> None:
    for folder in ("a/photos", "b/photos", "c/photos"):
        (tmp_path / folder).mkdir(parents=True)
    remember(labeler(workspace="w", images="a/photos", more_images="b/photos,c/photos").settings)
    remember(labeler(workspace="w", more_images="b/photos").settings)
    project = ProjectFile.read(tmp_path / "w")
    assert project is not None
    assert list(project.folders) == ["photos", "photos-2"]
    assert project.images(tmp_path / "w") == [tmp_path / each for each in ("a/photos", "b/photos", "c/photos")]


def test_the_same_folder_given_from_elsewhere_is_no_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Someone starts in the checkout with ../photos and goes on in the folder above with photos."""
    for folder in ("checkout", "photos", "w"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "checkout")
    first = labeler(workspace="../w", images="../photos").settings
    assert identity(first).workspace == str(tmp_path / "w")
    remember(first)
    monkeypatch.chdir(tmp_path)
    assert labeler(workspace="w", images="photos").notes == []
    assert labeler(workspace="w").settings.images == str(tmp_path / "photos")


def test_dots_behind_a_link_stay_where_the_link_leads(tmp_path: Path) -> None:
    (tmp_path / "far" / "checkout").mkdir(parents=True)
    (tmp_path / "near").symlink_to(tmp_path / "far" / "checkout")
    assert Path(labeler(images="near/../photos").settings.images) == Path("near/../photos")
    made(tmp_path)
    remember(labeler(workspace="w", images="near/../photos", change=True).settings)
    assert Path(labeler(workspace="w").settings.images).resolve() == tmp_path / "far" / "photos"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"classes": "a,a"}, "cannot be 'a,a': it names 'a' twice."),
        ({"classes": "a," + 101 * "b"}, "b': a class name has at most 100 characters, and this one has 101."),
        ({"image_addresses": "ftp://a.b"}, "cannot be 'ftp://a.b': it "),
        ({"task": "boxes"}, "cannot be 'boxes': There is no task 'boxes'"),
        ({"port": "many"}, "cannot be 'many': Input should be a valid integer"),
    ],
)
def test_a_refusal_is_a_whole_sentence(given: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError) as refused:
        labeler(**given)
    assert sentence in str(refused.value)
    assert str(refused.value).endswith(".")
    assert not str(refused.value).endswith("..")


@pytest.mark.parametrize("name", ["notes.txt", "photos.tar.gz"])
def test_a_file_without_images_is_refused_in_a_whole_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("hello", encoding="utf-8")
    with pytest.raises(SettingsError, match=f"cannot be '{name}': it is "):
        check_photos(labeler(images=name).settings)
