"""`project.toml`: what a workspace remembers about its project, and where its services listen.

Both services and the command line read it, so a start without arguments continues the same project and every command
finds the running services. The file is small, readable and replaced as a whole under a lock, because two services
write to it. It holds no secrets: a database address is stored without its password.
"""

from __future__ import annotations

import logging
import os
import shlex
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import tomli_w
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.settings.services import SettingsError
from shared.storage.whole_files import write_whole

log = logging.getLogger(__name__)

FILE = "project.toml"
DATABASE = "flywheel.db"  # the labeler's, which makes a folder of an older version a project too
WORKSPACE, DEMO_WORKSPACE = Path("workspace"), Path("workspace-demo")
ENVIRONMENT = "FLYWHEEL_WORKSPACE"
LOCK_SECONDS = 10.0
LABELER_HEADER, LOG_HEADER = "Flywheel-Labeler", "Flywheel-Log"  # a labeler tells the trainer its address and log_id
HEADER = (
    "# Flywheel writes this file. It remembers what the project is made of, so that a start without arguments\n"
    "# continues here. Stop Flywheel before you edit it.\n\n"
)


class Change(BaseModel):
    """A setting changed on a page. It holds while the start still gives what it replaced: `instead_of`."""

    value: Any
    instead_of: Any = None


class ProjectFile(BaseModel):
    """The content of `project.toml`."""

    model_config = ConfigDict(extra="forbid")

    name: str = ""
    task: Literal["classification"] = "classification"
    demo: bool = False  # the handwritten digits; no photos can be put in their place
    made_at: datetime = Field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    labeler: dict[str, Any] = Field(default_factory=dict)  # settings that the project was made with
    trainer: dict[str, Any] = Field(default_factory=dict)
    folders: dict[str, str] = Field(default_factory=dict)  # further image folders: name → path
    backbone: dict[str, Any] = Field(default_factory=dict)  # what the backbone "auto" became
    changed: dict[str, dict[str, Change]] = Field(default_factory=dict)  # service → setting → change
    services: dict[str, str] = Field(default_factory=dict)  # service → address, while it runs

    @classmethod
    def read(cls, workspace: Path) -> ProjectFile | None:
        """The file of a workspace; None if there is none. Raises SettingsError if it cannot be read."""
        path = workspace / FILE
        try:
            return cls.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            raise SettingsError(f"The workspace {workspace} is not a folder.") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise SettingsError(f"{path} cannot be read: {where}: {first['msg']}. Correct it.") from None
        except (OSError, ValueError) as error:
            raise SettingsError(f"{path} cannot be read: {error}. Correct it, or restore it from a backup.") from None

    @property
    def labeler_address(self) -> str | None:
        """Where the labeler listens, or listened last if it was killed."""
        return self.services.get("labeler")

    @property
    def trainer_address(self) -> str | None:
        """Where the trainer listens, or listened last if it was killed."""
        return self.services.get("trainer")

    def dump(self) -> bytes:
        """The content of the file."""
        return (HEADER + tomli_w.dumps(self.model_dump(exclude_none=True))).encode()

    def images(self, workspace: Path) -> list[Path]:
        """The image folders, the first one first, then the added ones."""
        first = self.labeler.get("images")
        given = [first] if first else [str(workspace / "demo" / "images")] if self.demo else []
        return [absolute(path, workspace) for path in [*given, *self.folders.values()]]

    def further(self, workspace: Path) -> dict[str, Path]:
        """The added image folders: name → path."""
        return {name: absolute(path, workspace) for name, path in self.folders.items()}

    def join(self, folder: Path, workspace: Path) -> str | None:
        """Add an image folder; returns its name, or None if it is a folder of the project already.

        Raises SettingsError for what is no folder, and for one that lies in another of the project's or holds one.
        """
        new = folder.expanduser().absolute()
        if not new.is_dir():
            raise SettingsError(f"{folder} is not a folder that can be read here.")
        present = self.images(workspace)
        if any(new.resolve() == each.resolve() for each in present):
            return None
        for each in [*present, workspace.absolute()]:
            if new.resolve().is_relative_to(each.resolve()):
                raise SettingsError(f"{folder} lies in {each}, which belongs to the project already.")
            if each.resolve().is_relative_to(new.resolve()):
                raise SettingsError(f"{folder} holds {each}, which belongs to the project already: add the rest of it.")
        plain, first = new.name or "folder", present[0] if present else workspace
        names = (plain, *(f"{plain}-{number}" for number in range(2, 10_000)))
        name = next(name for name in names if name not in self.folders and not (first / name).exists())
        self.folders[name] = portable(new, workspace)
        return name


