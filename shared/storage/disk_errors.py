"""Detects when the disk refuses writes (full, over quota, read-only, failing, too many open files) and says so.

Each service has one `Disk` for its workspace. Code that meets an error hands it to `notice`, which recognizes disk
errors, says in one sentence what is wrong and what to do, and keeps checking until the disk accepts files again.
Meanwhile, the log gets one line instead of a traceback for each attempt. This module does not know what is written.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse

from shared.figures import megabytes
from shared.wire.fields import DiskKind, DiskTrouble

logger = logging.getLogger(__name__)

ROOM_BYTES: Final = 1 << 20
"""Free bytes from which a full disk counts as usable again; a few labels would soon use up less."""
LOOK_SECONDS: Final = 1.0
REPEAT_SECONDS: Final = 60.0
"""A disk that is full again sooner than this gets no further line in the log."""
_ERRNO: Final[dict[int, DiskKind]] = {
    errno.ENOSPC: "full",
    errno.EFBIG: "full",
    errno.EDQUOT: "quota",
    errno.EROFS: "read_only",
    errno.EACCES: "read_only",
    errno.EPERM: "read_only",
    errno.EIO: "failing",
    errno.EMFILE: "descriptors",
    errno.ENFILE: "descriptors",
}
_RUST: Final = re.compile(r"\(os error (\d+)\)")
"""How libraries written in Rust, such as safetensors, report an errno."""
_SQLITE: Final[dict[int, DiskKind]] = {
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_READONLY: "read_only",
    sqlite3.SQLITE_IOERR: "failing",
    sqlite3.SQLITE_CANTOPEN: "failing",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "damaged",
}
_SENTENCES: Final[dict[DiskKind, str]] = {
    "full": "The disk of {folder} is full ({free}), so nothing new can be saved. {safe} Free some space there: "
    "Flywheel then continues by itself.",
    "quota": "Your disk quota for {folder} is used up ({free}), so nothing new can be saved. {safe} Free some "
    "space there or have the quota raised: Flywheel then continues by itself.",
    "read_only": "{folder} cannot be written to, so nothing new can be saved. {safe} Check its permissions, and "
    "whether its disk is mounted read-only: Flywheel then continues by itself.",
    "failing": "The disk of {folder} reports errors ({free}), so nothing new can be saved. {safe} Check the disk, "
    "then run `flywheel doctor`.",
    "descriptors": "Flywheel has too many files open, so this cannot be done now. {safe} It continues by itself when "
    "some are closed; if that takes long, raise the limit with `ulimit -n` and start again.",
    "damaged": "The database in {folder} is damaged, so nothing new can be saved. Stop Flywheel and run "
    "`flywheel doctor`; it says what to do.",
}
_SAFE: Final = "Everything that was confirmed is safe."


def kind_of(error: BaseException | None) -> DiskKind | None:
    """The kind of disk error in `error` or its causes; None if there is none."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        kind = None
        if isinstance(error, sqlite3.Error):
            kind = _SQLITE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
        elif isinstance(error, OSError):
            kind = _ERRNO.get(error.errno or 0)
        elif code := _RUST.search(str(error)):
            kind = _ERRNO.get(int(code[1]))
        if kind is not None:
            return kind
        error = error.__cause__ or error.__context__
    return None


def status_of(trouble: DiskTrouble) -> int:
    """The HTTP status for a request that failed: 507, or 503 if waiting is enough."""
    return 503 if trouble.kind == "descriptors" else 507


def refused_start(error: BaseException, folder: Path | None) -> str | None:
    """Why a service cannot start, if `error` means that its workspace's disk refuses writes; else None."""
    kind = kind_of(error)
    found = _try(folder) if kind is not None and folder is not None and folder.is_dir() else None
    if kind == "damaged" and folder is not None:
        return _trouble(kind, folder).message.replace("Stop Flywheel and run", "Run")
    if kind is None or folder is None or found not in ("full", "quota", "failing"):
        return None
    return f"{_trouble(found, folder).message.partition(', so ')[0]}. Free some space there, and start again."


