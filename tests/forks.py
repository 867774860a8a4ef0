"""Services and job workers as real processes that skip most imports: forks of `tests.fork_server`.

One server, started with the first fork, serves all workers of a test run. A full start is used where a fork cannot
replace it: for another environment than the server's, if libraries read it on import, and on any system but Linux.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO
from uuid import uuid4

import pytest
from filelock import FileLock

Run = Callable[[str, dict[str, str]], subprocess.CompletedProcess[str]]

HOME = Path(__file__).resolve().parent.parent
ADDRESS, OWNER = "FORKS_ADDRESS", "FORKS_OWNER"
TESTS = "FORKS_TESTS"
"""An environment variable: JSON of the folders of which pytest's workers run the tests."""
CONSTANTS = "FORKS_CONSTANTS"
"""An environment variable: JSON of constants, by full name, that a trainer and its job workers override. Tests use it
for very short trainings. What is started in full ignores it.
"""
READ_AT_START = (
    *("FLYWHEEL_", "FORKS_", "PYTEST_", "PYTHONPATH", "STREAMLIT_", "COLUMNS", "BROWSER", "PICTURES"),
    *("AWS_", "KMP_", "TORCHINDUCTOR_", "MPLBACKEND", "TOKENIZERS_", "RAY_"),
)
"""Prefixes of variables that are not read on import. The last five are set by imports themselves: of torch, of
Streamlit and open_clip when pytest collects its tests, and by the trainer when it connects to a Ray cluster. Those of
AWS are read when a connection to a store is opened.
"""
START_SECONDS = 180.0


