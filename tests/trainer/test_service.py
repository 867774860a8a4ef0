"""The trainer as its routes see it, with a real folder of images and no labeler in reach."""

import io
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from shared.settings.services import SettingsError, TrainerSettings
from shared.wire.fields import Split
from tests.disks import no_room
from tests.trainer.logs import batch, class_rows, entry, label_rows
from trainer.embeddings.embedder import Embedder
from trainer.routes.api import create_api
from trainer.service import Trainer

COLOURS = {1: (220, 30, 30), 2: (30, 30, 220)}  # class id → what its images look like


def picture(colour, seed):
    rng = np.random.default_rng(seed)
    noise = rng.integers(-25, 25, (24, 24, 3))
    pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def truth(image_id):
    return 1 + image_id % 2


@pytest.fixture
def photos(tmp_path):
    """60 images in two colours; the last 20 are the test sample."""
    from hashlib import sha256

    folder = tmp_path / "photos"
    folder.mkdir()
    entries = []
    for number in range(60):
        data = picture(COLOURS[truth(number)], number)
        (folder / f"{number}.png").write_bytes(data)
        split: Split = "test" if number >= 40 else "train"
        entries.append(entry(number, split=split, sha256=sha256(data).hexdigest()))
    return folder, entries


def settings_for(tmp_path, photos, **more):
    given = {
        "workspace": tmp_path / "w",
        "images": photos,
        "backbone": "pixels",
        "labeler_url": "http://127.0.0.1:9",  # nobody listens there
        "labeler_timeout_seconds": 0.5,
        **more,
    }
    return TrainerSettings.load(command_line={name: str(value) for name, value in given.items()})


@contextmanager
def learning(tmp_path, photos, **more):
    """A trainer over the images of the fixture, with these settings; a second one there begins with what it left."""
    folder, entries = photos
    trainer = Trainer(*settings_for(tmp_path, folder, **more))
    if not trainer.replica.catalog:
        trainer.replica.update_catalog(entries, after=len(entries))
    trainer.catalog.complete.set()
    trainer.start()
    try:
        yield trainer
    finally:
        trainer.close()


@pytest.fixture
def trainer(tmp_path, photos):
    with learning(tmp_path, photos) as trainer:
        yield trainer


@pytest.fixture
def client(trainer):
    return TestClient(create_api(trainer))


def wait_for(condition, seconds=30):
    deadline, pause = time.monotonic() + seconds, 0.005
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(pause)
        pause = min(1.3 * pause, 0.1)  # asking costs what is waited for
    raise AssertionError("it did not come about in time")


def teach(client, images, after=0):
    rows = [] if after else class_rows("red", "blue")
    rows += label_rows([(image, truth(image)) for image in images], after=after or 2)
    message = batch(rows, catalog=60).model_dump(mode="json")
    answer = client.post("/annotations", json=message)
    assert answer.status_code == 200
    return answer.json()["acked_seq"]


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


def test_status_tells_the_advice_of_the_latest_evaluation(client):
    teach(client, [*range(12), *range(40, 60)])
    status = wait_for(lambda: (s := client.get("/status").json())["metrics"].get("test_labels") == 20 and s)
    latest = client.get("/evaluations").json()["evaluations"][-1]
    assert status["advice"] is latest["advice"] is None  # no ground yet
    assert latest["random_baseline"] == []


def test_a_gap_names_where_to_go_on(client):
    message = batch(label_rows([(1, 1)], after=7)).model_dump(mode="json")
    answer = client.post("/annotations", json=message)
    assert answer.status_code == 409
    assert answer.json()["acked_seq"] == 0
    assert "detail" in answer.json()


