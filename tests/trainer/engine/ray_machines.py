"""A Ray cluster on this machine, of processes that a test can kill one by one."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.patience import patience
from tests.services import free_port

HOME = Path(__file__).resolve().parents[3]
TOKEN = secrets.token_hex(32)
PRIVATE = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "RAY_USAGE_STATS_ENABLED": "0"}
SMALL = {
    "RAY_prestart_worker_first_driver": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",
    "RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "3",  # a client that comes while the head starts waits 30 s otherwise
}


class Machines:
    """A head, and machines that join it, with so many cores each."""

    def __init__(self, cores: int = 1) -> None:
        self._cores = cores
        self.port, self.client_port = free_port(), free_port()
        self._folders: list[str] = []
        self._started: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        return f"ray://127.0.0.1:{self.client_port}"

    def head(self) -> None:
        ports = ["--port", str(self.port), "--ray-client-server-port", str(self.client_port)]
        self._start("--head", "--include-dashboard", "false", *ports)

    def join(self) -> None:
        self._start("--address", f"127.0.0.1:{self.port}")

    def processes(self, name: str = "") -> list[psutil.Process]:
        """All processes of the cluster, or the actors of a class."""
        found = []
        for each in self._started:
            if each.poll() is None:
                started = psutil.Process(each.pid)
                found += [started, *started.children(recursive=True)]
        return [each for each in found if not name or name in " ".join(each.cmdline()[:1])]

    def freeze(self) -> None:
        """Stop all of them; their connections stay open."""
        for each in self.processes():
            each.suspend()

    def kill(self) -> None:
        """End all of them at once, as when the power fails."""
        self.freeze()  # otherwise one would see another end, and clean up
        processes = self.processes()
        for each in processes:
            each.kill()
        psutil.wait_procs(processes, timeout=10)
        for each in self._started:
            each.wait(10)
        self._started = []

    def close(self) -> None:
        self.kill()
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)

    def _start(self, *options: str) -> None:
        folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # Ray's sockets need a short path
        self._folders.append(folder)
        ray = [sys.executable, "-P", "-m", "ray.scripts.scripts", "start", "--block", "--node-ip-address", "127.0.0.1"]
        memory = ["--object-store-memory", "80000000", "--num-cpus", str(self._cores), "--num-gpus", "0"]
        where = ["--temp-dir", folder] if "--head" in options else []
        with (Path(folder) / "start.log").open("wb") as log:
            self._started.append(
                subprocess.Popen(
                    [*ray, *memory, *where, "--include-log-monitor", "false", "--disable-usage-stats", *options],
                    env={**os.environ, **PRIVATE, **SMALL, "PYTHONPATH": str(HOME)},
                    stdout=log,
                    stderr=log,
                )
            )


def halves(machines: Callable[[], list[dict[str, Any]]]) -> Callable[[], list[dict[str, Any]]]:
    """Each machine of a cluster as two with one core each: a second one takes seconds to start."""
    return lambda: [{**each, "Resources": {"CPU": 1}} for each in machines() for _ in range(2)]


def until(true: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for something to become true."""
    began = time.monotonic()
    while not true():
        waited = time.monotonic() - began
        assert waited < patience(seconds), f"It did not happen in {waited:.0f} s."
        time.sleep(0.1)
