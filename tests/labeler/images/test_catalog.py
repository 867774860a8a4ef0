import csv
from pathlib import Path
from typing import Any

import pytest

from labeler.images import catalog
from labeler.images.file_index import missing_images
from labeler.images.scanner import Scanner
from labeler.service import Service
from labeler.store.annotation_log import Draft
from shared.log import Fold
from shared.settings.services import LabelerSettings, SettingsError
from shared.wire.imports import ImportPost, ImportRow
from tests.labeler.projects import answer, asked, labeler, photo, photos, statements

pytestmark = pytest.mark.usefixtures("both_stores")


def uris(service: Service) -> dict[int, str]:
    return {entry.id: entry.uri for entry in service.catalog.page(0, 1_000).images if not entry.removed}


def rescan(service: Service) -> None:
    service.scanner.start()
    service.scanner.wait(30)


def test_splits_are_drawn_by_content_and_kept(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 200)
    with labeler(tmp_path, test_set_frac=0.2, validation_set_frac=0.1) as service:
        splits = {entry.sha256: entry.split for entry in service.catalog.page(0, 1_000).images}
        drawn = list(splits.values())
    assert 15 <= drawn.count("test") <= 70
    assert 5 <= drawn.count("validation") <= 45
    assert drawn.count("train") > 100
    for number in range(200):
        (tmp_path / "photos" / f"{number:04d}.png").rename(tmp_path / "photos" / f"new-{number}.png")
    with labeler(tmp_path, test_set_frac=0.2, validation_set_frac=0.1) as service:
        assert {entry.sha256: entry.split for entry in service.catalog.page(0, 1_000).images} == splits


def test_another_share_later_is_refused(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path, test_set_frac=0.2) as first:
        changed, sources = LabelerSettings.load(command_line=first.settings.model_dump() | {"test_set_frac": 0.3})
    with pytest.raises(SettingsError, match=r"'test_set_frac' cannot be 0\.3: .* was made with 0\.2"):
        Service(changed, sources)
    with labeler(tmp_path, test_set_frac=0.1) as service:  # the default, when nobody asked for another
        assert service.project().images.total == 1


def test_duplicates_are_one_image(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "sub/c.png"):
        photo(tmp_path / "photos" / name, 7)
    with labeler(tmp_path) as service:
        project = service.project()
        assert (project.images.total, project.duplicates) == (1, 2)
        assert asked(service) == [1]


