"""Jobs in real processes: comparing versions, cancelling, killing, continuing."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from shared.settings.services import TrainerSettings
from shared.storage.disk_errors import Disk
from shared.wire.jobs import ENDED
from tests.disks import no_room
from tests.services import HOME
from tests.trainer.learning import client, photos, settings_for, teach, trainer, wait_for  # noqa: F401
from tests.trainer.versions.test_library import say, taught  # noqa: F401
from trainer.jobs import job_queue
from trainer.jobs.compare import HARD
from trainer.jobs.job_queue import TRAINER, Jobs, UnknownJob
from trainer.service import Trainer


def finished(client, job):  # noqa: F811
    return wait_for(lambda: (j := client.get(f"/jobs/{job['id']}").json())["state"] in ENDED and j, 120)


def ask(client, path, body):  # noqa: F811
    answer = client.post(path, json=body)
    assert answer.status_code == 202, answer.text
    return answer.json()


@pytest.fixture
def two(taught):  # noqa: F811
    """Versions of 2 and of 12 labels."""
    say(taught, "/models", json={"name": "first"})
    teach(taught, range(12, 30), after=34)
    wait_for(lambda: taught.get("/status").json()["labels"] == 30)
    say(taught, "/models", json={"name": "second"})
    return taught


def test_two_versions_are_compared_on_the_test_images(two, trainer):  # noqa: F811
    job = finished(two, ask(two, "/models/compare", {"base": "first", "candidate": "second", "promote": True}))
    assert job["state"] == "done", job
    found = job["result"]
    assert found["images"] == 20
    assert (job["progress"]["message"], job["progress"]["seconds_left"]) == ("Both versions predict the same images", 0)
    assert found["base"]["accuracy"]["value"] == found["candidate"]["accuracy"]["value"] == 1.0
    assert found["pairs"]["both_right"] == 20
    assert found["base"]["latency_ms"] > 0
    assert found["looked_at"] == 40  # only train images
    assert found["decision"] == "update_model"  # it gains 0, and the required gain is 0
    assert two.get("/models").json()["promoted"] == "second"
    assert two.get("/jobs").json()["jobs"][0]["id"] == job["id"]
    assert not (trainer.jobs.folder / job["id"] / "images.jsonl").exists()  # it would be large for a million images


def test_a_job_waits_while_the_disk_is_full(tmp_path):
    settings, _ = TrainerSettings.load(command_line={"workspace": tmp_path, "backbone": "pixels"})
    disk = Disk(tmp_path, look_seconds=0.05)
    jobs = Jobs(tmp_path / "jobs", settings, disk=disk)
    job = jobs.submit("compare", {"no": "request"}, [])
    with no_room():
        jobs.start()
        wait_for(lambda: disk.trouble)
        assert jobs.get(job.id).state == "queued"
    wait_for(lambda: jobs.get(job.id).attempts == 1)  # it starts by itself once there is room
    jobs.cancel(job.id)
    jobs.close()
    disk.close()


def test_a_process_that_cannot_be_started_fails_its_job_alone(tmp_path, monkeypatch):
    def none_left(*_):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    settings, _ = TrainerSettings.load(command_line={"workspace": tmp_path, "backbone": "pixels"})
    jobs = Jobs(tmp_path / "jobs", settings)
    jobs.start()
    with monkeypatch.context() as patched:
        patched.setattr(job_queue, "start_worker", none_left)
        first = jobs.submit("compare", {"no": "request"}, [])
        failed = wait_for(lambda: (job := jobs.get(first.id)).state in ENDED and job)
    assert "cannot be started: [Errno 11] Resource temporarily unavailable" in failed.error
    second = jobs.submit("compare", {"no": "request"}, [])
    wait_for(lambda: jobs.get(second.id).attempts > 0)
    jobs.cancel(second.id)
    jobs.close()


def test_a_job_of_an_older_version_continues_with_the_settings_of_today(tmp_path):
    settings, _ = TrainerSettings.load(command_line={"workspace": tmp_path, "backbone": "pixels", "seed": 7})
    jobs = Jobs(tmp_path / "jobs", settings)
    job = jobs.submit("compare", {"no": "request"}, [])
    stored = jobs.folder / job.id / "settings.json"
    older = json.loads(stored.read_bytes()) | {"seed": 3, "gone": True}
    del older["engine"], older["ray_address"]
    stored.write_text(json.dumps(older))
    jobs.start()
    wait_for(lambda: "gone" not in json.loads(stored.read_bytes()))
    jobs.cancel(job.id)
    assert TrainerSettings.model_validate_json(stored.read_bytes()) == settings.model_copy(update={"seed": 3})
    jobs.close()


def test_the_current_model_is_saved_by_the_request_that_compares_with_it(two):
    """Whoever asks may be killed at any moment: there is no version without a comparison."""
    job = ask(two, "/models/compare", {"base": "now", "candidate": "first"})
    base = job["request"]["comparison"]["base"]
    assert base.startswith("proxy-")
    assert [each["version"] for each in two.get("/models").json()["models"]] == ["first", "second", base]
    assert two.delete(f"/models/{base}").status_code == 409  # the job needs it
    assert finished(two, job)["result"]["base"]["version"] == base


def test_a_comparison_that_is_cancelled_leaves_no_version_and_can_be_resumed(two, trainer):  # noqa: F811
    trainer.jobs.park(True)
    job = ask(two, "/models/compare", {"base": "now", "candidate": "first"})
    base = job["request"]["comparison"]["base"]
    assert two.delete(f"/jobs/{job['id']}").json()["state"] == "cancelled"
    assert [each["version"] for each in two.get("/models").json()["models"]] == ["first", "second"]
    assert two.post(f"/jobs/{job['id']}/resume").json()["state"] == "queued"
    assert [each["version"] for each in two.get("/models").json()["models"]] == ["first", "second", base]
    assert not [*trainer.jobs.folder.glob("*.pending")]


def test_what_a_kill_left_of_a_comparison_is_gone_after_the_next_start(two, trainer):  # noqa: F811
    trainer.jobs.park(True)
    compared = ask(two, "/models/compare", {"base": "now", "candidate": "first"})["request"]["comparison"]["base"]
    cancelled = ask(two, "/models/compare", {"base": "now", "candidate": "first"})["id"]
    trainer.jobs.cancel(cancelled)  # the version stays, as if a kill came before it was deleted
    say(two, "/models", json={"name": "proxy-without-a-job"})
    for name in (compared, "proxy-without-a-job", "proxy-not-saved"):
        (trainer.jobs.folder / f"{name}.pending").touch()
    trainer.model_jobs.tidy()
    assert [each["version"] for each in two.get("/models").json()["models"]] == ["first", "second", compared]
    assert not [*trainer.jobs.folder.glob("*.pending")]


def test_images_that_a_version_learned_from_are_left_out(two, trainer):  # noqa: F811
    """Image 0 becomes a test image after both versions have learned from it."""
    from tests.trainer.logs import batch, class_rows

    moved = class_rows("x")[0].model_copy(
        update={"seq": 53, "action": "split_changed", "image_id": 0, "split": "test", "label": None, "name": None}
    )
    two.post("/annotations", json=batch([moved], catalog=60).model_dump(mode="json"))
    trainer.replica.test_chances = {40: 0.5}  # an active test
    job = finished(two, ask(two, "/models/compare", {"base": "first", "candidate": "second"}))
    assert job["result"]["reason"].endswith(HARD)
    assert job["result"]["images"] == 20
    assert job["result"]["left_out"] == {"learned from by a version": 1}
    assert 0 not in {each["image_id"] for each in job["result"]["differing"]}


def test_an_impossible_comparison_is_refused_with_a_reason(two, trainer):  # noqa: F811
    asked = {"base": "first", "candidate": "second"}
    assert two.post("/models/compare", json={**asked, "base": "gone"}).status_code == 404
    answer = two.post("/models/compare", json={**asked, "split": "validation"})
    assert (answer.status_code, "No validation image" in answer.json()["detail"]) == (422, True)
    for wrong, status in (({"candidate": "gone"}, 404), ({"split": "validation"}, 422)):
        assert two.post("/models/compare", json={**asked, "base": "now", **wrong}).status_code == status
    assert [each["version"] for each in two.get("/models").json()["models"]] == ["first", "second"]
    recorded = two.post("/models/compare", json={**asked, "recorded": True}).json()
    assert recorded["state"] == "done"
    assert recorded["result"]["base"]["accuracy"]["n"] == 20
    next((trainer.folder / "backbones").iterdir()).unlink()
    job = finished(two, ask(two, "/models/compare", asked))
    assert job["state"] == "failed"
    assert "does not exist" in job["error"]
    assert two.get("/jobs/none").status_code == 404


def running(jobs):
    return wait_for(lambda: jobs._process and jobs._process.poll() is None and jobs._process.pid)


def test_a_cancelled_job_ends_at_once_and_can_be_resumed(two, trainer):  # noqa: F811
    job = ask(two, "/models/compare", {"base": "first", "candidate": "second"})
    process = running(trainer.jobs)
    assert two.delete(f"/jobs/{job['id']}").json()["state"] == "cancelled"
    assert not psutil.pid_exists(process)
    assert two.delete(f"/jobs/{job['id']}").json()["state"] == "cancelled"  # a second time changes nothing
    assert two.post(f"/jobs/{job['id']}/resume").status_code == 200
    assert finished(two, job)["state"] == "done"
    assert two.post(f"/jobs/{job['id']}/resume").status_code == 422


@pytest.mark.parametrize("end", [lambda jobs, job: jobs.cancel(job), lambda jobs, job: jobs.park(True)])
def test_nobody_waits_for_a_process_that_takes_long_to_end(tmp_path, photos, end):  # noqa: F811
    """Pausing and incoming labels take the jobs' lock."""

    class Stuck(subprocess.Popen[bytes]):
        """A process that does not end at once, for example because it waits for a disk."""

        def wait(self, timeout=None):
            ending.set()
            assert told.wait(60)
            return super().wait(timeout)

    ending, told = threading.Event(), threading.Event()
    jobs = Jobs(tmp_path / "jobs", settings_for(tmp_path, photos[0])[0])
    try:
        job = jobs.submit("compare", {}, [])
        jobs._process, jobs._running = Stuck(["sleep", "60"]), job.id
        ender = threading.Thread(target=end, args=(jobs, job.id))
        ender.start()
        assert ending.wait(60)
        asked = threading.Thread(target=jobs.rest, args=(True,))
        asked.start()
        asked.join(60)
        assert not asked.is_alive()
        assert jobs.get(job.id).state in ("cancelled", "queued")
    finally:
        told.set()
        ender.join(60)


