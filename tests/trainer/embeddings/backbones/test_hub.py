"""Downloads of published weights from a model hub: the progress, and which downloads are refused."""

import os
import shutil
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest
import timm
import torch
from safetensors.torch import save

from shared.settings.services import TrainerSettings
from trainer.embeddings.backbones.backbone import load_auto, resolve_auto
from trainer.embeddings.backbones.hub import LEFT_SECONDS, Download, UnreachableError, fetch_weights, hub_answers

TINY = "test_efficientnet"  # 0.1 M parameters; timm has it for tests like these
REPOSITORY = f"timm/{TINY}.r160_in1k"


def settings(**values: object) -> TrainerSettings:
    return TrainerSettings.load(command_line={"device": "cpu", **values})[0]


class Hub(BaseHTTPRequestHandler):
    """A model hub that serves a single file."""

    weights = b""
    tells_size = True
    announced = 0  # the size that the metadata tells, if it is a wrong one
    asked: list[str] = []  # noqa: RUF012 - of the class, as http.server makes a new handler for each request

    def do_HEAD(self) -> None:
        self._answer(b"", self.announced or len(self.weights))

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self._answer(self.weights, len(self.weights))

    def _answer(self, body: bytes, size: int) -> None:
        self.send_response(200)
        self.send_header("X-Repo-Commit", "a" * 40)
        self.send_header("ETag", '"b1946ac92492d2347c6235b4d2611184"')
        if self.tells_size:
            self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(no_hub: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A hub that serves the weights of TINY."""
    torch.manual_seed(0)
    monkeypatch.setattr(Hub, "weights", save(timm.create_model(TINY).state_dict()))
    monkeypatch.setattr(Hub, "asked", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
        yield
        server.shutdown()


def test_weights_that_do_not_fit_on_the_disk_are_not_downloaded(
    hub: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(UnreachableError, match=r"they have [\d.]+ MB, and 1\.0 kB are free in"):
        fetch_weights(TINY, REPOSITORY)
    assert Hub.asked == []


def test_weights_whose_size_the_hub_does_not_tell_are_not_downloaded(
    hub: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hub, "tells_size", False)
    with pytest.raises(UnreachableError, match="the hub does not tell their size"):
        fetch_weights(TINY, REPOSITORY)
    assert Hub.asked == []


def test_leftovers_of_a_killed_download_do_not_count_as_progress(hub: None, no_hub: Path) -> None:
    left = no_hub / f"models--{REPOSITORY.replace('/', '--')}" / "blobs" / "b1946ac9.0a1b2c3d.incomplete"
    left.parent.mkdir(parents=True)
    left.write_bytes(bytes(2 * len(Hub.weights)))
    told: list[Download] = []
    fetch_weights(TINY, REPOSITORY, told.append)
    assert told
    assert all(each.done <= each.total for each in told)
    assert told[0].done == 0


def test_leftovers_of_killed_downloads_are_deleted_but_not_a_download_in_progress(hub: None, no_hub: Path) -> None:
    parts = [no_hub / f"models--timm--{name}" / "blobs" / "b1946ac9.0a1b2c3d.incomplete" for name in ("old", "now")]
    for part in parts:
        part.parent.mkdir(parents=True)
        part.write_bytes(b"part")
    long_ago = time.time() - 2 * LEFT_SECONDS
    os.utime(parts[0], (long_ago, long_ago))
    fetch_weights(TINY, REPOSITORY)
    assert [part.exists() for part in parts] == [False, True]


def test_a_download_that_brings_more_than_was_announced_ends(hub: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hub, "announced", len(Hub.weights) // 4)
    with pytest.raises(UnreachableError, match=r"the hub sends more than the .* that it announced"):
        fetch_weights(TINY, REPOSITORY)


def test_an_invalid_hub_address_counts_as_unreachable(no_hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub:port")
    assert not hub_answers()


def test_a_download_tells_its_size_and_can_be_declined(hub: None, tmp_path: Path) -> None:
    declined = settings(auto_backbone=TINY, auto_download=False)
    assert resolve_auto(declined).weights == "installed"
    assert Hub.asked == []
    told: list[Download] = []
    resolved, backbone = load_auto(settings(auto_backbone=TINY), tmp_path, on_download=told.append)
    assert backbone is not None
    assert (resolved.name, resolved.weights, backbone.resolved) == (TINY, "hub", resolved)
    assert told[0].name == TINY
    assert {each.total for each in told} == {len(Hub.weights)}
    assert Hub.asked == ["/timm/test_efficientnet.r160_in1k/resolve/main/model.safetensors"]
    assert resolve_auto(declined) == resolved  # its weights are in the cache by now
