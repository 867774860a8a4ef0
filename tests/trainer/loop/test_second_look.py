"""Each image is embedded a second time, in several views, and the loop takes over the new features."""

from uuid import uuid4

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from starlette.testclient import TestClient

from labeler.ui.parts.wording import second_look
from shared.wire.evaluation import Interval
from shared.wire.log import Row
from shared.wire.trainer import ChallengerRound
from tests.standing import api_of
from tests.trainer.learning import COLOURS, learning, picture, settings_for, teach, truth, wait_for
from tests.trainer.logs import WHEN, batch, class_rows, entry, label_rows
from trainer.embeddings.second_look import SecondLook
from trainer.loop import challenge_schedule
from trainer.routes.api import create_api
from trainer.service import Trainer
from trainer.tasks.head_task import NEIGHBOURHOOD
from trainer.versions.active_backbone import Serving

TINY = "test_resnet"  # 0.5 M parameters; the features of its layout are projected at random


@pytest.fixture
def network(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "tiny.safetensors"
    save_file(timm.create_model(TINY, num_classes=0).state_dict(), path)
    return {"backbone": TINY, "backbone_weights": path, "input_size": 32, "device": "cpu"}


def taught(trainer):
    """Two classes, and a few labels: without a log, nothing is embedded."""
    trainer.accept(
        batch([*class_rows("red", "blue"), *label_rows([(n, truth(n)) for n in range(4)], after=2)], catalog=60)
    )


def second(client):
    return client.get("/status").json()["embedding"]["second_look"] or {}


def test_its_features_take_over_when_every_image_has_them_and_a_restart_keeps_them(tmp_path, photos, network):
    with learning(tmp_path, photos, **network) as trainer, api_of(create_api, trainer) as api:
        client = TestClient(api)
        first = wait_for(lambda: trainer.loop.live.embedder.backbone)
        teach(client, [*range(12), *range(40, 60)])
        wait_for(lambda: second(client).get("state") == "used")
        live = trainer.loop.live
        assert live.embedder.key != first.key
        assert live.pool is not None
        assert len(live.pool) == 60
        status = wait_for(lambda: (s := client.get("/status").json())["labels"] == 12 and s)
        assert status["embedding"]["backbone"] == live.embedder.key
        wait_for(lambda: client.get("/status").json()["metrics"].get("test_labels") == 20)
        assert client.post("/models", json={"name": "views"}).status_code == 200
        asked = {"json": {"image_ids": [30, 31]}}
        now = client.post("/predict", **asked).json()["predictions"]
        saved = client.post("/predict", params={"version": "views"}, **asked).json()["predictions"]
        for one, other in zip(now, saved, strict=True):
            assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-4)
        upload = [("images", ("x.png", picture(COLOURS[2], 1_000), "image/png"))]
        assert client.post("/predict", files=upload).json()["predictions"][0]["label"] == "blue"
    with learning(tmp_path, photos, **network, second_look="off") as again, api_of(create_api, again) as api:
        client = TestClient(api)
        assert again.loop.live.embedder.key == live.embedder.key
        wait_for(lambda: second(client).get("state") == "used")  # new images get the same features
        wait_for(lambda: client.get("/status").json()["labels"] == 12)


def test_a_restart_continues_where_it_was(tmp_path, photos, network, monkeypatch):
    step = SecondLook.step

    def refused(self, *given):
        if self.view is not None and self.view.done >= 8:
            raise OSError("the disk is full")
        return step(self, *given)

    monkeypatch.setattr(SecondLook, "step", refused)
    with learning(tmp_path, photos, **network, batch_size=4) as trainer:
        taught(trainer)
        wait_for(lambda: trainer.loop.failed)
        seen = trainer.loop.progress().second_look
        assert seen is not None
        assert (seen.state, seen.total) == ("embedding", 60)
        assert 8 <= seen.done < 60
        assert trainer.loop.live.embedder.backbone.version == 2  # the first features are still in use
    monkeypatch.setattr(SecondLook, "step", step)
    with learning(tmp_path, photos, **network, batch_size=4) as again:
        wait_for(lambda: again.loop.live.embedder.backbone.version == 3)
        [store] = (path.parent for path in (tmp_path / "w" / "trainer" / "embeddings").glob("*/in-use"))
        assert (store / "sha256.bin").stat().st_size == 60 * 32  # no image twice


