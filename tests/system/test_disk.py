"""A full disk: requests that need no space are served, others are refused with a reason, and all recovers later."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.disks import SmallDisk, small_disk
from tests.services import Services, running_services, wait_for

pytestmark = pytest.mark.system


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """The disk of the workspace."""
    with small_disk(tmp_path / "disk", 48) as made:
        yield made


def test_a_full_disk_is_reported_and_loses_nothing(disk: SmallDisk) -> None:
    workspace = disk.folder / "workspace"
    with (
        running_services(images=90, workspace=workspace, labeler={"buffer_size": 5}) as services,
        httpx.Client(base_url=services.labeler.url, timeout=30) as labeler,
        httpx.Client(base_url=services.trainer.url, timeout=30) as trainer,
    ):
        given = services.label(30)
        wait_for(lambda: services.status()["labels"] > 0, "a model")
        wait_for(services.caught_up, "the trainer")
        unseen = services.queue(limit=1)[0]["image_id"]
        answer = services.answer(unseen, services.truth[services.names()[unseen]])
        disk.fill(services.labeler, services.trainer)

        refused = refusals(labeler, trainer, answer)
        assert {name: each.status_code for name, each in refused.items()} == dict.fromkeys(refused, 507)
        for name, each in refused.items():
            detail = each.json()["detail"]
            assert "is full" in detail, name
            assert str(disk.folder) in detail, name
            assert "confirmed is safe" in detail, name
            assert each.json()["disk"]["kind"] == "full"

        for path in (
            f"/api/images/{unseen}/thumbnail?size=320",
            f"/api/images/{unseen}/content",
            *("/api/queue?annotator=ann&limit=3", "/api/grid", "/api/progress", "/api/project", "/", "/progress"),
            *("/api/export?format=csv", "/api/export?format=imagefolder", "/api/history", "/api/settings"),
        ):
            assert labeler.get(path).status_code == 200, path
        for path in ("/status", "/evaluations", "/predictions", "/models", "/metrics", "/settings"):
            assert trainer.get(path).status_code == 200, path
        assert services.status()["state"] != "stopping"  # the refused stop did not begin
        assert services.status()["disk"]["kind"] == "full"
        wait_for(lambda: told(services) == ["full", "full"], "the bar's words")
        for _ in range(20):
            refusals(labeler, trainer, answer)
        for process in (services.labeler, services.trainer):
            said = "".join(process.log)
            assert "Traceback" not in said
            assert said.count("is full") == 1, said

        disk.free()
        wait_for(lambda: told(services) == [None, None], "recovery")
        services.annotate([answer]).raise_for_status()
        given.append(answer)
        given += services.label(5)
        assert labeler.post("/api/snapshots", json={"name": "now"}).status_code == 200
        assert trainer.post("/stop").status_code == 200
        wait_for(lambda: services.status()["state"] == "stopped", "the stop")
        wait_for(lambda: services.status()["last_error"] is None, "an end of the error")
        assert Path(services.status()["saved"]["model"]).is_file()
        wait_for(services.caught_up, "the trainer")
        rows = services.get("/api/annotations?after=0&limit=5000")["annotations"]
        assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
        assert [row["id"] for row in rows if row["action"] == "label"] == [each["id"] for each in given]
        for process in (services.labeler, services.trainer):
            assert "can be written to again" in "".join(process.log)
            process.end()
            if disk.mounted:  # another process would have no limit
                disk.fill()  # what its end gave back, too
                process.start(wait=False)
                assert process.process is not None
                assert process.process.wait(60) == 2
                wait_for(lambda said=process.log: "Free some space there, and start again.\n" in said[-1], "the reason")  # type: ignore[misc]
                assert "Traceback" not in "".join(process.log)
                disk.free()
    with closing(sqlite3.connect(workspace / "flywheel.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def refusals(labeler: httpx.Client, trainer: httpx.Client, answer: dict[str, Any]) -> dict[str, httpx.Response]:
    """The responses to requests that must be written."""
    photo = {"images": ("new.png", labeler.get(f"/api/images/{answer['image_id']}/content").content)}
    return {
        "label": labeler.post("/api/annotations", json={"annotations": [answer]}),
        "undo": labeler.post("/api/undo", json={"id": str(uuid4()), "annotator": "ann"}),
        "class": labeler.post("/api/classes", json={"name": "violet"}),
        "snapshot": labeler.post("/api/snapshots", json={"name": "now"}),
        "upload": labeler.post("/api/images", files=photo),
        "label file": labeler.post("/api/label-files", files={"file": ("a.csv", b"image,label\n" * 9)}),
        "guidelines": labeler.patch("/api/project/guidelines", json={"text": "Look twice.", "annotator": "ann"}),
        "setting": labeler.patch("/api/settings", json={"buffer_size": 7}),
        "stop": trainer.post("/stop"),
        "trainer setting": trainer.patch("/settings", json={"exploration": 0.3}),
        "version": trainer.post("/models", json={"name": "kept"}),
    }


def told(services: Services) -> list[str | None]:
    """The bar's messages about both disks: the labeler's and the trainer's."""
    project = services.get("/api/project")
    return [each and each["kind"] for each in (project["disk"], project["trainer"]["disk"])]
