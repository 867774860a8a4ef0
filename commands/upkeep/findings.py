"""Findings of `flywheel doctor`, and the workspace that it checks: folder, settings, running services."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from commands.running.stored_labels import labels_of
from shared.log import Fold
from shared.settings.project_file import DATABASE, FILE, ProjectFile
from shared.settings.services import SettingsError
from shared.storage.database import open_engine, parsed

LOCKS = {"labeler": "labeler.lock", "trainer": "trainer/trainer.lock"}
"""Service → the lock file that it holds while it runs."""


@dataclass(frozen=True)
class Finding:
    """One problem if `wrong`, else something worth knowing."""

    check: str
    what: str  # a sentence
    advice: str = ""  # a sentence on what a person can do
    wrong: bool = True
    mend: str = ""  # what a repair does, as an imperative: "Delete …"; empty if there is no safe repair
    act: Callable[[], None] | None = field(default=None, repr=False, compare=False)

    def told(self) -> dict[str, Any]:
        """The finding as JSON."""
        return {"check": self.check, "what": self.what, "wrong": self.wrong, "mend": self.mend, "advice": self.advice}


class Workspace:
    """A workspace on disk. Reading it changes nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trainer = folder / "trainer"
        self.replica = self.trainer / "replica.db"
        self.fold: Fold | None = None  # the state after the log, once it has been read completely
        self.unreadable: str | None = None  # what is wrong with project.toml
        try:
            self.project = ProjectFile.read(folder)
        except SettingsError as error:
            self.project, self.unreadable = None, str(error)

    @cached_property
    def running(self) -> list[str]:
        """The services that are running here."""
        return [service for service, lock in LOCKS.items() if _is_held(self.folder / lock)]

    @property
    def database(self) -> Path | None:
        """The labeler's database file; None if its labels are in a database server."""
        url = self._address
        if url is None:
            return self.folder / DATABASE
        return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None

    @property
    def labels(self) -> str:
        """Where the labels are, in words."""
        return str(self.database or self._address)  # SQLAlchemy hides the password

    @contextmanager
    def reading(self) -> Iterator[Engine]:
        """The labeler's database, opened for reading within the block: a file, or a server. Raises SettingsError if its
        password is not given."""
        base = self.database
        if base is not None:
            engine = create_engine("sqlite://", creator=lambda: read(base))
        else:
            engine = open_engine(labels_of(self.folder))
        try:
            yield engine
        finally:
            engine.dispose()

    @property
    def _address(self) -> URL | None:
        """The address of the database; None if the settings name none. Raises SettingsError if it is none."""
        given = str(self.project.labeler.get("database_url") or "") if self.project is not None else ""
        try:
            return parsed(given) if given else None
        except ArgumentError:
            raise SettingsError(
                f"The labels of {self.folder} cannot be found: the 'database_url' in {self.folder / FILE} is not an "
                "address of a database. Correct it there."
            ) from None

    def roots(self) -> dict[str, Path]:
        """Root → folder, for the roots that are folders; see `labeler.images.file_index`."""
        found = {"uploads": self.folder / "uploads"}
        if self.project is None:
            return found
        own = self.project.images(self.folder)[: -len(self.project.folders) or None]
        if own and isinstance(own[0], Path):
            found["images"] = own[0]
        test = Path(str(self.project.labeler.get("test_set") or ""))
        if test.is_dir() and test != Path():
            found["test"] = test
        further = self.project.further(self.folder).items()
        return found | {f"images/{name}": path for name, path in further if isinstance(path, Path)}

    def kept(self, path: Path) -> Path:
        """A new name beside the file, for a copy of it before it is changed."""
        number = 1
        while (aside := path.with_name(f"{path.name}.before-doctor-{number}")).exists():
            number += 1
        return aside


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep both services out of the folder within the block. Raises SettingsError if one is running."""
    with ExitStack() as held:
        for service, lock in LOCKS.items():
            if (folder / lock).parent.is_dir():
                try:
                    held.enter_context(FileLock(folder / lock, timeout=0))
                except Timeout:
                    raise SettingsError(f"The {service} of {folder} is running: stop Flywheel first.") from None
        yield


def read(path: Path) -> sqlite3.Connection:
    """Open a SQLite file without writing to it. If nobody uses it, no file is created beside it either."""
    alone = "" if path.with_name(f"{path.name}-wal").exists() else "&immutable=1"
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{alone}", uri=True, timeout=10, check_same_thread=False)


def _is_held(lock: Path) -> bool:
    try:
        with lock.open("rb") as stream:  # like `filelock`, but without changing the file
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no such file, or a disk without locks
        pass
    return False