class Fork:
    """A process forked by `tests.fork_server`, used like a `subprocess.Popen`.

    The caller continues meanwhile: the server may have to import the program first.
    """

    def __init__(self, asked: socket.socket, output: IO[str] | None = None) -> None:
        self.stdout = output
        self.returncode: int | None = None
        self._asked = asked
        self._said = b""  # a line with the id, later one with the exit code
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        """Its process id, once it has one."""
        with self._lock:
            self._hear(1, None)
        return int(self._said.split(b"\n")[0])

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        try:
            return self.wait(0.0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit code. Raises subprocess.TimeoutExpired."""
        with self._lock:
            if self.returncode is None:
                self._hear(2, timeout)
                told = self._said.split(b"\n")[1:2]
                self.returncode = int(told[0] if told and told[0] else -signal.SIGKILL)
                self._asked.close()
            return self.returncode

    def _hear(self, lines: int, timeout: float | None) -> None:
        """Read that many lines, or fewer if the server is gone. Raises subprocess.TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._said.count(b"\n") < lines:
            self._asked.settimeout(None if deadline is None else max(deadline - time.monotonic(), 0.0))
            try:
                more = self._asked.recv(64)
            except (BlockingIOError, TimeoutError):
                raise subprocess.TimeoutExpired("a fork", timeout or 0.0) from None
            if not more:
                return
            self._said += more

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is running."""
        if self.poll() is None:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:  # it has just ended
                self.wait(1.0)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)


def begin_run() -> None:
    """Name the server of this test run, in the process that owns it."""
    os.environ.setdefault(ADDRESS, str(Path(tempfile.gettempdir()) / f"flywheel-forks-{uuid4().hex}"))
    os.environ.setdefault(OWNER, str(os.getpid()))


def start(
    program: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    cold: bool = False,
    folder: Path = HOME,
    output: IO[str] | None = None,
    errors: IO[str] | None = None,
    ends_with_us: bool = False,
) -> Fork | subprocess.Popen[str]:
    """Start `python -m PROGRAM` in `folder`, in full if `cold`.

    Its output goes to the file `output` or can be read from `stdout`; its errors go there as well, or to `errors`.
    """
    if cold or not _forkable(environment):
        paths = [str(HOME), *filter(None, [environment.get("PYTHONPATH")])]
        return subprocess.Popen(
            [sys.executable, "-m", program, *arguments],
            cwd=folder,
            env={**environment, "PYTHONPATH": os.pathsep.join(paths)},
            stdout=output or subprocess.PIPE,
            stderr=errors or subprocess.STDOUT,
            text=True,
            start_new_session=ends_with_us,
        )
    reading, writing = (-1, output.fileno()) if output else os.pipe()
    try:
        files = [writing, errors.fileno() if errors else writing]
        asked = _ask(program, arguments, environment, folder, files, ends_with_us=ends_with_us)
    finally:
        if not output:
            os.close(writing)
    return Fork(asked, None if output else os.fdopen(reading))


def flywheel(
    *words: object, cwd: Path, environment: Mapping[str, str] | None = None, seconds: float = 300.0
) -> subprocess.CompletedProcess[str]:
    """Run a `flywheel` command to its end in the folder `cwd`. Raises subprocess.TimeoutExpired.

    The services that the command starts are forks, too.
    """
    arguments, environment = [str(word) for word in words], os.environ if environment is None else environment
    if not _forkable(environment):
        command = [sys.executable, str(HOME / "flywheel.py"), *arguments]
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=seconds)
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        files = [output.fileno(), errors.fileno()]
        fork = Fork(_ask("flywheel", arguments, environment, cwd, files))
        try:
            code = fork.wait(seconds)
        finally:
            fork.kill()
        for file in (output, errors):
            file.seek(0)
        return subprocess.CompletedProcess(arguments, code, output.read(), errors.read())


def use_for_workers(config: pytest.Config) -> None:
    """Make pytest-xdist fork its workers, unless single files are asked for, which may import little."""
    folders = all(Path(name).is_dir() for name in config.args)
    if sys.platform == "linux" and folders and set(getattr(config.option, "tx", None) or []) == {"popen"}:
        python = f"{shlex.quote(sys.executable)} {shlex.quote(str(HOME / 'tests' / 'worker.py'))}"
        config.option.tx = [f"popen//python={python}"] * len(config.option.tx)
        os.environ[TESTS] = json.dumps(config.args)


def start_worker(files: Sequence[int]) -> Fork:
    """Fork one of pytest's workers, with these files as its output, errors and input."""
    address = f"{os.environ[ADDRESS]}-tests"
    with FileLock(f"{address}.lock"):
        if not Path(address).exists():
            collect(json.loads(os.environ[TESTS]), address)
    return Fork(_ask("tests.worker", [], os.environ, Path.cwd(), files, address=address))


def collect(names: Sequence[str], address: str) -> None:
    """Start a `tests.collecting` of these folders. Whoever asks at the address waits until it has collected."""
    with socket.socket(socket.AF_UNIX) as listener, Path(os.devnull).open("r+") as nothing:
        listener.bind(address)
        listener.listen(64)
        files = [nothing.fileno(), nothing.fileno(), listener.fileno()]
        _ask("tests.collecting", [os.environ[OWNER], *names], os.environ, Path.cwd(), files).close()


def use_for_services() -> None:
    """Make this process, a `flywheel up` or a Python client, fork its two services."""
    from commands.running import supervisor
    from shared.web.server import SUPERVISED

    def start_service(
        name: str, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> Fork | subprocess.Popen[str]:
        environment = {key: value for key, value in environment.items() if key != SUPERVISED}  # it is not the parent
        return start(name, arguments, environment, folder=Path.cwd(), errors=sys.stderr, ends_with_us=True)

    supervisor.start_service = start_service  # type: ignore[assignment]  # it does what is asked of a Popen


def use_for_jobs() -> None:
    """Make this process's trainers fork the workers of their jobs."""
    from trainer.jobs import job_queue

    started = job_queue.start_worker

    def start_worker(folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        if not _forkable(environment):
            return started(folder, environment)
        with (folder / "log.txt").open("ab") as log:
            asked = _ask(
                "trainer.jobs.worker", [str(folder)], environment, Path.cwd(), [log.fileno()] * 2, ends_with_us=True
            )
        return Fork(asked)  # type: ignore[return-value]  # it does what jobs ask of a Popen

    job_queue.start_worker = start_worker


def use_for_exports() -> None:
    """Make this process fork its exports, and what traces its networks."""
    from trainer.embeddings.backbones import compiled
    from trainer.versions import exporting

    exporting.run = _run_of("trainer.versions.exporting", exporting.run, exporting.EXPORT_SECONDS)  # type: ignore[assignment]
    compiled.run = _run_of("trainer.work.tracing", compiled.run, compiled.TRACE_SECONDS)  # type: ignore[assignment]


def _run_of(program: str, started: Run, seconds: float) -> Run:
    def run(request: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        if not _forkable(environment):
            return started(request, environment)
        with tempfile.TemporaryFile("w+") as output:
            connection = _ask(program, [], environment, Path.cwd(), [output.fileno()] * 2, given=request)
            code = Fork(connection).wait(seconds)
            output.seek(0)
            return subprocess.CompletedProcess([], code, "", output.read())

    return run


def _forkable(environment: Mapping[str, str]) -> bool:
    names = {name for name in {*environment, *ENVIRONMENT} if not name.startswith(READ_AT_START)}
    return sys.platform == "linux" and all(environment.get(name) == ENVIRONMENT.get(name) for name in names)


def _ask(
    program: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    files: Sequence[int],
    *,
    given: str = "",
    ends_with_us: bool = False,
    address: str | None = None,
) -> socket.socket:
    """The connection on which the server sends the id and later the exit code; `files` receive output and errors.

    The server is the one of this run, unless it is at another `address`.
    """
    request = {
        "program": program,
        "arguments": list(arguments),
        "environment": dict(environment),
        "folder": str(folder),
        "input": given,
        "session": ends_with_us,
        "until": os.getpid() if ends_with_us else 0,
    }
    asked = _connected(address)
    content = json.dumps(request).encode() + b"\n"
    sent = socket.send_fds(asked, [content], files)
    asked.sendall(content[sent:])
    return asked


def _connected(address: str | None = None) -> socket.socket:
    if address is None:
        address = os.environ[ADDRESS]
        _start_server(address)
    asked = socket.socket(socket.AF_UNIX)
    asked.connect(address)
    return asked


def _start_server(address: str) -> None:
    with FileLock(f"{address}.lock"):
        if not Path(address).exists():
            subprocess.run(
                [sys.executable, "-m", "tests.fork_server", address, os.environ[OWNER]],
                cwd=HOME,
                env=ENVIRONMENT,
                check=True,
                timeout=START_SECONDS,
            )


begin_run()
ENVIRONMENT = dict(os.environ)
"""The server's environment: ours, before any test has changed it."""
