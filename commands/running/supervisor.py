"""`flywheel up` runs both services, restarts one that dies, and ends them together.

Each service is a child process in a session of its own, so Ctrl-C reaches only this process. It then ends the children
in order: the labeler first, because its last labels go to the trainer. A child that dies is started again after a
growing pause. A child that refuses its settings (exit code 2) ends everything, because a restart would change nothing.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from shared import processes
from shared.settings.services import SettingsError
from shared.web.server import SUPERVISED

PAUSES = (0.3, 1.0, 2.0, 5.0, 15.0)
STEADY_SECONDS = 60.0  # a child that runs this long counts as healthy again
END_SECONDS = 12.0  # for a child to end by itself before it is killed
REFUSED = 2  # exit code of a service with impossible settings


def start_service(name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start the service NAME; what it prints can be read from `stdout`."""
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-P", "-m", name, *arguments],
        env=dict(environment),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@dataclass
class Child:
    """A service process, with everything needed to restart it."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    process: subprocess.Popen[str] | None = None
    address: str | None = None
    ready: threading.Event = field(default_factory=threading.Event)
    started: float = 0.0
    failures: int = 0
    next_start: float = 0.0

    def start(self) -> None:
        """Start it; `ready` is set, and `address` known, when it answers."""
        self.ready.clear()
        self.started = time.monotonic()
        self.process = start_service(self.name, self.arguments, self.environment)
        threading.Thread(target=self._listen, args=(self.process,), name="output", daemon=True).start()

    def end(self) -> None:
        """Ask the process to end, and kill it if it does not."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        with process.stdout:
            for line in process.stdout:
                if " ready at http" in line:
                    self.address = line.rsplit(" ", 1)[-1].strip()
                    self.ready.set()
                else:
                    print(line, end="", flush=True)


class Supervisor:
    """Runs children until it is told to stop."""

    def __init__(
        self, children: Sequence[Child], *, page: str = "", begin: Callable[[str], None] = lambda _: None
    ) -> None:
        """`begin` is called once with the address of the first child when all children answer. `page` is the page to
        open.
        """
        self._children = children
        self._page = page
        self._begin = begin
        self._stopping = threading.Event()

    def stop(self, *_: object) -> None:
        """Make `run` end. Can be used as a signal handler."""
        self._stopping.set()

    def run(self) -> int:
        """Start all children and keep them running; returns the exit code."""
        for child in self._children:
            child.start()
        announced = False
        try:
            while not self._stopping.wait(0.1):
                for child in self._children:
                    if not self._keep(child):
                        return REFUSED
                if not announced and all(child.ready.is_set() for child in self._children):
                    announced = True
                    threading.Thread(target=self._announce, name="announce", daemon=True).start()
            print("\nStopping …", flush=True)
            return 0
        finally:
            for child in self._children:
                child.end()

    def _announce(self) -> None:
        address = self._children[0].address or ""
        try:
            self._begin(address)
        except SettingsError as error:
            print(f"Flywheel: {error}", file=sys.stderr, flush=True)
        print(f"\nFlywheel is ready. Open {address}{self._page} in a browser. Press Ctrl-C to stop.\n", flush=True)

    def _keep(self, child: Child) -> bool:
        """Start a dead child again after its pause; False if it will never run."""
        assert child.process is not None  # noqa: S101 - `run` has started it
        code = child.process.poll()
        now = time.monotonic()
        if code is None:
            if child.failures and now - child.started > STEADY_SECONDS:
                child.failures = 0
            return True
        if code == REFUSED:
            return False
        if not child.next_start:
            pause = PAUSES[min(child.failures, len(PAUSES) - 1)]
            child.failures, child.next_start = child.failures + 1, now + pause
            print(
                f"The {child.name} ended ({_how(code)}). It will be restarted in {pause:g} s.",
                file=sys.stderr,
                flush=True,
            )
        elif now >= child.next_start:
            child.next_start = 0.0
            child.start()
        return True


def supervise(
    labeler: Mapping[str, str],
    trainer: Mapping[str, str],
    *,
    port: int,
    trainer_port: int,
    host: str,
    change: bool = False,
    page: str = "",
    begin: Callable[[str], None] = lambda _: None,
) -> int:
    """Run both services with these settings, which override file and environment; returns the exit code.

    `change` allows them to change what the project is made of. When both answer, `begin` is called with the labeler's
    address. `page` is the page to open.
    """
    port, trainer_port = port or free_port(host), trainer_port or free_port(host)
    name = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104 - the children talk over loopback
    environment = child_environment()
    allowed = ["--change"] if change else []
    arguments = {"host": host, "port": str(port), "trainer-url": f"http://{name}:{trainer_port}", **labeler}
    more = {"host": host, "port": str(trainer_port), "labeler-url": f"http://{name}:{port}", **trainer}
    supervisor = Supervisor(
        [
            Child("labeler", [*flags(arguments), *allowed], environment),
            Child("trainer", [*flags(more), *allowed], environment),
        ],
        page=page,
        begin=begin,
    )
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, supervisor.stop)
    return supervisor.run()


def show(address: str) -> None:
    """Open the address in a browser if there is a screen. Otherwise a text browser would take over the terminal."""
    if sys.platform != "linux" or os.environ.keys() & {"DISPLAY", "WAYLAND_DISPLAY", "BROWSER"}:
        webbrowser.open(address)


def flags(settings: Mapping[str, str]) -> list[str]:
    """Settings as command-line flags. `--name=value` is one word, so a value may begin with a dash."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]


def child_environment() -> dict[str, str]:
    """The environment of both services, which end with this process."""
    return processes.child_environment() | {SUPERVISED: str(os.getpid())}


def free_port(host: str) -> int:
    """A port that is free now. Raises SettingsError for an address of another machine."""
    try:
        with socket.create_server((host, 0)) as sock:
            return int(sock.getsockname()[1])
    except OSError as error:
        raise SettingsError(f"Flywheel cannot listen on the address {host!r}: {error.strerror}.") from None


def _how(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