def test_bad_files_are_listed_and_looked_at_again_once_they_change(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 2)
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("not an image")
    whole = photo(tmp_path / "whole.png", 99, (400, 400)).read_bytes()
    (folder / "torn.png").write_bytes(whole[: len(whole) // 2])
    (folder / "out.png").symlink_to(photo(tmp_path / "elsewhere.png", 55))
    with labeler(tmp_path) as service:
        rejected = {each.uri: each.reason for each in service.catalog.files.rejections()}
        assert set(rejected) == {"empty.jpg", "text.jpg", "torn.png", "out.png"}
        assert rejected["empty.jpg"] == "is empty"
        assert "leads outside" in rejected["out.png"]
        assert service.project().images.total == 2
        (folder / "torn.png").write_bytes(whole)
        rescan(service)
        project = service.project()
        assert (project.images.total, project.rejected) == (3, 3)


def test_odd_names(tmp_path: Path) -> None:
    names = ["with space.png", "quote'\".png", "😀.png", "x" * 240 + ".png", "a/b/c.png", "%41?#.png"]
    for shade, name in enumerate(names):
        photo(tmp_path / "photos" / name, shade)
    with labeler(tmp_path) as service:
        assert sorted(uris(service).values()) == sorted(names)
        assert all(service.content(image_id)[0] for image_id in uris(service))


def test_a_renamed_file_keeps_its_id_and_label(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 2)
    with labeler(tmp_path) as service:
        service.annotate([answer(1, "dog")])
        (folder / "0000.png").rename(folder / "zzz.png")
        assert service.project().images.total == 2
        rescan(service)
        assert uris(service) == {1: "zzz.png", 2: "0001.png"}
        assert service.progress().labels_per_class == {"cat": 0, "dog": 1}
        assert service.content(1)[0] == (folder / "zzz.png").read_bytes()


def test_a_vanished_image_is_removed_and_comes_back(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 3)
    with labeler(tmp_path) as service:
        data = (folder / "0000.png").read_bytes()
        (folder / "0000.png").unlink()
        version = service.catalog.version
        rescan(service)
        assert service.project().images.total == 2
        page = service.catalog.page(version, 10)
        assert [(entry.id, entry.removed) for entry in page.images] == [(1, True)]
        (folder / "back.png").write_bytes(data)
        rescan(service)
        assert uris(service)[1] == "back.png"
        assert service.project().images.total == 3


def exported(service: Service) -> dict[str, str]:
    rows = csv.DictReader(b"".join(service.exports.begin("csv")[0]).decode().splitlines())
    return {row["uri"]: row["label"] or row["status"] for row in rows}


@pytest.mark.parametrize("answered", ["label", "skip", "flag"])
def test_an_answer_outlives_its_file(tmp_path: Path, answered: str) -> None:
    folder = photos(tmp_path / "photos", 3)
    said = {"label": "dog", "skip": "skipped", "flag": "flagged"}[answered]
    with labeler(tmp_path) as service:
        service.annotate([answer(1, "dog" if answered == "label" else None, action=answered)])
        data = (folder / "0000.png").read_bytes()
        (folder / "0000.png").unlink()
        rescan(service)
        assert service.project().missing == 1
        assert exported(service)["0000.png"] == said
    with labeler(tmp_path) as service:
        assert (service.project().missing, service.project().duplicates) == (1, 0)
        assert exported(service)["0000.png"] == said
        (told,) = missing_images(service.catalog, service.files)
        assert (told.uri, told.reason) == ("0000.png", "The image cannot be read: 0000.png no longer exists.")
        (folder / "back.png").write_bytes(data)
        rescan(service)
        assert service.project().missing == 0
        assert exported(service)["back.png"] == said
        assert missing_images(service.catalog, service.files) == []


def test_a_label_outlives_another_image_in_its_file(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 2)
    with labeler(tmp_path) as service:
        service.annotate([answer(1, "dog")])
        photo(folder / "0000.png", 99, (17, 13))
        rescan(service)
        assert service.project().images.total == 3
        (told,) = missing_images(service.catalog, service.files)
        assert "was replaced" in told.reason
        assert service.progress().labels_per_class == {"cat": 0, "dog": 1}


def test_a_label_that_went_with_its_file_in_an_earlier_version_is_back(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 2)
    with labeler(tmp_path) as service:
        service.annotate([answer(1, "dog")])
        service.log.append([Draft(action="image_removed", image_id=1)])
        (folder / "0000.png").unlink()
        assert "0000.png" not in exported(service)
        rescan(service)
        assert exported(service) == {"0000.png": "dog", "0001.png": "unlabeled"}


@pytest.mark.parametrize("name", ["a.jfif", "noending"])
def test_an_imported_label_is_there_after_the_next_start(tmp_path: Path, name: str) -> None:
    """Whatever the file's ending, and whether a walk found it or an import named it."""
    folder = photos(tmp_path / "photos", 1)
    data = photo(tmp_path / "other.png", 77).read_bytes()
    with labeler(tmp_path, watch=False) as service:
        (folder / name).write_bytes(data)
        receipt = service.imports.take(ImportPost(rows=[ImportRow(line=1, uri=name, label="dog")]))
        assert (receipt.labels, receipt.rejected) == (1, [])
    for _ in range(2):
        with labeler(tmp_path, watch=False) as service:
            assert exported(service)[name] == "dog"
            assert (service.project().images.total, service.project().missing) == (2, 0)


def test_a_duplicate_stands_in_for_a_vanished_file(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    first, _ = photo(folder / "a.png", 7), photo(folder / "b.png", 7)
    photo(folder / "c.png", 8)
    with labeler(tmp_path) as service:
        first.unlink()
        assert service.content(1)[0]
        rescan(service)
        assert uris(service) == {1: "b.png", 2: "c.png"}
        assert service.log.fold.removed == set()


def test_replaced_content_is_another_image(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 2)
    with labeler(tmp_path) as service:
        photo(folder / "0000.png", 77, (20, 20))
        rescan(service)
        assert uris(service) == {2: "0001.png", 3: "0000.png"}


def test_a_missing_or_empty_folder_removes_nothing(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 2)
    with labeler(tmp_path):
        pass
    folder.rename(tmp_path / "unplugged")
    with labeler(tmp_path) as service:
        assert service.project().images.total == 2
        assert "not a folder" in (service.scanner.view().error or "")
    folder.mkdir()
    with labeler(tmp_path) as service:
        assert service.project().images.total == 2
        assert "is now empty" in (service.scanner.view().error or "")
    folder.rmdir()
    (tmp_path / "unplugged").rename(folder)
    with labeler(tmp_path) as service:
        assert service.scanner.view().error is None


def test_images_in_order_of_change(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 5)
    with labeler(tmp_path) as service:
        first = service.catalog.page(0, 3)
        rest = service.catalog.page(first.next, 3)
        assert [entry.id for entry in first.images + rest.images] == [1, 2, 3, 4, 5]
        assert rest.next == rest.catalog_version == service.catalog.version
        assert service.catalog.page(rest.next, 3).next == rest.next


def test_no_more_than_max_images(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 4)
    with labeler(tmp_path, max_images=3) as service:
        assert service.project().images.total == 3
        assert "max_images" in service.catalog.files.rejections()[0].reason


def test_many_lost_images_take_as_many_statements_as_few(tmp_path: Path) -> None:
    """All labeling waits meanwhile."""
    photos(tmp_path / "photos", 45)
    counts = []
    with labeler(tmp_path) as service:
        files = sorted(uris(service).values())
        for left in (files[:43], files[:3]):
            census = service.catalog.files.census()
            for known in service.catalog.files.known("images", left).values():
                census.meet(known.file_id)
            service.catalog.files.forget("images", census)
            with statements(service.engine) as executed:
                service.catalog.settle_images()
            assert sorted(uris(service).values()) == left
            counts.append(len(executed))
    assert counts[0] == counts[1]


def test_a_page_is_read_a_few_images_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is free in between, and what changes then comes again, later."""
    photos(tmp_path / "photos", 11)
    with labeler(tmp_path) as service:
        whole = service.catalog.page(0, 100)
        monkeypatch.setattr(catalog, "_AT_ONCE", 3)
        assert service.catalog.page(0, 100) == whole
        assert [each.id for each in service.catalog.page(0, 5).images] == [each.id for each in whole.images[:5]]
        assert service.catalog.page(whole.next, 5).images == []
        service.catalog.move([4], "test")
        moved = service.catalog.page(whole.next, 100)
        assert [(each.id, each.split) for each in moved.images] == [(4, "test")]


def test_a_start_looks_at_no_image_that_nobody_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path / "photos", 40)
    with labeler(tmp_path) as service:
        service.annotate([answer(3), answer(5, None, action="skip")])
        before = (service.tally.counts(), service.queue.remaining, list(service.queue.ranked()))
    looked_at: list[int] = []
    state = Fold.state

    def counted(fold: Fold, image_id: int) -> Any:
        looked_at.append(image_id)
        return state(fold, image_id)

    with monkeypatch.context() as patched:
        patched.setattr(Fold, "state", counted)
        patched.setattr(Scanner, "start", lambda _: None)  # only the start itself
        with labeler(tmp_path) as service:
            assert set(looked_at) <= {3, 5}
            assert (service.tally.counts(), service.queue.remaining, list(service.queue.ranked())) == before
