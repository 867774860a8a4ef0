"""Both real services while a challenger is trained and takes over; the trainer is killed at every stage."""

import json
from typing import Any

import httpx
import pytest

from tests import forks
from tests.services import running_services, wait_for

pytestmark = pytest.mark.system

SHORT = {"trainer.jobs.challenge.EPOCHS": [3, 8]}
TRAINED = {"model_fn": "tests.trainer.blind:network", "backbone": "auto", "input_size": 16, "challenger": "on"}


def test_a_kill_at_any_stage_of_a_take_over_leaves_the_last_good_model_in_use(monkeypatch):
    monkeypatch.setenv(forks.CONSTANTS, json.dumps(SHORT))
    with running_services(images=180, trainer=TRAINED) as services:
        names = services.names()
        entries = {each["id"]: each["split"] for each in services.get("/api/images?after=0&limit=10000")["images"]}
        train = [image for image, split in entries.items() if split == "train"][:120]
        test = [image for image, split in entries.items() if split == "test"]
        services.annotate([services.answer(image, services.truth[names[image]]) for image in train + test])
        rounds = services.workspace / "trainer" / "challenger"
        frozen = wait_for(lambda: services.status()["embedding"]["backbone"], "a backbone")

        def decided() -> list[str]:
            return [json.loads(path.read_text())["embeddings"] for path in rounds.glob("*/decided.json")]

        def good() -> str:
            """The restarted trainer answers with intact embeddings; returns which."""
            services.trainer.kill()
            taken_over = (services.workspace / "trainer" / "serving.json").is_file()
            services.trainer.start()
            status = wait_for(lambda: (s := services.status())["labels"] >= 120 and s, "the model", 180)
            # On a fast machine the round ends meanwhile.
            assert status["embedding"]["backbone"] in (decided() if taken_over else [frozen, *decided()])
            asked = {"image_ids": train[:10]}
            said = httpx.post(f"{services.trainer.url}/predict", json=asked, timeout=20).raise_for_status().json()
            assert len(said["predictions"]) == 10
            return str(status["embedding"]["backbone"])

        def job() -> dict[str, Any] | None:
            return next((json.loads(path.read_text()) for path in rounds.glob("*/job.json")), None)

        wait_for(job, "a round", 180)
        good()  # as it begins
        wait_for(lambda: [*rounds.glob("*/turn-*.safetensors"), *rounds.glob("*/fold-*.json")], "an epoch", 300)
        good()  # in the middle of training
        wait_for(lambda: list(rounds.glob("*/fold-0.json")), "a fold", 300)
        good()
        (tuned,) = wait_for(decided, "the decision", 400)
        good()  # while the images are embedded again, or just after
        wait_for(lambda: (services.workspace / "trainer" / "serving.json").is_file(), "the take-over", 400)
        assert good() == tuned
        done = wait_for(lambda: (found := job()) is not None and found["state"] == "done" and found, "the end", 300)
        assert done["result"]["better"]
        models = httpx.get(f"{services.trainer.url}/models", timeout=20).json()["models"]
        assert [each["embeddings"] for each in models] == [frozen, tuned]
        wait_for(lambda: services.status()["metrics"]["accuracy"] > 0.9, "its accuracy", 180)
