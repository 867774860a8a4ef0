"""Weights are downloaded once and checked. If they are not available, the message says so."""

import os
import subprocess
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from threading import Thread

import pytest
import torch

from trainer.whole_detector import coco_weights as coco_weights_module
from trainer.whole_detector.coco_weights import NotHereError, address_of, coco_weights
from trainer.whole_detector.names import TORCHVISION


@pytest.fixture
def server(monkeypatch, tmp_path):
    """An address that serves one file of weights, with its hash in its name."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    stream = BytesIO()
    torch.save({"head.weight": torch.ones(2)}, stream)
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(stream.getvalue())))
            self.end_headers()
            self.wfile.write(stream.getvalue())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        digest = sha256(stream.getvalue()).hexdigest()[:8]
        yield f"http://127.0.0.1:{server.server_address[1]}/tiny-{digest}.pth", asked
        server.shutdown()


def test_weights_are_downloaded_once(server, tmp_path):
    address, asked = server
    told = []
    for _ in range(2):
        found = coco_weights("tiny", address=address, on_bytes=lambda *each: told.append(each))
        assert found["head.weight"].tolist() == [1.0, 1.0]
    assert len(asked) == 1
    assert told[-1][0] == told[-1][1] > 0
    damaged = address.replace("tiny-", "tiny-0")
    with pytest.raises(NotHereError, match="the download is damaged"):
        coco_weights("tiny", address=damaged)
    assert [each.name for each in (tmp_path / "checkpoints").iterdir()] == [address.rpartition("/")[2]]


def test_a_file_without_end_is_given_up(server, tmp_path, monkeypatch):
    address, _ = server
    monkeypatch.setattr(coco_weights_module, "MOST_BYTES", 1000)
    with pytest.raises(NotHereError, match=r"larger than 1\.0 kB"):
        coco_weights("tiny", address=address)
    assert not list((tmp_path / "checkpoints").iterdir())


def test_leftovers_of_a_killed_download_are_deleted_but_not_a_download_in_progress(server, tmp_path):
    address, _ = server
    folder, ended = tmp_path / "checkpoints", subprocess.Popen(["true"])
    ended.wait()
    folder.mkdir()
    stem = address.rpartition("/")[2].removesuffix(".pth")
    left, under_way = (folder / f"{stem}.{process}.part" for process in (ended.pid, os.getppid()))
    for part in (left, under_way):
        part.write_bytes(b"part")
    coco_weights("tiny", address=address)
    assert (left.exists(), under_way.exists()) == (False, True)


def test_missing_weights_are_reported(server):
    address, asked = server
    with pytest.raises(NotHereError, match="forbids downloading them"):
        coco_weights("tiny", address=address, download=False)
    assert not asked
    with pytest.raises(
        NotHereError, match=r"cannot be downloaded from .*Train a timm network, or put gone-1234.pth into"
    ):
        coco_weights("tiny", address="http://127.0.0.1:9/gone-1234.pth")
    assert all(address_of(name).endswith(".pth") for name in TORCHVISION)
