from pathlib import Path

import pytest

from labeler.service import Service
from labeler.store.workspace import WorkspaceLock
from shared.settings.services import SettingsError
from tests.labeler.projects import labeler, photos, settings


def test_one_labeler_at_a_time(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service:
        service.workspace.announce("http://127.0.0.1:4000")
        with pytest.raises(SettingsError, match=r"workspace .*: open http://127\.0\.0\.1:4000, or stop it first"):
            Service(settings(tmp_path))
    WorkspaceLock(tmp_path / "workspace").release()


def test_a_start_that_fails_lets_go(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such folder"):
        Service(settings(tmp_path))
    photos(tmp_path / "photos", 1)
    with labeler(tmp_path) as service:
        assert service.project().images.total == 1


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="cannot be used"):
        WorkspaceLock(tmp_path / "file")
