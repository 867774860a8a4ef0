"""A folder per class of copies or links, from a workspace at rest and from a running labeler."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.routing import Mount
from typer.testing import CliRunner, Result

import flywheel
from commands.labels.imports import send
from labeler.service import Service
from labeler.transfer.sources import open_source
from labeler.web.api import create_api
from shared.settings.services import SettingsError
from shared.settings.starting import remember
from shared.web.server import address, bind
from tests.labeler.projects import answer, labeler, photos
from tests.services import wait_for
from tests.shared.images.sources.places import picture, write_zip

WAYS = {
    "copy": lambda file, photo: not file.is_symlink() and not file.samefile(photo),
    "hardlink": lambda file, photo: not file.is_symlink() and file.samefile(photo),
    "symlink": lambda file, photo: file.is_symlink() and file.samefile(photo),
}


@contextmanager
def served(service: Service) -> Iterator[str]:
    pages = Starlette(routes=[Mount("/api", app=create_api(service))])
    with bind("127.0.0.1", 0) as sock:
        server = uvicorn.Server(uvicorn.Config(pages, log_config=None, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            wait_for(lambda: server.started)
            yield address(sock)
        finally:
            server.should_exit = True
            thread.join()


def export(*words: Any) -> Result:
    return CliRunner().invoke(flywheel.app, ["export", *map(str, words)], env={"COLUMNS": "300"})


@contextmanager
def labeled(tmp: Path) -> Iterator[Service]:
    photos(tmp / "photos", 4)
    with labeler(tmp, classes=["cat", "a/b"]) as service:
        service.catalog.move([2], "test")
        service.annotate([answer(1, "cat"), answer(2, "a/b"), answer(3, "a/b"), answer(4, None, action="flag")])
        yield service


FILES = ["test/a%2Fb/2-0001.png", "train/a%2Fb/3-0002.png", "train/cat/1-0000.png"]


@pytest.mark.parametrize("way", WAYS)
def test_a_workspace_at_rest(tmp_path: Path, way: str) -> None:
    with labeled(tmp_path):
        pass
    done = export(
        tmp_path / "out", "--files", way, "--workspace", tmp_path / "workspace", "--images", tmp_path / "photos"
    )
    assert done.exit_code == 0, (done.output, done.exception)
    assert "3 images" in done.output
    files = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert [path.relative_to(tmp_path / "out").as_posix() for path in files] == FILES
    for file in files:
        photo = tmp_path / "photos" / file.name.split("-")[1]
        assert WAYS[way](file, photo)
        assert file.read_bytes() == photo.read_bytes()


@pytest.mark.parametrize("way", WAYS)
def test_a_running_labeler_and_back_again(tmp_path: Path, way: str) -> None:
    with labeled(tmp_path) as service, served(service) as url:
        assert (
            export(
                tmp_path / "photos" / "out", "--files", way, "--where", "split=train", "--labeler-url", url
            ).exit_code
            == 0
        )
        before, end = dict(service.log.fold.labels), service.log.last_seq
        source = open_source(tmp_path / "photos" / "out")
        outcome = send(url, source.rows(), source.folder)
        assert (outcome.rows, outcome.counts["rejected"], outcome.counts["conflict"]) == (2, 0, 0)
        assert service.log.fold.labels == before
        assert service.log.last_seq == end + 2  # brought along, of the same images
        assert len(service.tally.splits) == 4


def test_a_folder_for_yolo(tmp_path: Path) -> None:
    with labeled(tmp_path) as service:
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / "scan", "JPEG")
        Image.new("RGB", (8, 8), "red").save(tmp_path / "photos" / "old.gif")
        service.scanner.start()
        service.scanner.wait(30)
        ids = {entry.uri: entry.id for entry in service.catalog.entries(0, 10)}
        service.catalog.move([ids["scan"]], "validation")
        service.annotate([answer(ids["scan"], "cat"), answer(ids["old.gif"], "cat")])
    at_rest = ["--workspace", tmp_path / "workspace", "--images", tmp_path / "photos"]
    done = export(tmp_path / "out", "--files", "symlink", "--format", "yolo", *at_rest)
    assert "4 images" in done.output
    assert "Left out: 1 photo, missing or changed, or in a format that YOLO does not read" in done.output
    assert (tmp_path / "out" / "left_out.txt").read_text().startswith("old.gif: has a format that YOLO does not read")
    files = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.suffix in (".png", ".jpg"))
    assert [path.relative_to(tmp_path / "out").as_posix() for path in files] == [
        *FILES,
        f"val/cat/{ids['scan']}-scan.jpg",
    ]
    for split in ("train", "val", "test"):
        assert sorted(path.name for path in (tmp_path / "out" / split).iterdir()) == ["a%2Fb", "cat"]


def test_an_impossible_export_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    with labeled(tmp_path):
        (tmp_path / "photos" / "0001.png").write_bytes(b"another")
    at_rest = ["--workspace", tmp_path / "workspace", "--images", tmp_path / "photos"]
    done = export(tmp_path / "out", "--files", "copy", *at_rest)
    assert "Left out: 1 photo, missing or changed. See left_out.txt" in done.output
    assert (tmp_path / "out" / "left_out.txt").read_text() == "0001.png\n"
    for words, said in [
        ((tmp_path / "out", "--files", "copy"), "already exists"),
        ((tmp_path / "new", "--files", "move"), "copy, hardlink, symlink"),
        ((tmp_path / "new", "--files", "copy", "--format", "csv"), "imagefolder, not csv"),
        ((tmp_path / "new", "--files", "copy", "--where", "split=test"), "name their folder with --images"),
        ((tmp_path / "no folder" / "new", "--files", "copy"), "no folder first"),
        ((tmp_path / "new.csv", "--include", "predictions"), "start Flywheel"),
        ((tmp_path / "new.zip",), "can be imagefolder or yolo or datasets or fiftyone: say which with --format imagef"),
        ((tmp_path / "new.JSON",), "A .json file can be coco or label_studio: say which with --format coco."),
        ((tmp_path / "new",), "The name 'new' does not say which format to write: end it with .csv, or name a format"),
        ((tmp_path / "new.zip", "--format", "datasets", *at_rest[:2]), "name their folder with --images"),
    ]:
        refused = export(*words, *(at_rest if at_rest[0] not in words else ()))
        assert isinstance(refused.exception, SettingsError)
        assert said in str(refused.exception)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "photos", "workspace"]
    assert export(tmp_path / "tags.xml", *at_rest).exit_code == 0  # only CVAT writes such a file
    assert "<annotations>" in (tmp_path / "tags.xml").read_text()


def test_another_file_system_has_no_hard_links(tmp_path: Path) -> None:
    others = [Path("/dev/shm"), Path(__file__).parent]
    other = next((each for each in others if each.is_dir() and each.stat().st_dev != tmp_path.stat().st_dev), None)
    if other is None:
        pytest.skip("there is one file system alone")
    with labeled(tmp_path):
        pass
    target = other / f"flywheel-{tmp_path.name}"
    refused = export(
        target, "--files", "hardlink", "--workspace", tmp_path / "workspace", "--images", tmp_path / "photos"
    )
    assert "on one file system" in str(refused.exception)
    assert "copy or symlink" in str(refused.exception)
    assert not target.exists()


def test_photos_of_an_archive_are_copied(tmp_path: Path) -> None:
    files = {f"sub/{number}.png": picture(number) for number in range(2)}
    with labeler(tmp_path, images=str(write_zip(tmp_path / "photos.zip", files))) as service:
        remember(service.settings)
        service.annotate([answer(1, "cat"), answer(2, "dog")])
    target = tmp_path / "out"
    linked = export(target, "--format", "imagefolder", "--files", "symlink", "--workspace", tmp_path / "workspace")
    assert "not files, so no link is possible: use --files copy" in str(linked.exception)
    assert not target.exists()
    copied = export(target, "--format", "imagefolder", "--files", "copy", "--workspace", tmp_path / "workspace")
    assert copied.exit_code == 0, copied.output
    assert sorted(path.read_bytes() for path in target.rglob("*.png")) == sorted(files.values())
