"""The process that forks services and job workers: `python -m tests.fork_server SOCKET OWNER`.

It imports once what they import, which is most of the cost of starting one, and forks for each request on its socket. A
fork is an ordinary process with its own id, environment, folder, signals and exit code. The server ends, with all its
forks, when the process OWNER is gone. It has one thread, so that no fork inherits a held lock. `tests.forks` is its
client.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import json
import os
import selectors
import signal
import socket
import sys
import tempfile
import threading
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from tests import forks

WORK = ["torch", "timm", "fastai.vision.all", "trainer.jobs.compare", "trainer.jobs.challenge", "trainer.jobs.train"]
TRACING = ["onnxscript", "torch.export._trace", "torch.onnx._internal.exporter._core"]  # onnxruntime starts a thread
SERVING = ["uvicorn.lifespan.on", "uvicorn.loops.uvloop", "uvicorn.protocols.http.httptools_impl", "httpcore"]
SERVING += ["uvicorn.protocols.websockets.auto", "anyio._backends._asyncio", "pydantic.v1", "encodings.idna"]
SERVING += ["uvicorn.loops.auto"]
IMPORTS = {
    "labeler": [
        "labeler.app",
        "labeler.service",
        "labeler.web.api",
        "streamlit.starlette",
        "pandas",
        "pyarrow",
        "altair",
        "itsdangerous.url_safe",
        "narwhals._pandas_like.namespace",
        "pandas.io.formats.csvs",
        "pyarrow.pandas_compat",
        "starlette.middleware.sessions",
        "streamlit.material_icon_names",
        "streamlit.runtime.scriptrunner.magic_funcs",
        "streamlit.web.bootstrap",
        "streamlit.web.server.starlette.starlette_agent_routes",
        *SERVING,
    ],
    "trainer": [
        *("trainer.app", "trainer.routes.api", "trainer.service", "trainer.versions.exporting", "cleanlab.rank"),
        *SERVING,
    ],
    "trainer.jobs.worker": ["trainer.jobs.worker", *WORK],
    "tests.trainer.loop.test_second_look_kills": ["tests.trainer.loop.test_second_look_kills", "trainer.app", *WORK],
    "trainer.versions.exporting": ["trainer.versions.exporting", *WORK, *TRACING],
    "trainer.work.tracing": ["trainer.work.tracing", *WORK, *TRACING],
    "flywheel": ["flywheel", "httpcore", "anyio._backends._asyncio"],
    "tests.collecting": [
        *("torch", "torch.export", "timm", "fastai.vision.all", "scipy.stats", "sklearn.cluster", "sklearn.datasets"),
        *("sklearn.model_selection", "skactiveml.pool", "cleanlab.rank", "datasets", "playwright.sync_api"),
        *("streamlit.starlette", "streamlit.components.v2", "pandas", "pyarrow.parquet"),
        *("altair", "alembic.command", "sqlmodel", "fastapi", "pydantic_settings", "prometheus_client", "typer"),
        *("huggingface_hub", "rich.table", "starlette.testclient", *SERVING, *TRACING),
    ],
}
"""What each program imports, sooner or later. The first fork of a program waits for it, as a start of its own would.
`tests.collecting` imports Flywheel and the plugins with the tests: a warning on the way is an error there.
"""
MAINS = {"labeler": "labeler.app", "trainer": "trainer.app"}  # the others hold their `main` themselves
LOOK_SECONDS = 1.0


def serve(listener: socket.socket, owner: int) -> dict[str, Any] | None:
    """Fork for each request. Returns None when the owner is gone; in a fork, returns the request."""
    running: dict[int, socket.socket] = {}
    woken, wake = socket.socketpair()
    for end in (woken, wake, listener):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    before = signal.set_wakeup_fd(wake.fileno())
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while _alive(owner):
            for key, _ in selector.select(LOOK_SECONDS):
                if key.fileobj is woken:
                    woken.recv(4096)
                    _tell_ends(running)
                    continue
                asked = listener.accept()[0]
                try:
                    request, files = _receive(asked)
                except (OSError, ValueError):  # the client was killed meanwhile
                    asked.close()
                    continue
                _import(request["program"])
                sys.stdout.flush()
                pid = os.fork()
                if not pid:
                    signal.set_wakeup_fd(before)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for each in (asked, woken, wake, listener, *running.values()):
                        each.close()
                    return request | {"files": files}
                for file in files:
                    os.close(file)
                running[pid] = asked
                with contextlib.suppress(OSError):  # as above; the fork ends by itself
                    asked.sendall(f"{pid}\n".encode())
    for pid in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return None


def _import(program: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in IMPORTS.pop(program, []):
            import_module(name)
        if program in ("labeler", "tests.collecting"):
            _scan_packages_once()
        _read_certificates_once()
    gc.collect()
    gc.freeze()  # so that garbage collection in a fork does not write to shared memory


def _scan_packages_once() -> None:
    """Skip Streamlit's search for components in all installed packages: half the start time of a labeler, and a seventh
    of what the tests in `tests/labeler` cost."""
    from streamlit.components.v2 import manifest_scanner

    manifest_scanner.scan_component_manifests = functools.cache(manifest_scanner.scan_component_manifests)
    manifest_scanner.scan_component_manifests()


def _read_certificates_once() -> None:
    """They take 30 ms of each fork that has a client for another service."""
    from shared.web import peers

    peers._certificates(trust_env=False)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _receive(asked: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The request, one line of JSON, and files for output and errors, and perhaps for input."""
    asked.setblocking(True)
    content, files, _, _ = socket.recv_fds(asked, 1 << 16, 3)
    if len(files) < 2:
        raise ValueError("The request was broken off.")
    while not content.endswith(b"\n"):
        more = asked.recv(1 << 16)
        if not more:
            raise ValueError("The request was broken off.")
        content += more
    return json.loads(content), files


