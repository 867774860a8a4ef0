import json
from pathlib import Path

import pytest

from labeler.service import Service
from shared.settings.services import SettingsError
from tests.labeler.projects import asked, labeler, photo, photos, settings


def given_tests(service: Service) -> dict[str, str]:
    """Label of each test image, by URI."""
    fold = service.log.fold
    return {
        entry.uri: service.classes.name(fold.labels[entry.id]) or ""
        for entry in service.catalog.page(0, 100).images
        if entry.split == "test"
    }


def test_a_folder_per_class(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 5)
    photo(tmp_path / "set" / "cat" / "a.png", 1)  # is in the image folder too
    photo(tmp_path / "set" / "bird" / "deep" / "b.png", 700)
    photo(tmp_path / "set" / "bird" / "c.png", 701)
    for _ in range(2):
        with labeler(tmp_path, test_set=str(tmp_path / "set")) as service:
            assert given_tests(service) == {"cat/a.png": "cat", "bird/deep/b.png": "bird", "bird/c.png": "bird"}
            assert {entry.name for entry in service.classes.entries()} == {"cat", "dog", "bird"}
            assert len(asked(service)) == 4
            assert service.log.last_seq == 3 + 3
            assert sum(service.tally.asked.values()) == 0


def test_a_table_of_images_in_the_folder_and_beside_it(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 5)
    photo(tmp_path / "set" / "b.png", 700)
    rows = "filename,label,split\n0001.png,cat,x\nb.png,dog,x\nnone.png,dog,x\n0002.png,,x\n"
    (tmp_path / "set" / "truth.csv").write_text(rows)
    with labeler(tmp_path, test_set=str(tmp_path / "set" / "truth.csv")) as service:
        assert given_tests(service) == {"0001.png": "cat", "b.png": "dog"}
        assert len(asked(service)) == 4


def test_names_in_a_folder_of_boxes_mean_its_own_photos(tmp_path: Path) -> None:
    """The image folder has another photo of the same name, which stays one to learn from."""
    photos(tmp_path / "photos", 3)
    photo(tmp_path / "set" / "0001.png", 700)
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 5, 6]}
    said = {"images": [{"id": 1, "file_name": "0001.png"}], "annotations": [box]}
    (tmp_path / "set" / "annotations.json").write_text(json.dumps({**said, "categories": [{"id": 1, "name": "cat"}]}))
    with labeler(tmp_path, task="detection", test_set=str(tmp_path / "set")) as service:
        assert len(asked(service)) == 3
        (tested,) = [entry for entry in service.catalog.page(0, 100).images if entry.split == "test"]
        assert service.log.fold.labels.keys() == {tested.id}


def test_images_known_before_become_test_images(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    with labeler(tmp_path) as service:
        assert len(asked(service)) == 3
    (tmp_path / "truth.csv").write_text("filename,label\n0001.png,cat\n")
    with labeler(tmp_path, test_set=str(tmp_path / "truth.csv")) as service:
        assert given_tests(service) == {"0001.png": "cat"}
        assert len(asked(service)) == 2
        assert [row.action for row in service.log.page(2, 10).annotations] == ["split_changed", "label"]


@pytest.mark.parametrize(("name", "text"), [("a.csv", "file,label\n"), ("b.csv", "filename,label\n"), ("c.txt", "x")])
def test_sets_that_cannot_be(tmp_path: Path, name: str, text: str) -> None:
    photos(tmp_path / "photos", 1)
    (tmp_path / name).write_text(text)
    with pytest.raises(SettingsError):
        Service(settings(tmp_path, test_set=str(tmp_path / name)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError, match="one folder per class"):
        Service(settings(tmp_path, test_set=str(tmp_path / "empty")))
