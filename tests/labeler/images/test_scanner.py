from pathlib import Path

import pytest

from labeler.images.file_index import Files
from labeler.images.file_registry import Found, Root
from labeler.service import Service
from shared.images.near_files import NearFiles
from shared.images.sources.source import Stamp
from tests.labeler.projects import labeler, photos, settings
from tests.shared.images.sources.places import picture, write_zip


def test_progress_of_a_scan(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 20)
    with labeler(tmp_path) as service:
        view = service.scanner.view()
        assert (view.running, view.done, view.total, view.error) == (False, 20, 20, None)


def test_unchanged_files_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = photos(tmp_path / "photos", 5)
    with labeler(tmp_path):
        pass
    (folder / "0003.png").touch()
    read: list[str] = []
    look_at = Files.look_at

    def watched(self: Files, root: Root, uri: str, stamp: Stamp | None = None, near: NearFiles | None = None) -> Found:
        read.append(uri)
        return look_at(self, root, uri, stamp, near)

    monkeypatch.setattr(Files, "look_at", watched)
    with labeler(tmp_path) as service:
        assert read == ["0003.png"]
        assert service.project().images.total == 5


def test_a_scan_that_is_broken_off_removes_nothing_and_goes_on_later(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 300)
    service = Service(settings(tmp_path))
    service.start()
    service.close()
    with labeler(tmp_path) as service:
        assert service.project().images.total == 300
        assert service.log.fold.removed == set()


def test_a_list_that_fails_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    for shard in (0, 1):
        write_zip(tmp_path / f"photos-{shard}.zip", {f"{each}.png": picture(10 * shard + each) for each in (1, 2)})
    with labeler(tmp_path, images=str(tmp_path / "photos-*.zip")) as service:
        assert service.project().images.total == 4
        write_zip(tmp_path / "photos-0.zip", {"3.png": picture(3)})
        (tmp_path / "photos-1.zip").write_bytes(b"half a download")
        service.scanner.start()
        service.scanner.wait(10)
        assert "has the file photos-1.zip, which is not a zip archive" in (service.scanner.view().error or "")
        assert service.project().images.total == 4
        assert service.log.fold.removed == set()
        write_zip(tmp_path / "photos-1.zip", {"1.png": picture(11)})
        service.scanner.start()
        service.scanner.wait(10)
        there = {entry.uri for entry in service.catalog.page(0, 10).images if not entry.removed}
        assert there == {"photos-0.zip/3.png", "photos-1.zip/1.png"}


def test_a_missing_folder_stops_the_first_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no such folder"):
        Service(settings(tmp_path))


def test_a_failing_step_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    photos(tmp_path / "photos", 2)
    with labeler(tmp_path) as service:

        def fail() -> None:
            raise RuntimeError("no room")

        service.scanner._steps = [fail]
        service.scanner.start()
        service.scanner.wait(10)
        assert service.scanner.view().error == "The scan failed: no room."
    assert "no room" in caplog.text
