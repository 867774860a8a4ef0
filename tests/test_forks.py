"""Forked services behave like those that a user starts."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from unittest.mock import ANY

import pytest

from tests import forks
from tests.services import Process, write_photos

pytestmark = pytest.mark.skipif("sys.platform != 'linux'", reason="elsewhere every service starts in full")


def test_a_fork_has_its_own_environment_and_ends_with_its_exit_code():
    fork = forks.start("labeler", [], {**os.environ, "FLYWHEEL_LABELER__BUFFER_SIZE": "0"})
    assert isinstance(fork, forks.Fork)
    with fork.stdout:
        assert "'buffer_size'" in fork.stdout.read()
    assert fork.wait(60) == fork.poll() == 2


def test_who_is_killed_while_asking_takes_no_server_along():
    for said in (b"", b'{"program": '):
        with forks._connected() as asked:
            asked.sendall(said)
    with Path(os.devnull).open("w") as output, forks._connected() as asked:
        socket.send_fds(asked, [b'{"program": '], [output.fileno()] * 2)
    fork = forks.start("labeler", [], {**os.environ, "FLYWHEEL_LABELER__BUFFER_SIZE": "0"})
    with fork.stdout:
        assert "'buffer_size'" in fork.stdout.read()
    assert fork.wait(60) == 2


def test_a_command_says_what_it_says_in_a_terminal(tmp_path):
    done = forks.flywheel("backup", "copy", "--workspace", "nowhere", cwd=tmp_path)
    full = forks.flywheel(*done.args, cwd=tmp_path, environment={**os.environ, "HF_HUB_OFFLINE": "1"})
    assert (done.returncode, done.stdout, done.stderr) == (full.returncode, full.stdout, full.stderr) == (2, "", ANY)
    assert "nowhere" in done.stderr


def test_a_worker_runs_the_line_that_comes_first_and_has_imported_the_tests():
    line = (
        "import sys; print('tests.test_order' in sys.modules, sys.stdin.read()); sys.stderr.write('heard'); sys.exit(3)"
    )
    command = [sys.executable, str(forks.HOME / "tests" / "worker.py"), "-u", "-c", "ignored"]
    environment = {forks.TESTS: json.dumps([str(forks.HOME / "tests" / "test_order.py")]), **os.environ}
    done = subprocess.run(
        command, input=f"{line!r}\nmore", env=environment, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "True more\n", "heard")


@pytest.mark.parametrize("broken", [False, True])
def test_workers_find_no_test_file_that_was_imported_in_part(tmp_path, monkeypatch, broken):
    monkeypatch.chdir(tmp_path)  # an address has at most 107 characters
    (tmp_path / "test_one.py").write_text("def test_one(): ...")
    (tmp_path / "test_two.py").write_text("def test_two(): ...\n" + broken * "import nothing_of_that_name")
    forks.collect([str(tmp_path)], "socket")
    (tmp_path / "line").write_text(repr("import sys; print(*sorted(name for name in sys.modules if 'test_' in name))"))
    with (tmp_path / "line").open() as line, (tmp_path / "said").open("w+") as said:
        files = [said.fileno(), said.fileno(), line.fileno()]
        worker = forks.Fork(forks._ask("tests.worker", [], os.environ, tmp_path, files, address="socket"))
        assert worker.wait(300) == 0
    found = [name.rpartition(".")[2] for name in (tmp_path / "said").read_text().split()]
    assert {"test_one", "test_two"} & set(found) == (set() if broken else {"test_one", "test_two"})


def test_a_fork_takes_signals(tmp_path):
    write_photos(tmp_path / "photos", 3)
    service = Process("labeler", {"images": tmp_path / "photos", "workspace": tmp_path / "w"})
    service.start()
    assert isinstance(service.process, forks.Fork)
    os.kill(service.process.pid, 0)  # it is there, under that id
    with pytest.raises(subprocess.TimeoutExpired):
        service.process.wait(0.01)
    service.kill()
    assert service.process.poll() == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        os.kill(service.process.pid, 0)
    service.start()
    assert service.end() in (0, -signal.SIGTERM)


def test_what_libraries_read_when_they_are_imported_takes_a_start_in_full():
    environment = dict(os.environ)
    assert forks._forkable(environment | {"FLYWHEEL_TRAINER__SEED": "3", "COLUMNS": "300"})
    assert not forks._forkable(environment | {"HF_HUB_OFFLINE": "1"})
    assert not forks._forkable({name: value for name, value in environment.items() if name != "PATH"})
