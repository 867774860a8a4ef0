"""Other processes decode images: the inputs are the same, and a killed process loses nothing and leaves nothing."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from shared.images.opening import ImageProblem
from shared.processes import child_environment
from shared.settings.services import TrainerSettings
from tests.trainer.embeddings.decoding.folder import LIMITS, WAY, Folder, fetch
from trainer.embeddings.backbones.torch_networks import TorchBackbone
from trainer.embeddings.decoding import decoders as module
from trainer.embeddings.decoding.decoders import DecodeHere, Decoders, are_possible
from trainer.embeddings.decoding.read_ahead import ReadAhead
from trainer.embeddings.embedder import Embedder
from trainer.gpu.runner import Runner
from trainer.sync.image_source import Photos
from trainer.sync.labeler_client import LabelerClient

pytestmark = pytest.mark.skipif(not are_possible(), reason="this system has no memory without a name")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def decoders(folder: Folder) -> Iterator[Decoders]:
    opened = Decoders(partial(fetch, folder.root), LIMITS, WAY, 2)
    yield opened
    opened.close()


WAIT = 600.0
"""Seconds after which something never comes. The processes have the lowest priority: beside twenty others that want the
cores, 0.1 seconds of one core can take more than a minute."""


def said(future: "Future[NDArray[Any]]") -> object:
    """The result, or the error."""
    try:
        return future.result(WAIT)
    except Exception as error:  # tests compare it
        return error


def is_gone(pid: int) -> bool:
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def is_gone_soon(pid: int) -> bool:
    until = time.monotonic() + WAIT
    while not (gone := is_gone(pid)) and time.monotonic() < until:
        time.sleep(0.02)
    return gone


def test_the_inputs_are_those_of_this_process_and_each_problem_is_told(folder: Folder, decoders: Decoders) -> None:
    entries = [folder.add(number) for number in range(40)]
    entries[5] = folder.add(5, b"no image", "text.jpg")
    entries[6] = entries[6].model_copy(update={"sha256": "0" * 64})
    # Larger than one of many processes may decode.
    entries[7] = folder.add(7, folder.jpeg(7, size=300)[:-200] + b"\xff\xd9", "large.png")
    large = BytesIO()
    Image.new("RGBA", (310, 310)).save(large, "PNG")
    entries[7] = folder.add(7, large.getvalue(), "large.png")
    found = [said(future) for future in decoders.submit(entries)]
    for number, each in enumerate(found):
        if number not in (5, 6, 7):
            np.testing.assert_array_equal(each, folder.prepared(entries[number]))
    assert str(found[5]).startswith("is not an image")
    assert str(found[6]) == "has changed since it was catalogued"
    assert isinstance(found[7], DecodeHere)
    folder.prepared(entries[7])  # this process may decode it


def test_a_killed_process_is_replaced_and_its_images_are_decoded(folder: Folder, decoders: Decoders) -> None:
    entries = [folder.add(number) for number in range(200)]
    began = decoders.submit(entries)
    said(began[0])
    for pid in decoders.pids:
        os.kill(pid, signal.SIGKILL)
    for entry, future in zip(entries, began, strict=True):
        np.testing.assert_array_equal(said(future), folder.prepared(entry))


def test_an_image_that_ends_its_process_is_a_problem_and_no_other_is_lost(folder: Folder, decoders: Decoders) -> None:
    entries = [folder.add(number) for number in range(20)]
    entries[3] = folder.add(3, name="deadly.jpg")
    found = [said(future) for future in decoders.submit(entries)]
    assert "ended the process" in str(found[3])
    assert [number for number, each in enumerate(found) if isinstance(each, Exception)] == [3]


def test_they_end_after_a_time_without_images_and_start_again(
    folder: Folder, decoders: Decoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.05)
    entries = [folder.add(number) for number in range(3)]
    for _ in range(2):
        for entry, future in zip(entries, decoders.submit(entries), strict=True):
            np.testing.assert_array_equal(said(future), folder.prepared(entry))
        pids = decoders.pids
        until = time.monotonic() + WAIT
        while decoders.pids and time.monotonic() < until:
            time.sleep(0.02)
        assert decoders.pids == []
        assert all(map(is_gone_soon, pids))


def test_closing_waits_for_no_image_and_leaves_no_process_and_no_file(folder: Folder) -> None:
    files = len([*Path("/proc/self/fd").iterdir()])
    decoders = Decoders(partial(fetch, folder.root), LIMITS, WAY, 1)
    slow, queued = decoders.submit([folder.add(1, name="slow.jpg")]), decoders.submit([folder.add(2)])
    while not decoders.pids or not slow[0].running():
        time.sleep(0.01)
    pids = decoders.pids
    decoders.close()
    assert all(map(is_gone, pids))
    assert [type(said(future)) for future in (*slow, *queued, *decoders.submit([folder.add(3)]))] == [DecodeHere] * 3
    assert len([*Path("/proc/self/fd").iterdir()]) == files


def test_closing_waits_until_the_last_process_has_ended_also_while_they_end_by_themselves(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine, a killed process of the lowest priority takes long to end."""
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.05)
    busy, ending, real = threading.Event(), threading.Event(), subprocess.Popen.wait

    def wait(child: "subprocess.Popen[bytes]", timeout: float | None = None) -> int:
        ending.set()
        busy.wait(WAIT)
        return real(child, timeout)

    decoders = Decoders(partial(fetch, folder.root), LIMITS, WAY, 1)
    said(decoders.submit([folder.add(1)])[0])
    monkeypatch.setattr(subprocess.Popen, "wait", wait)
    assert ending.wait(WAIT)
    closing = threading.Thread(target=decoders.close)
    closing.start()
    closing.join(0.2)
    waits = closing.is_alive()
    busy.set()
    closing.join()
    assert waits