class Disk:
    """Watches the disk of `folder`. Calls `changed` when trouble begins and when it ends."""

    def __init__(
        self, folder: Path, changed: Callable[[], None] = lambda: None, *, look_seconds: float = LOOK_SECONDS
    ) -> None:
        self.folder = folder
        self._look_seconds = look_seconds
        self._changed = changed
        self._recovered: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._trouble: DiskTrouble | None = None
        self._logged: dict[DiskKind, float] = {}
        self._logs_end = False  # the log says that this trouble began
        self._told: dict[tuple[str, str], tuple[int, float]] = {}  # (logger, message): number of the trouble, and when
        self._number = 0  # number of the current trouble
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._quiet = _Quiet(self)

    @property
    def trouble(self) -> DiskTrouble | None:
        """The current problem; None if the disk can be written to as far as we know."""
        trouble = self._trouble
        if trouble is None:
            return None
        return _trouble(trouble.kind, Path(trouble.folder))

    def start(self) -> None:
        """Keep tracebacks of disk errors out of this process's log."""
        for handler in logging.getLogger().handlers:
            handler.addFilter(self._quiet)

    def close(self) -> None:
        """Stop watching."""
        self._closed.set()
        for handler in logging.getLogger().handlers:
            handler.removeFilter(self._quiet)

    def on_recovery(self, act: Callable[[], None]) -> None:
        """Call `act` each time that the disk recovers; it must be quick."""
        self._recovered.append(act)

    def notice(self, error: BaseException) -> DiskTrouble | None:
        """The disk's problem if `error` is a disk error, else None."""
        kind = kind_of(error)
        if kind is None:
            return None
        looked = self._looked_at(kind, error)
        if looked is None:
            return None
        kind, folder = looked
        trouble = _trouble(kind, folder)
        with self._lock:
            began = self._trouble is None or self._trouble.kind != kind
            self._trouble = trouble
            now = time.monotonic()
            if began and now - self._logged.get(kind, -REPEAT_SECONDS) >= REPEAT_SECONDS:
                self._logged[kind] = now
                self._logs_end = True
                logger.error("%s", trouble.message)
            if not self._closed.is_set() and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._watch, name="disk", daemon=True)
                self._thread.start()
        if began:
            self._changed()
        return trouble

    def told(self, logger_name: str, message: str) -> bool:
        """Whether the log already has this message, from this trouble or the last minute. Remembers the message."""
        with self._lock:
            now = time.monotonic()
            number, at = self._told.get((logger_name, message), (-1, -REPEAT_SECONDS))
            if number == self._number or now - at < REPEAT_SECONDS:
                return True
            self._told[logger_name, message] = self._number, now
            return False

    def _looked_at(self, kind: DiskKind, error: BaseException) -> tuple[DiskKind, Path] | None:
        """Find what is wrong, and where, by a test write if the error does not say it. None if our files are not
        affected."""
        named = getattr(error, "filename", None)
        own = [Path(named).parent] if isinstance(named, str) and self._is_ours(Path(named)) else []
        for folder in (*own, self.folder, Path(tempfile.gettempdir())):
            found = _try(folder)
            if found is not None:
                return (kind if kind in ("quota", "damaged") else found), folder
        if kind == "read_only" and isinstance(error, OSError) and not own:
            return None  # the folder is not ours
        return kind, own[0] if own else self.folder

    def _is_ours(self, path: Path) -> bool:
        return path.parent.is_dir() and path.absolute().is_relative_to(self.folder.absolute())

    def _watch(self) -> None:
        while not self._closed.wait(self._look_seconds):
            with self._lock:
                trouble = self._trouble
                if trouble is None or trouble.kind == "damaged" or _try(Path(trouble.folder)) is not None:
                    continue
                self._trouble, self._thread = None, None
                self._number += 1
                if self._logs_end:
                    logger.warning("%s can be written to again.", trouble.folder)
                self._logs_end = False
            for act in [*self._recovered, self._changed]:
                act()
            return


class _Quiet(logging.Filter):
    """Logs a disk error as one line, once per trouble, instead of a traceback each time."""

    def __init__(self, disk: Disk) -> None:
        super().__init__()
        self._disk = disk

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write the record; shortens it."""
        error = record.exc_info[1] if record.exc_info else None
        if error is None or kind_of(error) is None:
            return True
        trouble = self._disk.notice(error)
        if trouble is None or self._disk.told(record.name, str(record.msg)):
            return False
        record.msg, record.args = f"{record.getMessage()}: {type(error).__name__}, {trouble.kind}", ()
        record.exc_info = record.exc_text = None
        return True


class LogFile(RotatingFileHandler):
    """Stays silent while the disk refuses writes; stderr and the pages show what cannot be written here."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Called when a record could not be written."""
        if kind_of(sys.exception()) is None:
            super().handleError(record)


def refusal(trouble: DiskTrouble) -> JSONResponse:
    """The answer to a request that failed because of the disk."""
    return JSONResponse(
        {"detail": trouble.message, "disk": trouble.model_dump()}, status_of(trouble), {"Retry-After": "2"}
    )


def answer_for(api: Starlette, disk: Disk, *also: type[Exception]) -> None:
    """Make `api` say what is wrong when a request fails because of the disk. Other errors are unchanged.

    `also` lists exceptions of libraries that may be caused by the disk.
    """
    from sqlalchemy.exc import DBAPIError  # not needed by the command line

    async def answer(_: Request, error: Exception) -> JSONResponse:
        trouble = disk.notice(error)
        if trouble is None:
            raise error
        return refusal(trouble)

    for kind in (OSError, DBAPIError, *also):
        api.add_exception_handler(kind, answer)


def _trouble(kind: DiskKind, folder: Path) -> DiskTrouble:
    try:
        free = shutil.disk_usage(folder).free
        no_name = hasattr(os, "statvfs") and (names := os.statvfs(folder)).f_files > 0 and names.f_favail == 0
    except OSError:
        free, no_name = 0, False
    left = f"{megabytes(free)} left" + (", but no file more can be made" if no_name else "")
    message = _SENTENCES[kind].format(folder=folder.absolute(), free=left, safe=_SAFE)
    return DiskTrouble(kind=kind, folder=str(folder.absolute()), free_bytes=free, message=message)


def _try(folder: Path) -> DiskKind | None:
    """What prevents writing a file of `ROOM_BYTES` in the folder; None if nothing does."""
    path = folder / f".disk-{os.getpid()}-{threading.get_ident()}.part"
    try:
        try:
            with path.open("wb", buffering=0) as stream:
                left = memoryview(bytes(ROOM_BYTES))
                while left:
                    left = left[stream.write(left) :]
                os.fsync(stream.fileno())
        finally:
            path.unlink(missing_ok=True)
    except OSError as error:
        return _ERRNO.get(error.errno or 0, "failing")
    return None
