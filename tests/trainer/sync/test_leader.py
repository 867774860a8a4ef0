"""Two labelers on one trainer: it keeps following the first one while that is running."""

from uuid import UUID, uuid4

import pytest
from starlette.testclient import TestClient

from tests.trainer.logs import LOG, batch, class_rows
from trainer.routes.api import create_api
from trainer.service import Trainer
from trainer.sync.leader import ALIVE_SECONDS, Leader, Sender, Taken
from trainer.sync.replica import KEPT_ASIDE, Replica

ONE, TWO = "http://127.0.0.1:3334", "http://127.0.0.1:4334"
ROWS = class_rows("cat", "dog")
OTHER = UUID("00000000-0000-4000-8000-00000000000b")


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def replica(tmp_path):
    replica = Replica(tmp_path)
    yield replica
    replica.close()


@pytest.fixture
def leader(replica, clock):
    """Of the labeler at ONE."""
    replica.accept(batch(ROWS))
    leader = Leader(replica, clock)
    leader.hear(Sender(LOG, ONE))
    return leader


def test_a_second_labeler_is_refused_with_both_addresses(leader):
    with pytest.raises(Taken) as taken:
        leader.check(Sender(OTHER, TWO))
    assert ONE in str(taken.value)
    assert TWO in str(taken.value)


def test_it_is_followed_once_nothing_was_heard_of_the_first_for_a_while(leader, clock):
    clock.now += ALIVE_SECONDS - 1
    leader.hear(Sender(OTHER, TWO))  # it is not a sign of life of the first
    with pytest.raises(Taken):
        leader.check(Sender(OTHER, TWO))
    clock.now += 1
    leader.check(Sender(OTHER, TWO))


def test_another_log_at_the_same_address_is_the_same_labeler(leader):
    leader.check(Sender(OTHER, ONE))


def test_after_a_restart_the_first_gets_the_time_to_say_that_it_is_there(leader, replica, clock, tmp_path):
    replica.close()
    again = Replica(tmp_path)
    clock.now += 3600
    restarted = Leader(again, clock)
    with pytest.raises(Taken):
        restarted.check(Sender(OTHER, TWO))
    again.close()


@pytest.mark.parametrize(
    ("url", "client", "known_as"),
    [
        ("http://127.0.0.1:3334", "127.0.0.1", "http://127.0.0.1:3334"),
        ("http://127.0.0.1:3334", "172.18.0.3", "http://172.18.0.3:3334"),  # the labeler is in another container
        ("http://labeler:3334", "172.18.0.3", "http://labeler:3334"),
        ("https://[::1]", "2001:db8::3", "http://[2001:db8::3]:443"),
    ],
)
def test_a_labeler_is_known_by_the_address_that_others_reach(url, client, known_as):
    assert Sender.of({"Flywheel-Labeler": url, "Flywheel-Log": str(LOG)}, client) == Sender(LOG, known_as)


@pytest.mark.parametrize("url", ["", "ftp://127.0.0.1", "http://", "http://a:b:c", "http://127.0.0.1:99999"])
@pytest.mark.parametrize("log", [str(LOG), "", "7"])
def test_empty_headers_count_as_missing(url, log):
    assert Sender.of({"Flywheel-Labeler": url, "Flywheel-Log": log}, "127.0.0.1") is None


def test_the_newest_copies_that_were_set_aside_are_kept(replica, tmp_path):
    for _ in range(KEPT_ASIDE + 3):
        replica.accept(batch(ROWS, log_id=uuid4()))
        newest = replica.log_id
    replica.accept(batch(ROWS))
    aside = list(tmp_path.glob("replica-*.db"))
    assert len(aside) == KEPT_ASIDE
    assert any(str(newest) in file.name for file in aside)


def test_over_http_the_second_gets_no_answers_about_the_firsts_images_and_gives_no_orders(tmp_path):
    from tests.trainer.learning import settings_for

    (tmp_path / "photos").mkdir()
    trainer = Trainer(*settings_for(tmp_path, tmp_path / "photos"))
    try:
        api = TestClient(create_api(trainer), headers={"content-type": "application/json"}, client=("127.0.0.1", 9))
        first = {"Flywheel-Labeler": ONE, "Flywheel-Log": str(LOG)}
        second = {"Flywheel-Labeler": TWO, "Flywheel-Log": str(OTHER)}
        sent = api.post("/annotations", content=batch(ROWS).model_dump_json(), headers=first)
        assert sent.json() == {"acked_seq": len(ROWS)}

        refused = api.post("/annotations", content=batch(ROWS, log_id=OTHER).model_dump_json(), headers=second)
        assert refused.status_code == 409
        assert "acked_seq" not in refused.json()
        for answer in (refused, api.post("/pause", headers=second), api.get("/label-issues", headers=second)):
            assert answer.status_code == 409
            assert ONE in answer.json()["detail"]
            assert TWO in answer.json()["detail"]
        assert api.get("/status", headers=second).json()["log_id"] == str(LOG)
        assert list(tmp_path.rglob("replica-*.db")) == []

        # A program that does not identify itself is still accepted.
        taken = api.post("/annotations", content=batch(ROWS, log_id=OTHER).model_dump_json())
        assert taken.json() == {"acked_seq": len(ROWS)}
    finally:
        trainer.replica.close()