def test_a_thread_that_is_late_starts_no_process(folder: Folder) -> None:
    decoders = Decoders(partial(fetch, folder.root), LIMITS, WAY, 1)
    decoders.close()
    decoders._run()
    assert (decoders.pids, decoders.broken) == ([], False)


def test_where_they_cannot_start_the_caller_decodes(
    folder: Folder, decoders: Decoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "child_environment", lambda: {"PYTHONHOME": "/nowhere"})
    found = [said(future) for future in decoders.submit([folder.add(1), folder.add(2)])]
    assert [type(each) for each in found] == [DecodeHere] * 2
    assert decoders.broken


PARENT = """
import os, sys, time
from functools import partial
from pathlib import Path
from tests.trainer.embeddings.decoding.folder import LIMITS, WAY, Folder, fetch
from trainer.embeddings.decoding.decoders import Decoders
folder = Folder(Path(sys.argv[1]))
decoders = Decoders(partial(fetch, folder.root), LIMITS, WAY, 2)
decoders.submit([folder.add(1)])[0].result(600)
decoders.submit([folder.add(2, name="slow.jpg")])
print(*decoders.pids, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_they_end_with_the_process_that_they_decode_for(tmp_path: Path, number: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-P", "-c", PARENT, str(tmp_path)], env=child_environment(), stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    parent.send_signal(number)
    parent.communicate()
    assert all(map(is_gone_soon, pids))


def test_the_photos_of_a_trainer_are_read_ahead_by_processes(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.embeddings.decoding.read_ahead.ENOUGH", 10)
    monkeypatch.setattr("trainer.embeddings.decoding.read_ahead.usual_count", lambda: 1)
    given = {"images": str(folder.root), "workspace": str(tmp_path / "workspace"), "labeler_url": "http://127.0.0.1:9"}
    settings = TrainerSettings.load(command_line=given)[0]
    client = LabelerClient(settings.labeler_url, timeout_seconds=1.0)
    entries = [folder.add(number) for number in range(20)]
    missing = folder.add(20).model_copy(update={"uri": "missing.jpg"})
    reader, problems = ReadAhead(Photos(settings, client).fetch, LIMITS), dict[int, str]()
    taken: dict[int, NDArray[Any]] = {}
    try:
        while len(taken) + len(problems) < 21:
            waiting = [each for each in (*entries, missing) if each.id not in taken and each.id not in problems]
            taken |= {e.id: x for e, x in reader.take(waiting, 10, WAY, problems, processes=True)}
        assert reader._decoders is not None
        assert reader._decoders.pids
    finally:
        reader.close()
        client.close()
    assert list(problems) == [20]
    for entry in entries:
        np.testing.assert_array_equal(taken[entry.id], folder.prepared(entry))


def test_a_source_that_only_this_process_has_is_read_by_threads(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.embeddings.decoding.read_ahead.ENOUGH", 1)
    entries = [folder.add(number) for number in range(5)]
    reader = ReadAhead(lambda entry: fetch(folder.root, entry), LIMITS)
    taken = reader.take(entries, 5, WAY, {}, processes=True)
    reader.close()
    assert [entry.id for entry, _ in taken] == list(range(5))
    assert reader._decoders is None
    with pytest.raises(ImageProblem):
        folder.prepared(entries[0].model_copy(update={"uri": "missing.jpg"}))


def test_for_a_gpu_images_are_read_far_ahead_of_a_small_batch(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the first batch, which waits for the processes to start, would make all later ones small, and the
    processes would be idle."""
    monkeypatch.setattr("trainer.embeddings.decoding.read_ahead.ENOUGH", 10)
    monkeypatch.setattr("trainer.embeddings.decoding.read_ahead.usual_count", lambda: 1)
    given = {"images": str(folder.root), "workspace": str(tmp_path / "workspace"), "labeler_url": "http://127.0.0.1:9"}
    settings = TrainerSettings.load(command_line=given)[0]
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    cpu, one = torch.device("cpu"), (1.0, 1.0, 1.0)
    backbone = TorchBackbone("own", network, input_size=16, mean=one, std=one, device=cpu, published=False)
    wanted = backbone.embed([folder.prepared(folder.add(number)) for number in range(100)])
    backbone._runner = Runner(backbone.network, backbone._mean, backbone._scale, 16, cpu, at_once=4)
    client = LabelerClient(settings.labeler_url, timeout_seconds=1.0)
    embedder = Embedder(settings, tmp_path / "vectors", Photos(settings, client).fetch, backbone=backbone)
    entries = [folder.add(number) for number in range(100)]
    pending, ahead = {entry.id: entry for entry in entries}, []
    try:
        while pending:
            for entry in embedder.step(list(pending.values()), more_coming=False):
                del pending[entry.id]
            ahead.append(len(embedder._reader._ahead))
        assert ahead[0] >= 90
        np.testing.assert_allclose(embedder.read([entry.sha256 for entry in entries]), wanted, atol=1e-3)
    finally:
        embedder.close()
        client.close()