@contextmanager
def edit(workspace: Path) -> Iterator[ProjectFile]:
    """Read the file (or begin one), let the caller change it, and write it if it changed. Raises SettingsError."""
    try:
        workspace.mkdir(parents=True, exist_ok=True)
        with FileLock(workspace / "project.lock", timeout=LOCK_SECONDS):
            before = ProjectFile.read(workspace)
            project = before.model_copy(deep=True) if before is not None else ProjectFile()
            yield project
            if project != before:
                write_whole(workspace / FILE, project.dump())
    except Timeout:
        raise SettingsError(f"{workspace / FILE} is locked by another process; try again.") from None
    except OSError as error:
        raise SettingsError(f"{workspace / FILE} cannot be written: {error.strerror}.") from None


class ImageFolders:
    """The image folders of a workspace's project, for whoever reads images beside the labeler. Safe from any thread.

    The file is read again when it changes, so a folder that joins is found without a restart.
    """

    def __init__(self, workspace: Path, first: str = "") -> None:
        """`first` goes before the project's own first folder."""
        self._workspace = workspace
        self._first = Path(first).expanduser().absolute() if first else None
        self._seen: tuple[int, int] | None = None
        self._known: tuple[Path | None, dict[str, Path]] = (self._first, {})

    def places(self, uri: str) -> Iterator[tuple[Path, str]]:
        """Where an image with this address may lie: folder, and the address in it."""
        first, further = self._read()
        name, _, rest = uri.partition("/")
        if name in further and rest:
            yield further[name], rest
        if first is not None:
            yield first, uri

    def _read(self) -> tuple[Path | None, dict[str, Path]]:
        try:
            status = (self._workspace / FILE).stat()
            stamp = (status.st_mtime_ns, status.st_size)
        except OSError:
            return self._known
        if stamp != self._seen:
            try:
                project = ProjectFile.read(self._workspace)
            except SettingsError:
                return self._known
            if project is not None:
                own = project.images(self._workspace)[: -len(project.folders) or None]
                first = self._first or (own[0] if own else None)
                self._known, self._seen = (first, project.further(self._workspace)), stamp
        return self._known


def add_folder(workspace: Path, folder: Path) -> str | None:
    """Add an image folder to a project; a labeler that runs takes it in within seconds. See `ProjectFile.join`."""
    with edit(workspace) as project:
        if project.demo:
            raise SettingsError("The demo takes no photos: start `flywheel up PHOTOS` for a project of your own.")
        return project.join(folder, workspace)


def announce(workspace: Path, service: str, address: str | None) -> None:
    """Write where a service listens, or that it no longer does (None)."""
    if address is None and not (workspace / FILE).is_file():
        return
    with edit(workspace) as project:
        if address is None:
            project.services.pop(service, None)
        else:
            project.services[service] = address


def announce_or_warn(workspace: Path, service: str, address: str | None) -> None:
    """The same for a service, which works also where it cannot be written: on a full disk, say."""
    try:
        announce(workspace, service, address)
    except SettingsError as error:
        log.warning("%s Commands may look for the %s in the wrong place.", error, service)


def is_project(workspace: Path) -> bool:
    """Whether the folder holds a project, of an older version too."""
    return (workspace / FILE).is_file() or (workspace / DATABASE).is_file()


def is_demo(workspace: Path) -> bool:
    """Whether the workspace is the demo's."""
    try:
        project = ProjectFile.read(workspace)
    except SettingsError:
        return False
    return project is not None and project.demo


def default_workspace(*, photos: bool = False) -> Path:
    """The workspace when none is named: `FLYWHEEL_WORKSPACE`, else ./workspace, else the demo's ./workspace-demo.

    With `photos` given, ./workspace is made if it is not there.
    """
    named = os.environ.get(ENVIRONMENT)
    if named:
        return Path(named)
    return WORKSPACE if photos or is_project(WORKSPACE) else DEMO_WORKSPACE


def trainer_command(workspace: Path) -> str:
    """The command that starts the trainer of a project, as it is typed in a shell; the usual workspace goes unnamed."""
    folder = workspace.expanduser().absolute()
    usual = folder == default_workspace().expanduser().absolute()
    return shlex.join(["flywheel", "trainer", *([] if usual else ["--workspace", str(folder)])])


def whose(workspace: Path) -> dict[str, str]:
    """Which project a service answers for: `name` and `workspace`, read again only when the file has changed."""
    try:
        stamp = (workspace / FILE).stat().st_mtime_ns
    except OSError:
        stamp = 0
    return {"name": _name(workspace, stamp), "workspace": str(workspace.absolute())}


@lru_cache(maxsize=8)
def _name(workspace: Path, _stamp: int) -> str:
    file = ProjectFile.read(workspace)
    return file.name if file is not None else ""


def portable(path: str | Path, workspace: Path) -> str:
    """A path as the file stores it: relative if it lies in the workspace, which may move; else absolute."""
    full, home = Path(path).expanduser().absolute(), workspace.absolute()
    return str(full.relative_to(home)) if full.is_relative_to(home) else str(full)


def absolute(stored: str, workspace: Path) -> Path:
    """The path that `portable` stored."""
    return workspace.absolute() / Path(stored).expanduser()