def test_a_file_that_is_gone_keeps_the_first_features_until_it_is_back(tmp_path, photos, network, monkeypatch):
    monkeypatch.setattr("trainer.embeddings.second_look.RETRY_SECONDS", 0.1)
    folder, _ = photos
    with learning(tmp_path, photos, **network, second_look="off") as trainer:
        taught(trainer)
        wait_for(lambda: trainer.loop.progress().done == 60)
        said = wait_for(lambda: trainer.loop.progress().second_look)
        assert (said.state, said.message) == ("off", "Off (setting 'second_look').")
        (folder / "7.png").rename(folder / "7.away")
        trainer.running_settings.change({"second_look": "on"})
        wait_for(lambda: (seen := trainer.loop.progress().second_look).done == 59 and seen)
        assert trainer.loop.live.embedder.backbone.version == 2
        assert trainer.loop.live.embedder.problems == {}
        (folder / "7.away").rename(folder / "7.png")
        wait_for(lambda: trainer.loop.live.embedder.backbone.version == 3)
        assert len(trainer.loop.live.pool) == 60


def test_it_is_off_where_it_would_take_too_long_or_has_no_room(tmp_path, photos, network, monkeypatch):
    monkeypatch.setattr("trainer.embeddings.second_look.MOST", 40)
    with learning(tmp_path, photos, **network, batch_size=4) as trainer:
        taught(trainer)
        said = wait_for(lambda: (seen := trainer.loop.progress().second_look) and seen.message)
        assert said == "Off: this project has more than 40 images (setting 'second_look', auto)."
        monkeypatch.setattr("trainer.embeddings.second_look.LONGEST_SECONDS", 0.0)
        monkeypatch.setattr("trainer.embeddings.second_look.TIMED_SECONDS", 0.0)
        monkeypatch.setattr("trainer.embeddings.second_look.MOST", 60)
        said = wait_for(lambda: (s := trainer.loop.progress().second_look) and "would take" in s.message and s.message)
        assert said.startswith("Off: it would take about ")
        monkeypatch.setattr("trainer.embeddings.second_look.LONGEST_SECONDS", 7_200.0)
        monkeypatch.setattr("trainer.embeddings.second_look.SPARED", 10**18)
        trainer.running_settings.change({"second_look": "on"})
        said = wait_for(lambda: (s := trainer.loop.progress().second_look) and "free" in s.message and s.message)
        assert said.startswith("Off: its features need ")
        assert trainer.loop.live.embedder.backbone.version == 2


def test_images_compared_by_their_pixels_have_no_second_look(trainer, client):
    taught(trainer)
    wait_for(lambda: client.get("/status").json()["embedding"]["done"] == 60)
    assert client.get("/status").json()["embedding"]["second_look"] is None


@pytest.fixture
def halfway(tmp_path, photos, network):
    """A second look without threads: a trainer that is not started, its pool, and the look."""
    folder, entries = photos
    trainer = Trainer(*settings_for(tmp_path, folder, **network, batch_size=4))
    trainer.replica.update_catalog(entries, after=len(entries))
    trainer.catalog.complete.set()
    taught(trainer)
    live = trainer.loop.live
    live.ingest.refresh()
    while live.ingest.pending:
        live.ingest.embed()
    yield trainer, live, trainer.loop._swap
    trainer.close()


def look(trainer, until=lambda: False):
    """Look again, step by step, until this holds or the model is replaced, which is returned then."""
    loop, first = trainer.loop, trainer.loop.live
    while loop.live is first and not until():
        if loop._swap.looks_again(first):
            loop._look_again()
        elif loop._swap._coming is not None:
            loop._swap._coming.thread.join()
    return loop.live


def test_images_removed_meanwhile_count_as_neither_seen_nor_left(halfway):
    trainer, live, swap = halfway
    look(trainer, lambda: swap.second.view is not None and swap.second.view.done > 0)
    trainer.replica.update_catalog([entry(n, removed=True) for n in range(4, 60)], after=120)
    live.ingest.refresh()
    assert swap.looks_again(live)
    swap.look_again(live)
    view = swap.second.view
    assert 0 <= view.done <= view.total == 4


def test_a_pause_does_not_make_the_computer_slow(halfway, monkeypatch):
    _, live, swap = halfway
    monkeypatch.setattr("trainer.embeddings.second_look.TIMED_SECONDS", 0.0)
    monkeypatch.setattr("trainer.embeddings.second_look.LONGEST_SECONDS", 600.0)
    for _ in range(2):
        assert swap.looks_again(live)
        swap.look_again(live)
    recent = swap.second.embedder._recent
    recent.extendleft([(recent[0][0] - 20_000.0, 1)])
    monkeypatch.setattr("trainer.embeddings.embedder.RATE_WINDOW", 30_000.0)  # a break that the window spans
    swap.look_again(live)
    assert swap.looks_again(live)
    assert swap.second.view.state == "embedding"


def test_a_challenger_that_took_over_during_the_layout_stays(halfway):
    trainer, live, swap = halfway
    look(trainer, lambda: swap._coming is not None)
    swap._coming.thread.join()
    live.serving = Serving(key="k", version="challenger", settings={})
    assert not swap.looks_again(live)
    assert swap.second.view is None
    assert swap.second.embedder is None  # its files are closed


