"""`flywheel up` and related commands in a terminal."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from shared.settings.project_file import ProjectFile
from tests import forks
from tests.services import HOME, free_port, wait_for, write_photos

pytestmark = pytest.mark.system

FLYWHEEL = [sys.executable, str(HOME / "flywheel.py")]


@pytest.fixture
def running(tmp_path):
    """`flywheel up` on a small folder; the process and the address it prints."""
    truth = write_photos(tmp_path / "my photos", 60)
    (tmp_path / "truth.csv").write_text("filename,label\n" + "".join(f"{n},{c}\n" for n, c in truth.items()))
    port, trainer_port = free_port(), free_port()
    log = (tmp_path / "log").open("w+")
    process = subprocess.Popen(
        [
            *FLYWHEEL,
            *("up", "my photos", "--classes", "red,green", "--workspace", "W", "--backbone", "pixels"),
            *("--port", str(port), "--trainer-port", str(trainer_port), "--set", "labeler.buffer_size=5"),
        ],
        cwd=tmp_path,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )

    def output():
        return (tmp_path / "log").read_text()

    try:
        wait_for(lambda: "Open http" in output() or process.poll() is not None, "the address", 120)
        yield process, re.findall(r"Open (http://\S+)", output())[0], trainer_port, output
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(30)
        log.close()


def children(process):
    return {child.cmdline()[3]: child for child in psutil.Process(process.pid).children()}


def test_one_command_starts_labeling_and_ends_cleanly(running, tmp_path):
    process, url, trainer_port, output = running
    assert {tuple(child.cmdline()[1:3]) for child in children(process).values()} == {("-P", "-m")}
    for asked in (f"{url}/api/project", f"http://127.0.0.1:{trainer_port}/status"):
        assert httpx.get(asked, headers={"host": "evil.example"}).status_code == 403
    classes = [entry["name"] for entry in httpx.get(f"{url}/api/project").json()["classes"]]
    assert classes == ["red", "green"]

    simulated = forks.flywheel(
        *("simulate", "--labels", "truth.csv", "--add-classes", "--budget", "25", "--workspace", "W"), cwd=tmp_path
    )
    assert simulated.returncode == 0, simulated.stderr
    assert simulated.stdout.startswith(f"Project my photos (./W) at {url}\n")
    assert "25 labels in" in simulated.stdout
    assert "batch → new queue" in simulated.stdout
    project = httpx.get(f"{url}/api/project").json()
    assert project["images"]["labeled"] == 25
    assert "blue" in {entry["name"] for entry in project["classes"]}  # the annotator added what was missing

    exported = forks.flywheel("export", "labels.csv", "--workspace", "W", cwd=tmp_path)
    assert exported.returncode == 0
    assert (tmp_path / "labels.csv").read_text().count("red") >= 1

    killed = children(process)["trainer"]
    killed.kill()
    wait_for(lambda: httpx.get(f"http://127.0.0.1:{trainer_port}/status").json()["labels"], "the trainer again", 120)
    assert "will be restarted" in output()

    second = forks.flywheel("up", "--workspace", "W", "--port", "0", "--trainer-port", "0", cwd=tmp_path)
    assert second.returncode == 2
    assert "W" in second.stderr  # the workspace that is in use
    assert httpx.get(f"{url}/api/health").status_code == 200  # the first pair goes on

    paused = forks.flywheel("pause", "--labeler-url", url, cwd=tmp_path)
    assert paused.returncode == 0, paused.stderr
    assert f"at http://127.0.0.1:{trainer_port}\n" in paused.stdout  # as the labeler says
    assert "The trainer is paused" in paused.stdout

    before = list(children(process).values())
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert not [child for child in before if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert "Traceback" not in output()
    assert "Trainer safely shut down" in output()
    remembered = ProjectFile.read(tmp_path / "W")
    assert remembered is not None
    assert remembered.ports == {"labeler": int(url.rpartition(":")[2]), "trainer": trainer_port}


def test_children_end_when_their_parent_is_killed(running):
    process, *_ = running
    before = list(children(process).values())
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while any(child.is_running() for child in before) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [child for child in before if child.is_running()]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["up", "/nowhere/photos"], "/nowhere/photos"),
        (["up", "--workspace", "mistyped"], "There is no project in mistyped"),
        (["up", "--set", "labeler.buffersize=3"], "Did you mean 'buffer_size'?"),
        (["up", "--set", "labeler.buffer_size=0"], "buffer_size"),
        (["up", "--set", "buffer_size=3"], "labeler.NAME=VALUE"),
        (["up", "--strategy", "guess", "--backbone", "pixels"], "guess"),
        (["up", "--host", "0.0.0.0"], "FLYWHEEL_TOKEN"),
        (["labeler", "--buffer-size", "many"], "buffer_size"),
        (["trainer", "--batchsize", "3"], "batch_size"),
        (["trainer", "--config", "nowhere.toml"], "nowhere.toml"),
        (["status", "--labeler-url", "http://127.0.0.1:9"], "flywheel up"),
        (["backup", "copy", "--workspace", "nowhere"], "nowhere"),
    ],
)
def test_impossible_input_gives_one_sentence(tmp_path, arguments, sentence):
    environment = {name: value for name, value in os.environ.items() if name != "FLYWHEEL_TOKEN"}
    ports = ["--port", "0", "--trainer-port", "0"] if arguments[0] == "up" else []
    done = forks.flywheel(*arguments, *ports, cwd=tmp_path, environment=environment)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("Flywheel")]
    assert len(lines) == 1
    if arguments[0] == "up":
        assert list(tmp_path.iterdir()) == []  # a failed start leaves nothing that the next one could misread


def test_a_port_in_use_is_reported_before_anything_is_written(tmp_path):
    write_photos(tmp_path / "photos", 3)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = forks.flywheel(
            *("up", "photos", "--classes", "a,b", "--workspace", "W", "--port", "0", "--trainer-port", port),
            cwd=tmp_path,
        )
    assert done.returncode == 2
    assert f"Port {port} is already in use" in done.stderr
    assert "--trainer-port" in done.stderr
    assert not (tmp_path / "W").exists()


@pytest.mark.parametrize("name", ["labeler", "trainer"])
def test_each_service_starts_by_itself(tmp_path, name):
    """By its file; `flywheel up` above starts it as a module."""
    write_photos(tmp_path / "photos", 2)
    given = [f"--images={tmp_path / 'photos'}", "--trainer-url=http://127.0.0.1:9"] if name == "labeler" else []
    more = given or ["--backbone=pixels"]
    with subprocess.Popen(
        [sys.executable, f"{name}/app.py", "--port=0", f"--workspace={tmp_path / 'w'}", *more],
        cwd=HOME,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            lines = iter(process.stdout.readline, "")
            ready = next(
                found for line in lines if (found := re.search(r" ready at (http://127\.0\.0\.1:\d+)\n", line))
            )
            under = "/api" if name == "labeler" else ""
            with httpx.Client(base_url=ready[1], timeout=20) as client:
                assert client.get(f"{under}/health").json()["status"] == "ok"
                asked = "/api/project" if name == "labeler" else "/status"
                assert client.get(asked, headers={"host": "evil.example"}).status_code == 403
                loaded = Path(f"/proc/{process.pid}/maps")  # on Linux
                assert not loaded.exists() or "libtorch" not in loaded.read_text()  # only networks need it
                if name == "labeler":
                    assert client.get("/").headers["content-type"].startswith("text/html")
        finally:
            process.terminate()
    assert process.returncode in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
    assert "GET /" not in (tmp_path / "w" / "logs" / f"{name}.log").read_text()
