"""`flywheel embed --simclr` in workspaces that a real labeler made."""

import re
import shlex
import subprocess
import sys
import zipfile
from io import StringIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from commands.models.embed import train_simclr
from shared.images.sources.folder import FolderSource
from shared.settings.command_line import parse_command_line
from shared.settings.services import SettingsError, TrainerSettings
from tests.labeler.projects import labeler
from tests.services import Process, wait_for
from trainer.embeddings.backbones.backbone import load_backbone

COUNT = 40


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(COUNT):
        noise = np.random.default_rng(number).integers(0, 255, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The photos that were read."""
    uris: set[str] = set()

    read = FolderSource.read

    def noted(self, uri, limits):
        uris.add(uri)
        return read(self, uri, limits)

    monkeypatch.setattr(FolderSource, "read", noted)
    return uris


@pytest.fixture(autouse=True)
def one_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYWHEEL_TRAINER__DEVICE", "cpu")


def run(workspace: Path, images: Path | None = None) -> str:
    said = StringIO()
    train_simclr(
        workspace, images, arch="test_efficientnet", input_size=16, epochs=1, batch_size=16, console=Console(file=said)
    )
    return said.getvalue()


def test_only_photos_that_are_now_in_the_train_split_are_opened(tmp_path, photos, opened):
    with labeler(tmp_path, test_set_frac=0.2, validation_set_frac=0.2) as service:
        entries = service.catalog.entries(0, COUNT)
        first, second = [entry for entry in entries if entry.split == "train"][:2]
        service.catalog.move([first.id], "test")
        (photos / second.uri).unlink()
        service.scanner.scan("images")
        entries = service.catalog.entries(0, COUNT)
    train = {entry.uri for entry in entries if entry.split == "train" and not entry.removed}
    opened.clear()  # the labeler has read all of them
    said = run(tmp_path / "workspace", photos)
    assert opened == train
    assert not {first.uri, second.uri} & train
    assert f"Training on {len(train)} photos. {COUNT - 1 - len(train)} are kept for measuring" in said


def test_the_printed_command_starts_a_trainer(tmp_path, photos):
    with labeler(tmp_path):
        pass
    said = run(tmp_path / "workspace", photos)
    line = next(line for line in said.splitlines() if "flywheel trainer" in line)
    _, given, _ = parse_command_line(TrainerSettings, shlex.split(line)[2:])
    backbone = load_backbone(TrainerSettings.load(command_line=given)[0], tmp_path)
    assert backbone is not None
    assert (backbone.input_size, backbone.key.startswith("test_efficientnet-16px")) == (16, True)
    assert re.search(r"flywheel up \S+photos --workspace \S+ --set=trainer.backbone=test_efficientnet ", said)


@pytest.mark.system
def test_a_running_labeler_is_asked(tmp_path, photos, opened):
    service = Process("labeler", {"images": photos, "workspace": tmp_path / "workspace", "test_set_frac": 0.3})
    service.start()
    try:
        wait_for(lambda: not httpx.get(f"{service.url}/api/project").json()["scanning"]["running"], "the scan")
        run(tmp_path / "workspace")  # it knows where the photos are
        entries = httpx.get(f"{service.url}/api/images?after=0&limit=100").json()["images"]
    finally:
        service.end()
    assert opened == {entry["uri"] for entry in entries if entry["split"] == "train"}
    assert len(opened) < len(entries) == COUNT


def test_without_a_workspace_there_are_no_splits_and_nothing_is_read(tmp_path, photos, opened):
    for workspace in (tmp_path / "none", photos):
        with pytest.raises(SettingsError, match="start `flywheel up` once"):
            run(workspace, photos)
    assert (opened, (tmp_path / "none").exists(), len(list(photos.iterdir()))) == (set(), False, COUNT)


def test_a_folder_that_does_not_hold_the_photos_is_refused(tmp_path, photos):
    with labeler(tmp_path):
        pass
    with pytest.raises(SettingsError, match="--images"):
        run(tmp_path / "workspace")
    with pytest.raises(SettingsError, match=r"Of the 40 photos that .* may train on, 0 are in"):
        run(tmp_path / "workspace", tmp_path)


def test_photos_in_an_archive(tmp_path, photos):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in photos.iterdir():
            archive.write(path, path.name)
    with labeler(tmp_path, images=str(tmp_path / "photos.zip")):
        pass
    assert f"Training on {COUNT} photos. 0 are kept" in run(tmp_path / "workspace", tmp_path / "photos.zip")


def test_importing_the_command_line_does_not_load_torch():
    code = "import flywheel, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
