"""Metrics with real wandb, offline: what is stored, and that its failures cannot harm the trainer."""

import json
import os
import signal
import struct
from pathlib import Path

import psutil
import pytest
from starlette.testclient import TestClient
from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]  # made by protobuf

from shared.figures import is_measured
from shared.settings.services import TrainerSettings
from tests.trainer.learning import photos, settings_for, teach, wait_for  # noqa: F401
from tests.trainer.versions.test_library import say
from trainer.routes.api import create_api
from trainer.service import Trainer
from trainer.tracking import wandb_follower

BLOCK = 2**15
MEASURED = [*range(12), *range(40, 60)]


def records(folder: Path) -> list[Record]:
    """What an offline run has written: a LevelDB log of protocol buffers, after seven bytes of its own."""
    (path,) = folder.glob("*.wandb")
    data, found, position, begun = path.read_bytes(), [], 7, b""
    while position + 7 <= len(data):
        if BLOCK - position % BLOCK < 7:  # no room for a header: the rest of the block is empty
            position += BLOCK - position % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        begun += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # the whole of a record, or its last part
            found.append(Record.FromString(begun))
            begun = b""
    return found


def history(run: list[Record]) -> list[dict[str, object]]:
    rows = [{".".join(item.nested_key): json.loads(item.value_json) for item in each.history.item} for each in run]
    return [row for row in rows if row]


def counted(evaluations):
    """Numbers of labels of the evaluations that have an accuracy: while images are embedded, one may have none yet."""
    return [each.spent for each in evaluations if is_measured(each.accuracy)]


def curve(run: str | Path) -> list[dict[str, object]]:
    return [row for row in history(records(Path(run))) if "accuracy" in row]


@pytest.fixture
def opened(tmp_path, photos):  # noqa: F811
    """Opens the trainer of one workspace, with tracking."""
    folder, entries = photos
    trainers = []

    def open_trainer(**more):
        trainer = Trainer(*settings_for(tmp_path, folder, tracking="offline", **more))
        trainer.replica.update_catalog(entries, after=len(entries))
        trainer.catalog.complete.set()
        trainer.start()
        trainers.append(trainer)
        return trainer, TestClient(create_api(trainer))

    yield open_trainer
    for trainer in trainers:
        trainer.close()


def tracked(client):
    return client.get("/status").json()["tracking"]


def test_by_default_nothing_leaves_the_machine(monkeypatch):
    monkeypatch.delenv("FLYWHEEL_TRAINER__TRACKING", raising=False)
    assert TrainerSettings.load()[0].tracking == "offline"


def test_a_run_holds_curve_confusion_images_and_versions_and_the_next_one_has_the_whole_curve(
    opened, tmp_path, monkeypatch
):
    monkeypatch.setattr(wandb_follower, "PAUSES", (0.1,))
    monkeypatch.setattr(wandb_follower, "END_SECONDS", 60.0)  # a busy machine takes longer to write the last rows
    trainer, client = opened()
    assert tracked(client) == {"mode": "offline", "run": None, "error": None}
    teach(client, MEASURED)
    killed = wait_for(lambda: tracked(client)["run"])
    # Without a labeler no list is accepted, so the test calls the tracker in place of the publisher.
    trainer.tracker.asked(wait_for(lambda: trainer.publisher._waiting))
    os.kill(trainer.tracker._process.pid, signal.SIGKILL)  # another process takes over, and no figure is lost
    first = Path(wait_for(lambda: (run := tracked(client)["run"]) != killed and run))
    assert tracked(client)["error"] is None
    assert client.get("/status").json()["state"] == "training"
    say(client, "/models", json={"name": "kept"})
    teach(client, range(12, 30), after=34)
    wait_for(lambda: len(trainer.replica.evaluations) >= 2)
    trainer.close()
    run = records(first)
    rows = [row for row in history(run) if "accuracy" in row]
    told = trainer.replica.evaluations
    assert [row["labels"] for row in rows] == counted(told)
    assert rows[-1]["accuracy"] == told[-1].accuracy.value
    assert rows[-1]["accuracy_low"] == told[-1].accuracy.low
    assert rows[-1]["f1/red"] == told[-1].classes[0].f1
    assert rows[-1]["milliseconds/fit"] > 0
    (table,) = (first / "files" / "media" / "table").glob("confusion*.json")
    cells = json.loads(table.read_text())["data"]
    # wandb gets only some of the tables, so the last one may be of any evaluation.
    assert sum(count for *_, count in cells) in {each.accuracy.n for each in told}
    artifacts = [each.request.log_artifact.artifact for each in run if each.request.HasField("log_artifact")]
    artifacts += [each.artifact for each in run if each.HasField("artifact")]
    assert any("kept" in each.aliases for each in artifacts)
    # The images asked about are kept with the reasons.
    kept = list((first / "files" / "media" / "images").glob("asked_next*.png"))
    reasons = [row["asked_next.captions"] for row in history(run) if "asked_next.captions" in row]
    assert reasons
    assert all(0 < len(each) <= wandb_follower.IMAGES for each in reasons)
    assert len(kept) == sum(map(len, reasons))
    assert not list((tmp_path / "w" / "trainer").glob("**/offline-run*"))

    again, client = opened()
    teach(client, range(30, 36), after=52)
    second = Path(wait_for(lambda: tracked(client)["run"]))
    assert second != first
    again.close()
    assert [row["labels"] for row in curve(second)] == counted(again.replica.evaluations)


def test_a_folder_that_cannot_be_written_is_one_line_in_the_status(opened, tmp_path):
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "wandb").write_text("in the way")
    trainer, client = opened()
    teach(client, MEASURED)
    error = wait_for(lambda: tracked(client)["error"])
    assert error.startswith("wandb does not work: ")
    assert str(tmp_path / "w" / "wandb") in error
    assert "\n" not in error
    status = client.get("/status").json()
    assert status["state"] == "training"
    assert status["metrics"]["test_labels"] == 20  # all else goes on
    assert "flywheel_trainer_tracking_failed 1.0" in client.get("/metrics").text
    trainer.close()
    assert trainer.replica.path.is_file()


def test_one_that_hangs_holds_up_neither_labels_nor_the_end(opened, monkeypatch):
    monkeypatch.setattr(wandb_follower, "END_SECONDS", 0.3)
    trainer, client = opened()
    teach(client, MEASURED)
    wait_for(lambda: tracked(client)["run"])
    process = psutil.Process(trainer.tracker._process.pid)
    process.suspend()
    teach(client, range(12, 30), after=34)
    wait_for(lambda: client.get("/status").json()["labels"] == 30)
    trainer.close()
    process.wait(10)
    assert not trainer.tracker._thread.is_alive()


def test_off_starts_nothing(tmp_path, photos):  # noqa: F811
    trainer = Trainer(*settings_for(tmp_path, photos[0], tracking="off"))
    trainer.start()
    assert not trainer.tracker._thread.is_alive()
    trainer.close()
    assert not (tmp_path / "w" / "wandb").exists()
