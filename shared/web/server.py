"""How both services start and stop: one socket, one worker, one line when ready, an orderly shutdown.

The socket is bound before the application is created, so that port 0 works, the guard knows its port, and a port in use
gives one sentence instead of a stack trace.
"""

from __future__ import annotations

import errno
import logging
import logging.handlers
import os
import signal
import socket
import sys
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from shared.processes import when_orphaned
from shared.settings.services import LogLevel, SettingsError
from shared.storage.disk_errors import LogFile, kind_of
from shared.web import audit
from shared.web.connections import Connection, allow_open_files, look_at

GRACE_SECONDS = 3
"""How long open connections may take to finish when the service is stopped."""
API_PAGE = {"validatorUrl": None}
"""Options of the page that shows the routes: it must not validate them with a service on the internet."""
MAX_SOCKET_MESSAGE = 1 << 22
"""Maximum bytes of one WebSocket message; a page sends its choices that way, never a file."""
TELL_SECONDS = 10
"""How often refused connections are logged."""
TICKS_A_SECOND = 10
"""How often uvicorn calls `on_tick`."""
SUPERVISED = "FLYWHEEL_SUPERVISOR"
"""Environment variable with the process id of the `flywheel up` that started this service."""


def bind(host: str, port: int, *, option: str = "--port") -> socket.socket:
    """Bind a socket to the address; it refuses connections until it is served. Raises SettingsError.

    It does not listen yet: a client that connects while we still load should learn at once that nobody is there.
    `option` is the command-line option that chooses another port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise SettingsError(f"Nothing can listen on {host}: {error.strerror}.") from None
    try:
        _in_use(family, host, port)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise SettingsError(_refused(host, port, error, option)) from None
    return sock


def port_option(service: str) -> str:
    """The option that chooses this service's port; `flywheel up` has one for each service."""
    return "--trainer-port" if service == "trainer" and os.environ.get(SUPERVISED) else "--port"


def _refused(host: str, port: int, error: OSError, option: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} is already in use on {host}, perhaps by another Flywheel: stop that one, or choose another "
            f"port with {option}; 0 takes a free one."
        )
    if error.errno == errno.EACCES:
        return f"Port {port} needs rights that this user lacks: choose 1024 or higher with {option}."
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"{host!r} is not an address of this machine: choose one with --host, such as 127.0.0.1."
    return f"Nothing can listen on port {port} of {host}: {error.strerror}."


def _in_use(family: int, host: str, port: int) -> None:
    """Raise OSError if somebody listens there; on some systems, binding alone would not notice."""
    if port:
        socket.create_server((host, port), family=family).close()


def address(sock: socket.socket) -> str:
    """The URL of a socket, reachable from this machine."""
    return url(*sock.getsockname()[:2])


def url(host: str, port: int) -> str:
    """The URL of a service that listens on `host`, reachable from this machine."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{name}:{port}"


NOISY = ("PIL", "watchdog", "asyncio", "matplotlib", "alembic")
TELLING = (
    *("httpx", "httpcore", "aiohttp", "urllib3", "botocore", "aiobotocore", "boto3", "s3fs", "fsspec", "gcsfs"),
    *("google", "adlfs", "azure", "msal", "huggingface_hub"),
)
"""Loggers of libraries that write signed addresses, or headers with credentials, at the level debug or info."""


def serve(app: ASGIApp, sock: socket.socket, *, name: str) -> None:
    """Serve until SIGINT or SIGTERM; print `NAME ready at URL` on stdout once requests are answered."""
    _end_with_supervisor()
    protocol = Connection.of_one_server(allow_open_files())
    server_of(app, f"{name} ready at {address(sock)}", protocol).run(sockets=[sock])


def server_of(app: ASGIApp, ready_line: str = "", protocol: type[Connection] = Connection) -> uvicorn.Server:
    """Create the server of `app`; it prints `ready_line` once requests are answered."""
    config = uvicorn.Config(
        app,
        http=protocol,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=30,
        ws_max_size=MAX_SOCKET_MESSAGE,
    )
    return _Server(config, ready_line, protocol)


def log_to(workspace: Path, service: str, level: LogLevel) -> None:
    """Log to stderr and to `workspace`/logs/`service`.log, rotated at 5 MB."""
    folder = workspace / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    file = LogFile(folder / f"{service}.log", maxBytes=5_000_000, backupCount=3, encoding="utf-8")
    stream = _Stream(sys.stderr)
    form = logging.Formatter(f"%(asctime)s {service} %(levelname)s %(name)s: %(message)s")
    for handler in (file, stream):
        handler.setFormatter(form)
    logging.basicConfig(level=level.upper(), handlers=[file, stream], force=True)
    audit.keep_in(workspace, service)
    for each in (*NOISY, *TELLING):
        logging.getLogger(each).setLevel(logging.WARNING)


class _Stream(logging.StreamHandler):  # type: ignore[type-arg]
    """Stays silent while the disk refuses writes, since stderr may be a file on it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Called when a record could not be written."""
        if kind_of(sys.exception()) is None:
            super().handleError(record)


def _end_with_supervisor() -> None:
    """Shut down when the `flywheel up` that started us has ended, so that no orphan holds the workspace lock."""
    supervisor = os.environ.get(SUPERVISED)
    if not supervisor:
        return

    when_orphaned(int(supervisor), lambda: os.kill(os.getpid(), signal.SIGTERM))


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready_line: str, protocol: type[Connection]) -> None:
        super().__init__(config)
        self._protocol = protocol
        self._ready_line = ready_line

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started and self._ready_line:
            print(self._ready_line, flush=True)

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS_A_SECOND == 0:
            look_at(self.server_state.connections)
        if counter % (TELL_SECONDS * TICKS_A_SECOND) == 0:
            self._protocol.tell()
        return await super().on_tick(counter)