@pytest.mark.parametrize(
    "end", [lambda jobs, job: jobs.cancel(job), lambda jobs, _: jobs.park(True), lambda jobs, _: jobs.close()]
)
def test_a_killed_process_that_is_not_gone_in_time_is_no_error(tmp_path, photos, end):  # noqa: F811
    """A trainer that stopped would leave its files open."""

    class Slow(subprocess.Popen[bytes]):
        """A process that takes long to free its memory."""

        def wait(self, timeout=None):
            if timeout is not None:
                raise subprocess.TimeoutExpired(self.args, timeout)
            return super().wait()

    jobs = Jobs(tmp_path / "jobs", settings_for(tmp_path, photos[0])[0])
    job = jobs.submit("compare", {}, [])
    jobs._process, jobs._running = process, _ = Slow(["sleep", "60"]), job.id
    end(jobs, job.id)
    assert process.wait() == -signal.SIGKILL


def test_a_job_goes_on_when_the_trainer_is_started_again(two, trainer, tmp_path, photos):  # noqa: F811
    job = ask(two, "/models/compare", {"base": "first", "candidate": "second"})
    process = running(trainer.jobs)
    trainer.close()
    assert not psutil.pid_exists(process)
    again = Trainer(*settings_for(tmp_path, photos[0]))
    again.start()
    try:
        ended = wait_for(lambda: (j := again.jobs.get(job["id"])).state in ENDED and j, 120)
        assert (ended.state, ended.attempts) == ("done", 2)
    finally:
        again.close()