def test_predictions_come_in_the_order_given(client):
    assert client.post("/predict", json={"image_ids": [1]}).status_code == 409  # no model yet
    teach(client, range(12))
    wait_for(lambda: client.get("/status").json()["labels"] == 12)
    answer = client.post("/predict", json={"image_ids": [30, 31, 32]}).json()
    assert [p["label"] for p in answer["predictions"]] == ["red", "blue", "red"]
    assert all(abs(sum(p["probabilities"].values()) - 1) < 1e-4 for p in answer["predictions"])
    uploads = [("images", (f"{n}.png", picture(COLOURS[n], 1_000 + n), "image/png")) for n in (2, 1, 2)]
    answer = client.post("/predict", files=uploads).json()
    assert [p["label"] for p in answer["predictions"]] == ["blue", "red", "blue"]
    broken = client.post("/predict", files=[("images", ("x.png", b"not an image", "image/png"))])
    assert broken.status_code == 422
    assert client.post("/predict", json={"image_ids": [999]}).status_code == 404


def test_pause_resume_and_stop(client, trainer, tmp_path):
    teach(client, [*range(12), *range(40, 60)])
    wait_for(lambda: client.get("/status").json()["labels"] == 12)
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
    assert status["marks"] == {**before, "versions": status["marks"]["versions"]} != before  # by which pages see it
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


def test_settings_change_while_running_or_not_at_all(client):
    view = client.patch("/settings", json={"query_strategy": "margin", "exploration": 0.2}).json()
    assert view["query_strategy"] == {"value": "margin", "source": "changed while running", "changeable": True}
    assert view["port"]["changeable"] is False
    refused = [("query_strategy", "guess"), ("query_strategy", "os:system"), ("exploration", 2), ("port", 1), ("x", 1)]
    for bad in ({name: value} for name, value in refused):
        answer = client.patch("/settings", json={**bad, "query_length": 7})
        assert answer.status_code == 422
        assert next(iter(bad)).replace("_", " ") in answer.json()["detail"].replace("_", " ")
    assert client.get("/settings").json()["query_length"]["value"] != 7


def test_exploration_may_change_with_the_labels_spent(client, trainer):
    schedule = "0:0, 12:1"
    view = client.patch("/settings", json={"exploration": schedule}).json()
    assert view["exploration"]["value"] == schedule
    assert client.patch("/settings", json={"exploration": "12:1, 0:0"}).status_code == 422
    offered = []
    trainer.publisher.offer = offered.append
    teach(client, range(11))
    before = wait_for(lambda: next((push for push in offered if push.acked_seq == 13), None))
    assert "drawn at random" not in {query.reason for query in before.queries}
    teach(client, [11], after=13)
    after = wait_for(lambda: next((push for push in offered if push.acked_seq == 14), None))
    assert {query.reason for query in after.queries} == {"drawn at random"}


def test_similar_clusters_and_map_show_no_test_image(client):
    teach(client, range(4))
    wait_for(lambda: client.get("/status").json()["embedding"]["done"] == 60)
    on_the_map = wait_for(lambda: (shown := client.get("/map").json()).get("total") == 40 and shown)
    assert sorted(on_the_map["image_ids"]) == list(range(40))
    assert len(on_the_map["x"]) == len(on_the_map["y"]) == on_the_map["total"] == 40
    sample = client.get("/map", params={"limit": 7}).json()
    assert (sample["total"], len(sample["image_ids"])) == (40, 7)
    similar = client.get("/similar", params={"image_id": 0, "limit": 5}).json()["similar"]
    assert {truth(found["image_id"]) for found in similar} == {truth(0)}
    clusters = client.get("/clusters", params={"count": 2, "limit": 40}).json()["clusters"]
    shown = [image for cluster in clusters for image in cluster["image_ids"]]
    assert sorted(shown) == list(range(40))
    asked = client.get("/map", params={"layout": "umap"}).json()  # whether umap-learn is installed here or not
    assert (asked["layout"], asked["x"]) == ("pca", on_the_map["x"])
    assert asked["computing"] == ("umap" in asked["layouts"])
    assert asked["computing"] or "needs umap-learn" in asked["problem"]
    assert client.get("/similar", params={"image_id": 50}).status_code == 404
    labeled = client.get("/similar", params={"image_id": 20, "labeled": True}).json()["similar"]
    assert sorted(found["image_id"] for found in labeled) == list(range(4))


