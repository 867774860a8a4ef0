"""The audit trail: who changed settings, classes, splits and versions, when, and from which address.

Each change is one line of JSON in `WORKSPACE/logs/SERVICE-audit.jsonl`, apart from the program's log, so that people
and programs find changes without reading the rest. Labels are not in the trail: the annotation log
has them, each with its annotator. The trail is a Python logger, so that an application that embeds a service can send
it elsewhere too.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from shared.storage.disk_errors import LogFile

MAX_BYTES: Final = 5_000_000
KEPT: Final = 20  # number of files of that size; older ones are deleted
HEADER: Final = "Flywheel-Asked-From"  # how the labeler tells the trainer whose request it forwards
_asked_from: ContextVar[str] = ContextVar("asked_from", default="")
_asked_for: ContextVar[str] = ContextVar("asked_for", default="")

_logger = logging.getLogger("flywheel.audit")
_page: list[Callable[[], str | None]] = []


def keep_in(workspace: Path, service: str) -> None:
    """Write the audit trail of this process to `workspace`/logs."""
    folder = workspace / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    handler = LogFile(folder / f"{service}-audit.jsonl", maxBytes=MAX_BYTES, backupCount=KEPT, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(message)s"))
    _logger.setLevel(logging.INFO)
    _logger.propagate = False
    for before in _logger.handlers:
        before.close()
    _logger.handlers = [handler]


def begin(client: str, passed_on: str = "") -> None:
    """Remember that the current request comes from address `client`, on behalf of the address `passed_on`."""
    _asked_from.set(client)
    try:
        _asked_for.set(str(ip_address(passed_on)))
    except ValueError:
        _asked_for.set("")


def origin() -> str:
    """The address behind the current request or page; "" if unknown."""
    return _asked_from.get() or next((address() or "" for address in _page), "")


def pages_come_from(address: Callable[[], str | None]) -> None:
    """Set how to find the address of a Streamlit page, which calls the service without a request. `address` must be
    quick."""
    _page[:] = [address]


def note(what: str, *, by: str = "", **more: Any) -> None:
    """Record a change: `what` in two or three words, the person in `by` if known, and details in `more`."""
    when = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = {"at": when, "from": origin(), "for": _asked_for.get(), "by": by, "what": what, **more}
    _logger.info(json.dumps({name: value for name, value in line.items() if value != ""}, default=str))