def test_an_image_that_moves_to_the_test_sample_during_the_layout_is_not_learned(halfway):
    trainer, live, swap = halfway
    look(trainer, lambda: swap._coming is not None)
    swap._coming.thread.join()
    moved = Row(seq=7, id=uuid4(), action="split_changed", image_id=5, split="test", created_at=WHEN)
    trainer.accept(batch([moved], catalog=60))
    new = look(trainer)
    assert new is not live
    assert new.pool.split_of(5) == "test"


def test_another_log_whose_ids_are_those_of_other_images_gets_their_features(halfway, photos):
    trainer, live, swap = halfway
    look(trainer, lambda: swap._coming is not None)
    swap._coming.thread.join()
    trainer.loop._follow_log()
    trainer.accept(batch(class_rows("red", "blue"), log_id=uuid4(), catalog=60))
    _, entries = photos
    turned = [
        each.model_copy(update={"sha256": other.sha256, "uri": other.uri})
        for each, other in zip(entries, entries[::-1], strict=True)
    ]
    trainer.replica.update_catalog(turned, after=60)
    trainer.loop._follow_log()
    trainer.catalog.complete.set()
    live.ingest.refresh()
    new = look(trainer)
    assert new is not live
    [row] = new.pool.raw(np.array([3]))
    assert row.tolist() == new.embedder.read([turned[3].sha256])[0].tolist()


def test_with_an_unreadable_image_no_time_left_is_told(halfway, photos):
    trainer, _, swap = halfway
    (photos[0] / "7.png").unlink()
    look(trainer, lambda: swap.second.view is not None and swap.second.view.done == 59)
    view = swap.second.view
    assert (view.problems, view.seconds_left) == (1, None)
    assert "1 image cannot be read now" in second_look(view)


def test_a_challenger_that_was_compared_with_the_first_features_does_not_replace_the_second_ones(halfway, monkeypatch):
    trainer, live, swap = halfway
    begun_with = {"log_id": str(trainer.replica.log_id), "challenge": {"round": 1, "features": live.embedder.key}}
    rounds = trainer.rounds
    rounds._on_done = trainer.challenger.conclude
    assert look(trainer) is not live
    even = Interval(value=0.9, low=0.8, high=1.0, n=90)
    found = ChallengerRound(
        round=1,
        labels=90,
        ground="validation",
        accuracy=even,
        head=even,
        gain=even,
        p=0.01,
        better=True,
        embeddings="trained",
    )
    job = rounds.submit("challenge", begun_with, [])
    (rounds.folder / job.id / "result.json").write_text(found.model_dump_json())
    rounds._set(job.id, state="running")
    monkeypatch.setattr(trainer.challenger, "_prepare", lambda _: live.ingest)
    monkeypatch.setattr(trainer.loop, "swap", lambda asked: swap.take_over(trainer.loop.live, asked, lambda *_: None))
    rounds._conclude(job.id, 0)
    ended = rounds.get(job.id)
    assert (ended.state, ended.error) == ("cancelled", None)
    assert "failed" not in trainer.challenger.view().message
    assert trainer.loop.live.serving is None


def test_a_round_that_was_begun_with_the_first_features_is_dropped_and_begun_again(halfway, monkeypatch):
    monkeypatch.setattr(challenge_schedule, "LEAST", 2)
    trainer, first, _ = halfway
    asked = {"round": 1, "labels": 4, "ground": "out of fold", "features": first.embedder.key}
    job = trainer.rounds.submit("challenge", {"challenge": asked, "log_id": str(trainer.replica.log_id)}, [])
    trainer.challenger._look()
    assert trainer.rounds.get(job.id).state == "queued"
    look(trainer)
    trainer.challenger._look()
    assert trainer.rounds.get(job.id).state == "cancelled"
    assert "failed" not in trainer.challenger.view().message
    assert trainer.challenger._needed(trainer.rounds.list()[0], in_pauses=False)[0] == 2


def test_meanwhile_the_next_fit_is_prepared_as_in_all_idle_time(halfway, monkeypatch):
    monkeypatch.setattr("trainer.tasks.head_task.LEAST", 30)
    trainer, live, swap = halfway
    look(trainer, lambda: swap.second.view is not None and swap.second.view.done > 0)
    assert NEIGHBOURHOOD in live.pool.kept


def test_a_round_that_embeds_all_images_in_three_views_takes_longer(halfway):
    trainer, live, _ = halfway
    trainer.challenger._per_image = live.embedder.key, 1.0
    before = trainer.challenger._seconds(1_000, 5_000)
    look(trainer)
    assert trainer.challenger._seconds(1_000, 5_000) >= before + 10_000
