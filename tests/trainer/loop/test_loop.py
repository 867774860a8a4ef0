"""The loop in a running trainer: pause, resume, stop, budgets, restarts and failures."""

import threading
import time

from starlette.testclient import TestClient

from tests.trainer.learning import learning, teach, truth, wait_for
from tests.trainer.logs import batch, class_rows, label_rows
from trainer.embeddings.embedder import Embedder
from trainer.routes.api import create_api


def test_pause_resume_and_stop(client, trainer, tmp_path):
    teach(client, [*range(12), *range(40, 60)])
    wait_for(lambda: client.get("/status").json()["labels"] == 12)
    wait_for(lambda: client.get("/status").json()["metrics"])  # a round measures them after it has learned
    assert client.post("/pause").json()["state"] == "paused"
    acked = teach(client, [12, 13], after=34)
    assert acked == 36  # still taken
    time.sleep(0.3)
    assert client.get("/status").json()["labels"] == 12  # but not learned
    assert client.post("/models", json={"name": "paused"}).status_code == 200
    paused = client.get("/models/paused").json()
    assert (paused["labels"], paused["acked_seq"], paused["metrics"]["acked_seq"]) == (12, 34, 34)
    assert client.get("/models/paused/export", params={"format": "csv"}).text.count("\n") == 1 + 32  # nor saved
    client.post("/resume")
    wait_for(lambda: client.get("/status").json()["labels"] == 14)

    before = client.get("/status").json()["marks"]
    assert client.post("/stop").json()["state"] in ("stopping", "stopped")
    status = wait_for(lambda: (s := client.get("/status").json())["state"] == "stopped" and s)
    assert status["marks"] == {**before, "versions": status["marks"]["versions"]} != before  # so that pages notice it
    saved = status["saved"]
    assert saved["model"].startswith(str(tmp_path / "w"))
    _, version = client.get("/models").json()["models"]
    assert version["version"] == saved["model_version"]
    assert version["labels"] == 14
    exported = client.get(f"/models/{saved['model_version']}/export", params={"format": "csv"})
    assert exported.text.count("\n") == 1 + 34  # a header, 14 train and 20 test labels
    assert client.post("/predict", json={"image_ids": [30]}).status_code == 200  # a stopped trainer predicts
    assert client.post("/pause").json()["state"] == "stopped"
    assert client.post("/resume").json()["state"] == "training"


def test_pause_survives_a_restart_and_so_does_what_was_learned(tmp_path, photos):
    with learning(tmp_path, photos) as first:
        client = TestClient(create_api(first))
        teach(client, [*range(12), *range(40, 60)])
        wait_for(lambda: client.get("/status").json()["metrics"].get("test_labels") == 20)
        client.post("/pause")
    with learning(tmp_path, photos) as second:
        client = TestClient(create_api(second))
        status = client.get("/status").json()
        assert (status["state"], status["acked_seq"]) == ("paused", 34)
        assert status["metrics"]["accuracy"] == 1.0
        client.post("/resume")
        wait_for(lambda: client.get("/status").json()["labels"] == 12)


def test_a_stopped_trainer_still_predicts_after_a_restart(tmp_path, photos):
    with learning(tmp_path, photos) as first:
        client = TestClient(create_api(first))
        teach(client, range(12))
        client.post("/stop")
        wait_for(lambda: client.get("/status").json()["state"] == "stopped")
        saved = client.get("/status").json()["saved"]
    with learning(tmp_path, photos) as second:
        client = TestClient(create_api(second))
        wait_for(lambda: client.post("/predict", json={"image_ids": [30]}).status_code == 200)
        status = client.get("/status").json()
        assert (status["state"], status["saved"]) == ("stopped", saved)


def test_a_budget_stops_it_and_resume_goes_on(client, trainer):
    client.patch("/settings", json={"label_budget": 10})
    teach(client, range(12))
    status = wait_for(lambda: (s := client.get("/status").json())["state"] == "stopped" and s)
    assert "budget of 10" in status["stop_reason"]
    client.post("/resume")
    teach(client, [12], after=14)
    wait_for(lambda: client.get("/status").json()["labels"] == 13)
    assert client.get("/status").json()["state"] == "training"


def test_resuming_after_the_button_leaves_the_budget_in_force(client, trainer):
    client.patch("/settings", json={"label_budget": 10})
    teach(client, range(6))
    wait_for(lambda: client.get("/status").json()["labels"] == 6)
    client.post("/stop")
    wait_for(lambda: client.get("/status").json()["state"] == "stopped")
    client.post("/resume")
    teach(client, range(6, 12), after=8)
    status = wait_for(lambda: (s := client.get("/status").json())["state"] == "stopped" and s)
    assert "budget of 10" in status["stop_reason"]


def test_imported_labels_spend_no_budget(client, trainer):
    client.patch("/settings", json={"label_budget": 10})
    rows = [
        row.model_copy(update={"source": "import"}) for row in label_rows([(n, truth(n)) for n in range(20)], after=2)
    ]
    message = batch([*class_rows("red", "blue"), *rows], catalog=60).model_dump(mode="json")
    client.post("/annotations", json=message).raise_for_status()
    wait_for(lambda: client.get("/status").json()["labels"] == 20)
    teach(client, range(20, 29), after=22)
    wait_for(lambda: client.get("/status").json()["labels"] == 29)
    assert client.get("/status").json()["state"] == "training"
    teach(client, [29], after=31)
    wait_for(lambda: client.get("/status").json()["state"] == "stopped")


def test_an_unreadable_vector_file_is_reported_and_does_not_end_the_loop(tmp_path, photos, monkeypatch):
    """The disk fails while the geometry is rebuilt, then works again."""
    read, works = Embedder.read, threading.Event()

    def breaking(embedder, hashes):
        if not works.is_set():
            raise OSError("input/output error")
        return read(embedder, hashes)

    monkeypatch.setattr(Embedder, "read", breaking)
    with learning(tmp_path, photos) as trainer:
        client = TestClient(create_api(trainer))
        teach(client, range(12))
        status = wait_for(lambda: (s := client.get("/status").json())["state"] == "failed" and s)
        assert "input/output error" in status["last_error"]
        works.set()
        trainer.control.wake(refresh=True)
        wait_for(lambda: client.get("/status").json()["labels"] == 12)
        assert client.get("/status").json()["state"] == "training"
