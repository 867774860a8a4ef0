"""The labeler process: starts one application that serves pages and routes on one port."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # started as `python labeler/app.py`: import from the checkout, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp

from shared.settings import recent_projects
from shared.settings.command_line import parse_command_line
from shared.settings.services import LabelerSettings, SettingsError
from shared.settings.starting import check_photos, remember, start
from shared.storage.disk_errors import refused_start
from shared.tasks.registry import task_named
from shared.web import audit
from shared.web.answers import PlainText
from shared.web.auth import Guard, token_for
from shared.web.server import bind, log_to, port_option, serve, url
from shared.wire.fields import Source

PAGES = Path(__file__).resolve().parent / "ui" / "main.py"
MEGABYTE = 1_000_000
SWITCH_SECONDS = 0.001
"""How long a thread that computes may keep the interpreter from others. A request changes threads about four times, so
that with Python's 5 ms a question would come 20 ms later while somebody lists the grid."""
logger = logging.getLogger(__name__)


def create_app(settings: LabelerSettings, sources: Mapping[str, Source], *, port: int | None = None) -> ASGIApp:
    """The labeler's application; `port` is the served port if the settings leave it open.

    Its service starts and ends with the application. Raises SettingsError for invalid settings.
    """
    token = token_for(settings.host, os.environ)
    from labeler.service import Service  # these take seconds to import, so the settings are checked first
    from labeler.ui.parts.scripts import ROUTE, script
    from labeler.web.api import create_api

    served = settings.port if port is None else port
    address = url(settings.host, served)
    service = Service(settings, sources, token=token, address=address)

    @asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[None]:
        _take_back_loggers()
        audit.pages_come_from(_visitor)
        service.workspace.announce(address)
        service.store.announce(address, on_lost=_end)
        service.start()
        threading.Thread(target=_warm_up, name="warm-up", daemon=True).start()
        try:
            yield
        finally:
            service.close()

    # Streamlit serves its first page only at the root, and calls its own name an unknown page.
    routes = [Route(ROUTE, script), Mount("/api", create_api(service)), Route("/label", _to_first_page)]
    return Guard(
        PlainText(_with_pages(settings, routes, lifespan)),
        host=settings.host,
        port=served,
        token=token,
        is_page=is_page,
        max_request_bytes=settings.max_request_bytes,
        max_json_bytes=settings.max_json_bytes,
    )


def is_page(path: str) -> bool:
    """Whether the path is a page, to which any site may link: `/`, `/label`, the route documentation."""
    return path == "/api/docs" or ("/" not in path[1:] and path not in ("/api", "/_stcore"))


def main(argv: Sequence[str] | None = None) -> int:
    """Start the labeler; returns the exit code. An invalid setting prints one sentence on stderr and returns 2.

    Everything is checked before anything is written, so that a failed start leaves no half-made workspace.
    """
    workspace: Path | None = None
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        line = parse_command_line(LabelerSettings, sys.argv[1:] if argv is None else argv)
        begin = start(LabelerSettings, file=line.file, command_line=line.given, change=line.change)
        settings = begin.settings
        workspace = settings.workspace
        token_for(settings.host, os.environ)
        check_photos(settings)
        if settings.test_set:
            from labeler.transfer.test_set import open_test_set  # takes a moment, and is rarely needed

            open_test_set(settings.test_set, task_named(settings.task))
        sock = bind(settings.host, settings.port, option=port_option("labeler"))
        with sock:
            log_to(settings.workspace, "labeler", settings.log_level)
            for note in begin.notes:
                logger.info(note)
            app = _first_to_write(settings, begin.sources, sock)
            remember(settings)
            recent_projects.note(settings.workspace)
            serve(app, sock, name="Labeler")
    except Exception as error:
        refused = refused_start(error, workspace)
        if refused is None and not isinstance(error, SettingsError | OSError):
            raise
        print(f"Flywheel labeler: {refused or error}", file=sys.stderr)
        return 2
    return 0


def _first_to_write(settings: LabelerSettings, sources: Mapping[str, Source], sock: socket.socket) -> ASGIApp:
    """The application. Waits until no other labeler writes to the database."""
    while True:
        try:
            return create_app(settings, sources, port=sock.getsockname()[1])
        except SettingsError as refused:
            from labeler.standby import stand_by  # here, because only teams with PostgreSQL need it
            from labeler.store.writer import Taken

            if not isinstance(refused, Taken):
                raise
            stand_by(settings, sock, token_for(settings.host, os.environ), refused)


def _end() -> None:
    """End in order, so that the parent process restarts us."""
    os.kill(os.getpid(), signal.SIGTERM)


def _with_pages(settings: LabelerSettings, routes: list[BaseRoute], lifespan: Any) -> ASGIApp:
    if not PAGES.is_file():
        return Starlette(routes=routes, lifespan=lifespan)
    import streamlit
    from streamlit import config

    app = streamlit.App(PAGES, lifespan=lifespan, routes=routes)  # now it knows where `.streamlit/config.toml` is
    config.set_option("server.maxUploadSize", max(1, settings.max_request_bytes // MEGABYTE))
    return app


def _to_first_page(request: Request) -> RedirectResponse:
    return RedirectResponse(str(request.url.replace(path="/", scheme="", netloc="")))


def _visitor() -> str | None:
    """The address of the visitor whose page is being drawn; Streamlit returns none for this machine's own."""
    from streamlit.runtime.scriptrunner import get_script_run_ctx  # already loaded if there are pages

    if get_script_run_ctx(suppress_warning=True) is None:
        return None
    import streamlit

    address = streamlit.context.ip_address
    return address if isinstance(address, str) else "127.0.0.1"  # a page drawn without a browser has none either


def _warm_up() -> None:
    """Import what Streamlit needs for its first component, so that no visitor waits for it."""
    for name in ("pyarrow", "pandas"):
        import_module(name)


def _take_back_loggers() -> None:
    """Remove Streamlit's own handlers from the server's loggers; one of them logs every request."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "websockets"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.access").disabled = True


if __name__ == "__main__":
    sys.exit(main())
