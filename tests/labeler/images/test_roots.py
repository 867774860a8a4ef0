import csv
from pathlib import Path

import pytest

from labeler.errors import Invalid
from labeler.service import Service
from shared.settings.project_file import ImageFolders, add_folder
from shared.settings.services import SettingsError
from shared.settings.starting import remember
from shared.wire.imports import ImportPost, ImportRow
from tests.labeler.projects import labeler, photo, photos, settings
from tests.services import wait_for


def names(service: Service) -> list[str]:
    return sorted(entry.uri for entry in service.catalog.page(0, 1_000).images if not entry.removed)


def project(tmp_path: Path) -> None:
    """A project with two photos, which remembers its folder."""
    photos(tmp_path / "photos", 2)
    remember(settings(tmp_path))


def test_a_new_file_joins_by_itself(tmp_path: Path) -> None:
    project(tmp_path)
    with labeler(tmp_path) as service:
        photo(tmp_path / "photos" / "later.png", 10)
        photo(tmp_path / "photos" / "day 2" / "one.png", 11)
        photo(tmp_path / "photos" / ".hidden" / "two.png", 12)
        (tmp_path / "photos" / "notes.txt").write_text("not a photo")
        wait_for(lambda: service.project().images.total == 4, "the new files")
        assert names(service) == ["0000.png", "0001.png", "day 2/one.png", "later.png"]
        assert service.project().rejected == 0
        (tmp_path / "photos" / "later.png").unlink()  # a disk may be back in a moment
        photo(tmp_path / "photos" / "last.png", 13)
        wait_for(lambda: service.project().images.total == 5, "the last file")


def test_nothing_joins_unless_it_is_watched(tmp_path: Path) -> None:
    project(tmp_path)
    with labeler(tmp_path, watch=False) as service:
        assert not service.watcher._thread.is_alive()


def test_a_folder_is_added_while_it_runs_and_kept(tmp_path: Path) -> None:
    project(tmp_path)
    photo(tmp_path / "holiday" / "0000.png", 20)  # the name of another photo
    with labeler(tmp_path) as service:
        service.folders.add(str(tmp_path / "holiday"))
        wait_for(lambda: service.project().images.total == 3, "the folder's photo")
        assert names(service) == ["0000.png", "0001.png", "holiday/0000.png"]
        photo(tmp_path / "holiday" / "0001.png", 21)
        wait_for(lambda: service.project().images.total == 4, "a new file in it")
        (image_id,) = service.catalog.files.images_of("images/holiday", ["holiday/0000.png"]).values()
        assert service.content(image_id)[0] == (tmp_path / "holiday" / "0000.png").read_bytes()
        view = {each.root: (each.files, each.missing) for each in service.folders.view()}
        assert view == {"images": (2, False), "images/holiday": (2, False)}
    with labeler(tmp_path) as service:
        assert service.project().images.total == 4
        assert service.log.fold.removed == set()


def test_a_folder_added_on_the_command_line_joins(tmp_path: Path) -> None:
    project(tmp_path)
    photo(tmp_path / "more" / "a.png", 30)
    with labeler(tmp_path) as service:
        assert add_folder(tmp_path / "workspace", tmp_path / "more") == "more"
        wait_for(lambda: service.project().images.total == 3, "the folder's photo")
        assert add_folder(tmp_path / "workspace", tmp_path / "more") is None


def test_labels_find_photos_in_each_folder(tmp_path: Path) -> None:
    project(tmp_path)
    photo(tmp_path / "a" / "photos" / "0000.png", 40)
    with labeler(tmp_path, more_images=[str(tmp_path / "a" / "photos")]) as service:
        rows = [
            ImportRow(line=1, uri="0000.png", label="cat"),
            ImportRow(line=2, uri="photos/0000.png", label="dog"),
            ImportRow(line=3, uri=str(tmp_path / "a" / "photos" / "0000.png"), label="dog"),
        ]
        receipt = service.imports.take(ImportPost(rows=rows))
        assert [receipt.rejected, receipt.conflicts] == [[], []]
        exported = csv.DictReader(b"".join(service.exports.begin("csv")[0]).decode().splitlines())
        labels = {row["uri"]: row["label"] for row in exported if row["label"]}
        assert labels == {"0000.png": "cat", "photos/0000.png": "dog"}


def test_a_missing_further_folder_keeps_its_labels(tmp_path: Path) -> None:
    project(tmp_path)
    photo(tmp_path / "disk" / "a.png", 50)
    add_folder(tmp_path / "workspace", tmp_path / "disk")
    with labeler(tmp_path) as service:
        assert service.project().images.total == 3
    (tmp_path / "disk").rename(tmp_path / "unplugged")
    with labeler(tmp_path) as service:
        assert service.project().images.total == 3
        assert "disk" in (service.project().scanning.error or "")
        (tmp_path / "unplugged").rename(tmp_path / "disk")
        photo(tmp_path / "disk" / "b.png", 51)
        wait_for(lambda: service.project().images.total == 4, "the folder that is back")


@pytest.mark.parametrize(
    ("folder", "sentence"),
    [
        ("nowhere", "is not a folder"),
        ("photos", "is already a folder of this project"),
        ("photos/inside", "is inside .*photos, which the project already has"),
        ("", "Name a folder"),
        (".", "contains .*photos"),
        ("workspace/uploads", "is inside .*workspace"),
    ],
)
def test_a_folder_that_cannot_be_added_is_refused_with_a_reason(tmp_path: Path, folder: str, sentence: str) -> None:
    project(tmp_path)
    (tmp_path / "photos" / "inside").mkdir()
    with labeler(tmp_path, watch=False) as service, pytest.raises(Invalid, match=sentence):
        service.folders.add(str(tmp_path / folder) if folder else "")


def test_the_demo_takes_no_folder(tmp_path: Path) -> None:
    remember(settings(tmp_path, images=""))
    (tmp_path / "mine").mkdir()
    with pytest.raises(SettingsError, match="You cannot add photos to the demo"):
        add_folder(tmp_path / "workspace", tmp_path / "mine")


def test_other_readers_of_the_workspace_know_the_folders(tmp_path: Path) -> None:
    folders = ImageFolders(tmp_path / "workspace")
    assert list(folders.places("a.png")) == []
    project(tmp_path)
    (tmp_path / "more").mkdir()
    assert list(folders.places("more/a.png")) == [(tmp_path / "photos", "more/a.png")]
    add_folder(tmp_path / "workspace", tmp_path / "more")
    assert next(iter(folders.places("more/a.png"))) == (tmp_path / "more", "a.png")
    elsewhere = ImageFolders(tmp_path / "workspace", str(tmp_path / "copy"))
    assert list(elsewhere.places("a.png")) == [(tmp_path / "copy", "a.png")]
