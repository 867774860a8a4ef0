"""Several people with both real services: the trainer learns adjudicated labels."""

import csv
from pathlib import Path

import httpx
import pytest

from tests.services import running_services, wait_for

pytestmark = pytest.mark.system


def test_the_trainer_learns_what_was_settled_and_forgets_it_when_taken_back():
    with running_services(images=60, labeler={"overlap": 2, "test_set_frac": 0}) as services:
        names = services.names()
        disputed = None
        for _ in range(20):
            image_id = services.queue("ann")[0]["image_id"]
            truth = services.truth[names[image_id]]
            services.annotate([services.answer(image_id, truth, "ann")]).raise_for_status()
            assert (
                services.queue("bob")[0]["image_id"] == image_id
            )  # an image that one person answered is asked next of the other
            said = truth
            if disputed is None:
                said = next(name for name in ("red", "green") if name != truth)
                disputed = (image_id, truth)
            services.annotate([services.answer(image_id, said, "bob")]).raise_for_status()
        assert disputed is not None
        image_id, truth = disputed
        (tie,) = services.get("/api/disagreements")["items"]
        assert (tie["image_id"], tie["label"]) == (image_id, None)
        assert 0 < services.get("/api/agreement")["kappa"] < 1
        wait_for(lambda: services.status()["labels"] == 19, "a model of all but the tie")

        settle = services.answer(image_id, truth, "boss") | {"action": "settle"}
        services.annotate([settle]).raise_for_status()
        wait_for(lambda: services.status()["labels"] == 20, "a model with the settled label")
        undo = {"id": "6f1b2a9e-5a0f-4c07-9d1e-2f4f5b6a7c8d", "annotator": "boss", "target": settle["id"]}
        httpx.post(f"{services.labeler.url}/api/undo", json=undo).raise_for_status()
        wait_for(lambda: services.status()["labels"] == 19, "a model without it")
        services.annotate([settle | {"id": "0d0cf7f8-7a51-4a5b-8e4e-1b1e0a3d2c11"}]).raise_for_status()

        httpx.post(f"{services.trainer.url}/stop").raise_for_status()
        status = wait_for(lambda: (s := services.status())["state"] == "stopped" and s, "the end")
        with Path(status["saved"]["dataset"]).open(newline="", encoding="utf-8") as stream:
            saved = {row["uri"]: row["label"] for row in csv.DictReader(stream)}
        assert saved[names[image_id]] == truth


def test_the_queue_is_empty_only_when_everybody_has_answered():
    with running_services(images=12, labeler={"overlap": 2, "test_set_frac": 0}) as services:
        names = services.names()

        def give(who: str, count: int) -> None:
            for item in services.queue(who, count):
                services.annotate([services.answer(item["image_id"], services.truth[names[item["image_id"]]], who)])

        give("ann", 12)
        wait_for(lambda: services.caught_up() and services.status()["labels"] == 12, "a model of one person's labels")
        assert services.get("/api/project")["remaining"] == 12
        give("bob", 11)
        wait_for(services.caught_up, "the other's labels")
        assert services.status()["state"] == "training"
        give("bob", 1)
        status = wait_for(lambda: (s := services.status())["state"] == "stopped" and s, "the end")
        assert status["stop_reason"] == "every image has been asked"
