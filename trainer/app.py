"""The trainer process: reads the settings and serves one guarded application."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if __package__ in (
    None,
    "",
):  # run as `python trainer/app.py`: import from the checkout, not from this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from filelock import FileLock, Timeout

from shared.settings.command_line import parse_command_line
from shared.settings.project_file import announce_or_warn
from shared.settings.services import SettingsError, TrainerSettings
from shared.settings.starting import remember, start
from shared.storage.disk_errors import refused_start
from shared.web.answers import PlainText
from shared.web.auth import Guard, client_headers, token_for
from shared.web.server import bind, log_to, port_option, serve, url
from shared.wire.fields import Source

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import ASGIApp

logger = logging.getLogger(__name__)

PUBLIC = frozenset({"/health"})


def create_app(settings: TrainerSettings, sources: Mapping[str, Source], *, port: int | None = None) -> ASGIApp:
    """The trainer's application. Raises SettingsError for settings that are not possible."""
    token = token_for(settings.host, os.environ)
    from trainer.routes.api import (
        create_api,  # it takes seconds to import, so the settings are checked first
    )
    from trainer.service import Trainer
    from trainer.threads import leave_a_core
    from trainer.tracking.terminal import ProgressBar

    leave_a_core(load_torch=False)
    served = port if port is not None else settings.port
    trainer = Trainer(settings, sources, headers=client_headers(token))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        bar = ProgressBar(trainer.loop.progress)
        trainer.start()
        bar.start()
        announce_or_warn(settings.workspace, "trainer", url(settings.host, served))
        try:
            yield
        finally:
            bar.close()
            trainer.close()
            announce_or_warn(settings.workspace, "trainer", None)

    api = create_api(trainer)
    api.router.lifespan_context = lifespan
    return Guard(
        PlainText(api),
        host=settings.host,
        port=served,
        token=token,
        public=PUBLIC,
        is_page=lambda path: path == "/docs",
        max_json_bytes=settings.max_json_bytes,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Start the trainer and return the exit code. An impossible setting gives one sentence on stderr and code 2."""
    workspace: Path | None = None
    try:
        line = parse_command_line(TrainerSettings, sys.argv[1:] if argv is None else argv)
        begin = start(TrainerSettings, file=line.file, command_line=line.given, change=line.change)
        settings = begin.settings
        workspace = Path(settings.workspace).absolute()
        folder = workspace / "trainer"
        token_for(settings.host, os.environ)
        if not folder.is_dir():  # a failed start writes nothing
            bind(settings.host, settings.port, option=port_option("trainer")).close()
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "trainer.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise SettingsError(
                f"Another trainer is running in {workspace}: stop it, or choose another --workspace."
            ) from None
        with lock:
            sock = bind(settings.host, settings.port, option=port_option("trainer"))
            log_to(workspace, "trainer", settings.log_level)
            for note in begin.notes:
                logger.info(note)
            app = create_app(settings, begin.sources, port=sock.getsockname()[1])
            remember(settings)
            serve(app, sock, name="Trainer")
    except Exception as error:
        refused = refused_start(error, workspace)
        if refused is None and not isinstance(error, SettingsError | OSError):
            raise
        print(f"Flywheel trainer: {refused or error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