def _tell_ends(running: dict[int, socket.socket]) -> None:
    """Send the exit code of a finished fork to its client."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with running.pop(pid) as asked, contextlib.suppress(OSError):  # who asked may be gone
            asked.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def become(request: dict[str, Any]) -> NoReturn:
    """Run the requested program, as if it had been started normally."""
    if request["session"]:
        os.setsid()
    with tempfile.TemporaryFile() as given:
        given.write(request["input"].encode())
        given.seek(0)
        os.dup2(given.fileno(), 0)
    for stream, file in zip((1, 2, 0), request["files"], strict=False):
        os.dup2(file, stream)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = [request["program"], *request["arguments"]]
    Path("/proc/self/comm").write_text(request["program"])  # its name in a list of processes
    sys.path[1:1] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    np.random.seed()  # otherwise each fork would draw the same numbers
    if request["until"]:
        _end_with(request["until"])
    if request["program"] in ("trainer", "trainer.jobs.worker"):
        for name, value in json.loads(os.environ.get(forks.CONSTANTS, "{}")).items():
            module, _, constant = name.rpartition(".")
            getattr(import_module(module), constant)  # it is there
            setattr(sys.modules[module], constant, value)
    if request["program"] == "trainer":
        forks.use_for_jobs()
        forks.use_for_exports()
    if request["program"] == "flywheel":
        forks.use_for_services()
    program, arguments = import_module(MAINS.get(request["program"], request["program"])), request["arguments"]
    try:
        code = int((program.main(arguments) if arguments and program.__name__ != "flywheel" else program.main()) or 0)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # as at the end of an interpreter: threads, exit handlers …
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code)  # … but not every object that was imported, which costs three seconds


def _end_with(pid: int) -> None:
    """End when the process is gone; the parent of a fork, which a worker watches, is the server."""
    watched = os.pidfd_open(pid)

    def watch() -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(watched, selectors.EVENT_READ)
            selector.select()
        os._exit(1)

    threading.Thread(target=watch, name="asked by", daemon=True).start()


def main(address: str, owner: int) -> int:
    """Continue in the background once requests are answered, and serve."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        if os.fork():
            os._exit(0)  # whoever started us waits for that
        os.setsid()
        with Path(os.devnull).open("r+") as nothing:
            for stream in (0, 1, 2):
                os.dup2(nothing.fileno(), stream)
        request = serve(listener, owner)
    if request is None:
        Path(address).unlink(missing_ok=True)
        return 0
    become(request)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