def test_a_pause_halts_the_process_at_once_and_one_that_is_killed_is_begun_again(two, trainer):  # noqa: F811
    job = ask(two, "/models/compare", {"base": "first", "candidate": "second"})
    process = psutil.Process(running(trainer.jobs))
    two.post("/pause")
    wait_for(lambda: process.status() == psutil.STATUS_STOPPED, 1)
    time.sleep(0.2)
    assert two.get(f"/jobs/{job['id']}").json()["state"] == "running"
    with trainer.jobs.held():
        pass  # a round in between does not wake it
    assert process.status() == psutil.STATUS_STOPPED
    process.kill()
    again = psutil.Process(wait_for(lambda: (pid := running(trainer.jobs)) != process.pid and pid))
    wait_for(lambda: again.status() == psutil.STATUS_STOPPED)  # the pause holds for the new process, too
    two.post("/resume")
    ended = finished(two, job)
    assert (ended["state"], ended["attempts"]) == ("done", 2)


@pytest.mark.parametrize("halted", [False, True])
def test_no_orphan_goes_on_after_the_trainer(halted):
    """A worker ends when its parent is gone. One that was halted does not stay in memory forever either."""
    if halted and sys.platform != "linux":
        pytest.skip("Only Linux ends a halted process with its parent.")
    script = (
        "import subprocess, sys\n"
        "code = 'from trainer.jobs.worker import _end_with_trainer as end; import time; end(); '\n"
        "code += 'print(1, flush=True); '\n"
        "code += 'time.sleep(60)'\n"
        "child = subprocess.Popen([sys.executable, '-c', code], start_new_session=True)\n"
        "print(child.pid, flush=True)\n"
        "import time; time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=HOME, stdout=subprocess.PIPE, text=True)
    with parent:
        child = int(parent.stdout.readline())
        assert parent.stdout.readline()  # it has begun to watch its parent
        if halted:
            os.kill(child, signal.SIGSTOP)
        parent.kill()
    wait_for(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE, 10)


def test_an_orphan_from_its_start_ends_at_once():
    """Its parent was gone before the worker could look up its id."""
    code = "from trainer.jobs.worker import _end_with_trainer; import time; _end_with_trainer(); time.sleep(60)"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    orphan = subprocess.run(
        [sys.executable, "-c", code], cwd=HOME, env={**os.environ, TRAINER: str(ended.pid)}, timeout=50
    )
    assert orphan.returncode == 1


def test_a_process_that_ends_three_times_without_a_reason_has_failed(tmp_path, photos):  # noqa: F811
    settings, _ = settings_for(tmp_path, photos[0])
    jobs = Jobs(tmp_path / "jobs", settings)
    job = jobs.submit("compare", {"nonsense": True}, [])  # a KeyError in the worker, and no sentence for a person
    jobs.start()
    try:
        ended = wait_for(lambda: (j := jobs.get(job.id)).state in ENDED and j, 120)
        assert (ended.state, ended.attempts) == ("failed", 3)
        assert "log.txt" in ended.error
        assert "KeyError" in (tmp_path / "jobs" / job.id / "log.txt").read_text()
        with pytest.raises(UnknownJob):
            jobs.get("other")
    finally:
        jobs.close()


def test_a_process_that_is_halted_for_long_gives_the_memory_of_a_gpu_back(tmp_path, photos, monkeypatch):  # noqa: F811
    monkeypatch.setattr("trainer.jobs.job_queue.HALTED_SECONDS", 0.1)
    monkeypatch.setattr("trainer.gpu.memory.is_used", lambda: True)
    jobs = Jobs(tmp_path / "jobs", settings_for(tmp_path, photos[0])[0])
    job = jobs.submit("compare", {"nonsense": True}, [])
    jobs.rest(True)
    jobs.start()
    try:
        process = psutil.Process(wait_for(lambda: running(jobs)))
        wait_for(lambda: not process.is_running())
        waiting = wait_for(lambda: (j := jobs.get(job.id)).state == "queued" and j)
        assert waiting.attempts == 0  # to be put off is no failure
        time.sleep(0.2)
        assert jobs.get(job.id).state == "queued"
        jobs.rest(False)
        wait_for(lambda: jobs.get(job.id).attempts, 60)
    finally:
        jobs.close()