def test_predictions_of_the_pool_name_no_test_image(client):
    assert "label images of at least two classes" in client.get("/predictions").json()["detail"]
    teach(client, range(12))
    wait_for(lambda: client.get("/status").json()["embedding"]["done"] == 60)
    wait_for(lambda: client.get("/status").json()["labels"] == 12)
    said = wait_for(lambda: (answer := client.get("/predictions")).status_code == 200 and answer.json())
    assert sorted(said["image_ids"]) == list(range(40))
    assert said["labels"] == [truth(image) for image in said["image_ids"]]
    assert all(0.5 <= confidence <= 1 for confidence in said["confidences"])


def test_a_wrong_label_is_in_doubt_and_its_neighbours_speak_for_another(client):
    rows = class_rows("red", "blue") + label_rows(
        [(image, truth(image) if image != 7 else 1) for image in range(30)], after=2
    )
    client.post("/annotations", json=batch(rows, catalog=60).model_dump(mode="json"))
    found = wait_for(lambda: (f := client.get("/label-issues").json()).get("judged") == 30 and f)
    (issue,) = found["issues"]
    assert (issue["image_id"], issue["label_name"], issue["proposed_name"]) == (7, "red", "blue")
    assert issue["agreeing"] == issue["neighbours"] == 10
    assert all(truth(near["image_id"]) == 2 and near["image_id"] < 30 for near in issue["evidence"])


def test_doubts_follow_a_fix_and_no_test_image_is_ever_doubted(client, trainer):
    wrong = {7: 1, 45: 1}  # image 45 is a test image
    rows = class_rows("red", "blue") + label_rows(
        [(image, wrong.get(image, truth(image))) for image in [*range(30), *range(40, 60)]], after=2
    )
    client.post("/annotations", json=batch(rows, catalog=60).model_dump(mode="json"))
    found = wait_for(lambda: (f := client.get("/label-issues").json()).get("judged") == 30 and f)
    assert [issue["image_id"] for issue in found["issues"]] == [7]
    fix = label_rows([(7, 2)], after=52)[0].model_copy(update={"action": "settle"})
    client.post("/annotations", json=batch([fix], catalog=60).model_dump(mode="json"))
    after = client.get("/label-issues").json()
    assert (after["issues"], after["acked_seq"]) == ([], 53)


def test_prometheus_text(client):
    teach(client, range(12))
    wait_for(lambda: client.get("/status").json()["labels"] == 12)
    text = client.get("/metrics").text
    assert "flywheel_trainer_labels 12.0" in text
    assert 'flywheel_trainer_state{state="training"} 1.0' in text


def test_a_vector_file_that_breaks_is_said_and_does_not_end_the_loop(tmp_path, photos, monkeypatch):
    """The disk fails while the pool is laid out, then works again."""
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
        trainer.loop.wake(refresh=True)
        wait_for(lambda: client.get("/status").json()["labels"] == 12)
        assert client.get("/status").json()["state"] == "training"


def test_what_a_full_disk_keeps_from_being_saved_is_refused_and_taken_later(client, trainer):
    teach(client, range(12))
    wait_for(lambda: client.get("/status").json()["labels"] == 12)
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
    trainer.loop.wake()
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
def test_what_cannot_be_stops_the_start_with_a_sentence(tmp_path, given, named):
    with pytest.raises((SettingsError, ValueError), match=named):
        Trainer(*settings_for(tmp_path, tmp_path, **given))


def test_time_is_utc(client):
    teach(client, [*range(12), *range(40, 60)])
    evaluations = wait_for(lambda: client.get("/evaluations").json()["evaluations"])
    made = datetime.fromisoformat(evaluations[0]["created_at"])
    assert abs((datetime.now(UTC) - made).total_seconds()) < 120
