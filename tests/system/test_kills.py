"""No label is lost: after kills of either service, every confirmed label exists once and in order."""

import random
import threading
import time

import pytest

from tests.services import COLOURS, running_services, wait_for

pytestmark = pytest.mark.system

BOX = {"x": 2, "y": 3, "w": 9.5, "h": 8, "origin": "drawn"}
HELD = {
    "classification": lambda truth: {"label": truth},
    "multilabel": lambda truth: {"answer": {"yes": [truth], "no": sorted({*COLOURS} - {truth})}},
    "detection": lambda truth: {"answer": {"boxes": [{"label": truth, **BOX}] * 3}},
}


@pytest.mark.parametrize(
    ("task", "images", "kills"), [("classification", 240, 6), ("multilabel", 60, 2), ("detection", 60, 2)]
)
def test_labels_survive_kills_of_either_service(task, images, kills):
    """Kills while answers are posted one by one, each retried with the same id until it is confirmed."""
    rng = random.Random(0)
    with running_services(images=images, labeler={"buffer_size": 5, "task": task}) as services:
        names = services.names()
        confirmed: list[str] = []
        said = {"pause": 0.02, "held": HELD[task]}
        person = threading.Thread(target=services.annotate_all, args=(confirmed,), kwargs=said, daemon=True)
        person.start()
        for number in range(kills):
            victim = services.labeler if number % 2 else services.trainer
            time.sleep(rng.uniform(0, 0.5))
            victim.kill()
            victim.start(wait=victim is services.labeler)
        person.join(120)
        assert not person.is_alive()

        rows = services.get("/api/annotations?after=0&limit=5000")["annotations"]
        assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
        labels = [row for row in rows if row["action"] == "label"]
        assert [row["id"] for row in labels] == confirmed  # once each, in the order in which they were given
        assert [row["image_id"] for row in labels] == list(names)

        wait_for(services.caught_up, "the trainer", 120)
        project, status = services.get("/api/project"), services.status()
        assert project["images"]["labeled"] == len(names)
        assert status["acked_seq"] == project["last_seq"] == len(rows)
        if task == "detection":
            assert all(len(row["answer"]["boxes"]) == 3 for row in labels)
            return
        trained = project["splits"]["train"]["labeled"]
        wait_for(lambda: services.status()["labels"] == trained, "the fit on every train label", 120)
