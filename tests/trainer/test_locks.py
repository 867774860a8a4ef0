"""Data shared between the trainer's threads is read under its lock, or on its thread."""

from __future__ import annotations

import threading
from pathlib import Path

from starlette.testclient import TestClient

from shared.wire.images import ImageEntry
from tests.guards import LockOrder, Violations, held, parts_of
from tests.threads_page import out_of_order
from tests.trainer.learning import learning, photos, teach, truth, wait_for  # noqa: F401 - a fixture
from tests.trainer.logs import batch, class_rows, label_rows
from trainer.routes.api import create_api

ROUTES = (
    "/status",
    "/evaluations",
    "/label-issues?limit=5",
    "/near-duplicates?limit=5",
    "/similar?image_id=1&limit=3",
    "/similar?image_id=1&limit=3&labeled=true",
    "/clusters?count=3&limit=2",
    "/map?limit=10",
    "/predictions",
    "/models",
    "/jobs",
    "/metrics",
)


def test_nothing_shared_is_iterated_without_its_lock(
    tmp_path: Path,
    photos: tuple[Path, list[ImageEntry]],  # noqa: F811
) -> None:
    """The log and the catalogue need the replica's lock; the embeddings belong to the loop's thread."""
    with learning(tmp_path, photos, label_budget=30) as trainer:
        client = TestClient(create_api(trainer))
        teach(client, range(10))
        wait_for(lambda: trainer.status().model_version and trainer.status().embedding.done == 60)
        trainer.loop.wish("pause")
        replica = trainer.replica
        unlocked = Violations(held(replica.lock))
        elsewhere = Violations(lambda: threading.current_thread().name == "loop")
        with replica.lock:
            unlocked.guard(replica)
            unlocked.guard(replica.fold)
            for part in (trainer.loop.live.ingest, trainer.loop.live.pool, trainer.loop.live.embedder):
                assert part is not None
                elsewhere.guard(part)
        order = LockOrder()
        order.record(parts_of(trainer, ("trainer.", "shared.")))
        trainer.loop.wish("run")
        rows = label_rows([(image, truth(image)) for image in range(10, 40)], after=12)
        before = trainer.status().round
        client.post("/annotations", json=batch(rows, catalog=60).model_dump(mode="json")).raise_for_status()
        wait_for(lambda: trainer.status().round > before)
        for route in ROUTES:
            response = client.get(route)
            assert response.status_code in (200, 409), (route, response.text)
        client.post("/predict", json={"image_ids": [1, 2]}).raise_for_status()
        wait_for(lambda: trainer.status().state == "stopped")  # the budget is spent
        replica.update_catalog([each.model_copy(update={"removed": True}) for each in photos[1][:3]], after=63)
        trainer.control.wake()
        wait_for(lambda: trainer.status().embedding.done == 57)
        client.post("/annotations", json=batch(class_rows("new")).model_dump(mode="json")).raise_for_status()
        assert unlocked.found == []
        assert ("Control.changed", "Jobs._lock") in order.pairs
        assert out_of_order(order.pairs) == []
        assert elsewhere.found == []
