"""A peer that is absent, slow, failing, foreign or restored from a backup is noticed, and recovers by itself."""

import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from commands.upkeep.backup import backup, restore
from tests.services import free_port, running_services, wait_for

pytestmark = pytest.mark.system


@contextmanager
def stand_in(port, *, delay, status):
    """A server on the trainer's port that answers late, or with an error."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self):
            time.sleep(delay)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        do_GET = do_POST = _answer  # noqa: N815

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def test_labeling_goes_on_whatever_the_trainer_does():
    with running_services(start_trainer=False, labeler={"trainer_timeout_seconds": 2}) as services:
        wait_for(lambda: services.get("/api/project")["trainer"]["state"] == "absent", "the notice")
        services.label(6)
        for delay, status in ((0.0, 500), (10.0, 200)):
            with stand_in(services.trainer.port, delay=delay, status=status):
                services.label(6)
                project = wait_for(
                    lambda: (p := services.get("/api/project"))["trainer"]["last_error"] and p, "the error on screen"
                )
                assert project["trainer"]["state"] == "absent"
        assert services.get("/api/project")["outbox"]["pending"] >= 18
        services.trainer.start()
        wait_for(services.caught_up, "the outbox")
        wait_for(lambda: services.get("/api/project")["outbox"]["pending"] == 0, "an empty outbox")


def test_training_goes_on_while_the_labeler_is_away():
    with running_services() as services:
        httpx.post(f"{services.trainer.url}/pause", timeout=20).raise_for_status()
        services.label(12)
        wait_for(services.caught_up, "the labels")
        assert services.status()["labels"] == 0  # nothing is learned yet
        services.labeler.kill()
        httpx.post(f"{services.trainer.url}/resume", timeout=20).raise_for_status()
        status = wait_for(lambda: (s := services.status())["labels"] >= 10 and s, "a model")
        assert status["state"] == "training"
        services.labeler.start()
        services.label(10)
        wait_for(services.caught_up, "the new labels")


def test_a_trainer_of_another_workspace_is_taken_over():
    with running_services() as one, running_services(images=60, start_trainer=False) as two:
        one.label(12)
        wait_for(one.caught_up, "the first project")
        one.labeler.kill()
        two.labeler.end()
        two.labeler.settings["trainer_url"] = one.trainer.url
        two.labeler.port = one.labeler.port  # where that trainer looks for its labeler
        two.trainer = one.trainer
        two.labeler.start()
        wait_for(two.caught_up, "the second project")
        two.label(12)
        wait_for(two.caught_up, "its labels")
        trained = two.get("/api/project")["splits"]["train"]["labeled"]
        wait_for(lambda: two.status()["labels"] == trained, "a model of the second project alone")


def test_a_restored_backup_is_noticed(tmp_path):
    with running_services() as services:
        services.label(10)
        backup(services.workspace, tmp_path / "backup")
        services.label(20)
        wait_for(services.caught_up, "the trainer")
        services.labeler.end()
        services.trainer.end()
        aside = restore(tmp_path / "backup", services.workspace)
        # The trainer is the newer one: it still holds rows that the restored log does not have.
        assert aside is not None
        (services.workspace / "trainer").mkdir(exist_ok=True)
        for name in ("replica.db", "replica.db-wal", "intent.json"):
            if (aside / "trainer" / name).exists():
                (aside / "trainer" / name).rename(services.workspace / "trainer" / name)
        services.labeler.start()
        services.label(25)  # now the restored log is longer than the trainer's copy, so only log_id tells them apart
        services.trainer.start()
        wait_for(services.caught_up, "the restored log")
        trained = services.get("/api/project")["splits"]["train"]["labeled"]
        wait_for(lambda: services.status()["labels"] == trained, "a model of the restored labels")


def test_a_database_that_an_older_copy_replaced_is_noticed_while_nobody_clicks():
    """Copied by hand, so with the same log_id: the trainer is ahead of the log."""
    with running_services() as services:
        services.label(5)
        services.labeler.end()
        database = services.workspace / "flywheel.db"
        older = database.read_bytes()
        services.labeler.start()
        services.label(20)
        wait_for(services.caught_up, "the trainer")
        services.labeler.end()
        database.write_bytes(older)
        for suffix in ("-wal", "-shm"):
            database.with_name(database.name + suffix).unlink(missing_ok=True)
        services.labeler.start()
        wait_for(services.caught_up, "the trainer going back")
        assert services.status()["acked_seq"] == services.get("/api/project")["last_seq"]


def test_a_port_in_use_gives_one_sentence():
    with running_services(start_trainer=False) as services:
        services.trainer.port = services.labeler.port
        services.trainer.start(wait=False)
        assert services.trainer.process is not None
        assert services.trainer.process.wait(60) == 2
        wait_for(lambda: "choose another port with --port" in "".join(services.trainer.log), "the sentence")
        assert "Traceback" not in "".join(services.trainer.log)
        services.trainer.port = free_port()


def test_a_second_labeler_is_refused_while_the_first_runs_and_followed_once_it_is_gone():
    with running_services() as one, running_services(images=30, start_trainer=False) as two:
        one.label(12)
        wait_for(one.caught_up, "the first project")
        first, second = one.labeler.url, two.labeler.url
        two.labeler.end()
        two.labeler.settings["trainer_url"] = one.trainer.url
        two.labeler.start()
        two.label(6)
        said = wait_for(lambda: two.get("/api/project")["trainer"]["last_error"], "the refusal on its pages")
        assert first in said
        assert second in said
        one.label(6)
        wait_for(one.caught_up, "the first project, undisturbed")
        assert list((one.workspace / "trainer").glob("replica-*.db")) == []
        wait_for(lambda: two.get("/api/project")["trainer"]["state"] == "taken", "its state on its pages")
        assert httpx.get(f"{second}/api/map", timeout=20).json()["detail"] == said  # nor the other project's map

        one.labeler.kill()
        two.trainer = one.trainer
        wait_for(two.caught_up, "the second project")
        # That trainer asks for images where its first labeler was, and nobody is there.
        wait_for(lambda: first in str(two.status()["last_error"]), "the reason why it does not learn")
        one.labeler.start()
        wait_for(
            lambda: "needs a trainer of its own" in str(one.get("/api/project")["trainer"]["last_error"]), "a word"
        )
        wait_for(lambda: "another project" in str(two.status()["last_error"]), "the reason by its name")
