"""The trainer as its routes see it: what it learns, returns and refuses."""

from datetime import UTC, datetime

import pytest

from shared.settings.services import SettingsError
from tests.disks import no_room
from tests.standing import refusals_by_route, refusals_by_schema
from tests.trainer.learning import settings_for, teach, truth, wait_for
from tests.trainer.logs import batch, class_rows, entry, label_rows
from trainer.service import Trainer


def test_it_learns_and_measures_itself_on_images_it_never_learns_from(client):
    assert client.get("/status").json()["state"] == "waiting"
    teach(client, [*range(12), *range(40, 60)])
    status = wait_for(lambda: (s := client.get("/status").json())["metrics"].get("test_labels") == 20 and s)
    assert status["state"] == "training"
    assert status["labels"] == 12  # the test images are not among them
    assert status["metrics"]["accuracy"] == 1.0
    assert status["metrics"]["accuracy_low"] < 1.0
    assert {"fit", "rank", "total"} <= status["timings"].keys()
    evaluation = client.get("/evaluations").json()["evaluations"][-1]
    assert evaluation["accuracy"]["n"] == 20


def test_a_route_knows_the_refusals_that_its_schema_names(client):
    assert refusals_by_route(client.app) == refusals_by_schema(client.app)


def test_status_tells_the_advice_of_the_latest_evaluation(client):
    teach(client, [*range(12), *range(40, 60)])
    status = wait_for(lambda: (s := client.get("/status").json())["metrics"].get("test_labels") == 20 and s)
    latest = client.get("/evaluations").json()["evaluations"][-1]
    assert status["advice"] is latest["advice"] is None  # not enough data yet
    assert latest["random_baseline"] == []


def test_a_task_that_it_cannot_learn_is_refused_and_nothing_is_kept(client):
    sent = batch(class_rows("cat", "dog")).model_dump(mode="json") | {"task": "poetry"}
    answer = client.post("/annotations", json=sent)
    assert (answer.status_code, client.get("/status").json()["acked_seq"]) == (422, 0)
    assert "cannot learn the task 'poetry'" in answer.json()["detail"]


def test_a_gap_names_where_to_go_on(client):
    message = batch(label_rows([(1, 1)], after=7)).model_dump(mode="json")
    answer = client.post("/annotations", json=message)
    assert answer.status_code == 409
    assert answer.json()["acked_seq"] == 0
    assert "detail" in answer.json()


def test_the_evaluation_calls_a_class_what_it_is_called_now(client, trainer):
    teach(client, [*range(12), *range(40, 60)])
    wait_for(lambda: client.get("/status").json()["metrics"].get("test_labels") == 20)
    renamed = class_rows("scarlet")[0].model_copy(update={"seq": 35, "action": "class_renamed", "label": 1})
    client.post("/annotations", json=batch([renamed], catalog=60).model_dump(mode="json")).raise_for_status()
    wait_for(lambda: [each.name for each in trainer.loop.live.latest.classes] == ["scarlet", "blue"])


def test_strategies_are_offered_with_when_to_use_them(client):
    offered = client.get("/strategies").json()["strategies"]
    assert {"margin", "random"} < {each["name"] for each in offered}
    assert all(each["when"].endswith(".") for each in offered)


def test_prometheus_text(client):
    teach(client, range(12))
    wait_for(lambda: client.get("/status").json()["labels"] == 12)
    text = client.get("/metrics").text
    assert "flywheel_trainer_labels 12.0" in text
    assert 'flywheel_trainer_state{state="training"} 1.0' in text


def test_rows_that_a_full_disk_cannot_save_are_refused_and_accepted_later(client, trainer):
    teach(client, range(12))
    wait_for(lambda: client.get("/status").json()["labels"] == 12)
    wait_for(lambda: client.get("/status").json()["embedding"]["done"] == 60)
    wait_for(lambda: (pool := trainer.loop.live.pool) and not pool.changed_since(*trainer.loop._ranked))
    # A version is saved between two rounds. So the last round has ended, and nothing is being written.
    assert client.post("/models", json={"name": "before"}).status_code == 200
    more = batch(label_rows([(image, truth(image)) for image in range(12, 20)], after=14), catalog=60)
    with no_room():
        refused = client.post("/annotations", json=more.model_dump(mode="json"))
        named = client.post("/models", json={"name": "kept"})
        stop = client.post("/stop")
        told = client.get("/status").json()
    assert (refused.status_code, named.status_code, stop.status_code) == (507, 507, 507)
    assert told["disk"]["message"] in (told["last_error"], refused.json()["detail"])
    assert (told["acked_seq"], told["state"]) == (14, "training")  # neither the rows nor the stop were taken
    assert client.post("/annotations", json=more.model_dump(mode="json")).json() == {"acked_seq": 22}
    assert client.post("/stop").status_code == 200
    wait_for(lambda: client.get("/status").json()["state"] == "stopped")


def test_an_image_that_cannot_be_read_blocks_nothing(client, trainer, photos):
    folder, _ = photos
    (folder / "broken.png").write_bytes(b"not an image")
    trainer.replica.update_catalog([entry(100, uri="broken.png"), entry(101, uri="gone.png")], after=62)
    trainer.control.wake()
    teach(client, range(12))
    wait_for(lambda: client.get("/status").json()["embedding"]["problems"] == 2)
    wait_for(lambda: client.get("/status").json()["embedding"]["done"] == 60)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"query_strategy": "guess"}, "guess"),
        ({"backbone": "resnet18", "backbone_weights": "/nowhere/weights.safetensors"}, "backbone_weights"),
        ({"backbone": "no_such_net"}, "no_such_net"),
    ],
)
def test_an_impossible_setting_stops_the_start_with_one_sentence(tmp_path, given, named):
    with pytest.raises((SettingsError, ValueError), match=named):
        Trainer(*settings_for(tmp_path, tmp_path, **given))


def test_time_is_utc(client):
    teach(client, [*range(12), *range(40, 60)])
    evaluations = wait_for(lambda: client.get("/evaluations").json()["evaluations"])
    made = datetime.fromisoformat(evaluations[0]["created_at"])
    assert abs((datetime.now(UTC) - made).total_seconds()) < 120
