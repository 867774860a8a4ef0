"""`project.toml`: a workspace's record of its project, and the addresses of its services.

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
from typing import Annotated, Any

import tomli_w
from filelock import FileLock, Timeout
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from shared.images.sources.addresses import AddressProblem, Place, is_address, is_within, name_of, place
from shared.settings.services import SettingsError
from shared.storage.file_errors import cause_of
from shared.storage.whole_files import write_whole
from shared.tasks.classification import CLASSIFICATION
from shared.tasks.registry import task_named

log = logging.getLogger(__name__)

FILE = "project.toml"
DATABASE = "flywheel.db"  # the labeler's; its presence marks a project of an older version
WORKSPACE, DEMO_WORKSPACE = Path("workspace"), Path("workspace-demo")
ENVIRONMENT = "FLYWHEEL_WORKSPACE"
LOCK_SECONDS = 10.0
LABELER_HEADER, LOG_HEADER = "Flywheel-Labeler", "Flywheel-Log"  # a labeler tells the trainer its address and log_id
HEADER = (
    "# Flywheel writes this file. It remembers what the project is made of, so that a start without arguments\n"
    "# continues here. Stop Flywheel before you edit it.\n\n"
)


class Change(BaseModel):
    """A setting changed on a page. It applies as long as the start still gives the value that it replaced:
    `instead_of`."""

    value: Any
    instead_of: Any = None


class ProjectFile(BaseModel):
    """The content of `project.toml`."""

    model_config = ConfigDict(extra="forbid")

    name: str = ""
    task: Annotated[str, AfterValidator(lambda name: task_named(name).name)] = CLASSIFICATION.name
    demo: bool = False  # the handwritten digits, which cannot be replaced by photos
    made_at: datetime = Field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    labeler: dict[str, Any] = Field(default_factory=dict)  # settings that define the project
    trainer: dict[str, Any] = Field(default_factory=dict)
    folders: dict[str, str] = Field(default_factory=dict)  # further places with images: name → path or address
    backbone: dict[str, Any] = Field(default_factory=dict)  # the backbone that "auto" resolved to
    changed: dict[str, dict[str, Change]] = Field(default_factory=dict)  # service → setting → change
    ports: dict[str, int] = Field(default_factory=dict)  # service → port that `flywheel up` was given last
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
            raise SettingsError(
                f"{path} cannot be read: {cause_of(error)}. Correct it, or restore it from a backup."
            ) from None

    @property
    def labeler_address(self) -> str | None:
        """The address where the labeler listens, or last listened if it was killed."""
        return self.services.get("labeler")

    @property
    def trainer_address(self) -> str | None:
        """The address where the trainer listens, or last listened if it was killed."""
        return self.services.get("trainer")

    def dump(self) -> bytes:
        """The content of the file."""
        return (HEADER + tomli_w.dumps(self.model_dump(exclude_none=True))).encode()

    def images(self, workspace: Path) -> list[Place]:
        """The image folders and other places with images: first the original one, then the added ones."""
        first = self.labeler.get("images")
        given = [first] if first else [str(workspace / "demo" / "images")] if self.demo else []
        return [absolute(path, workspace) for path in [*given, *self.folders.values()]]

    def further(self, workspace: Path) -> dict[str, Place]:
        """The added image folders and other places: name → place."""
        return {name: absolute(path, workspace) for name, path in self.folders.items()}

    def join(self, given: str | Path, workspace: Path) -> str | None:
        """Add a place with images; returns its name, or None if the project already has it.

        Raises SettingsError if it is none, or if it is inside another place of the project or contains one.
        """
        from shared.images.sources.choosing import ending, why_not  # late, because a --help opens no image

        new = place_of(given)
        present = self.images(workspace)
        if isinstance(new, Path):
            new = tidy(new)
            if why_not(new) is not None:
                raise SettingsError(f"{given} is not a folder that can be read here, nor a file that contains images.")
        if any(_same_place(new, each) for each in present):
            return None
        for each in [*present, workspace.absolute()] if not ending(new) else []:  # a scan of a folder opens no archive
            if _is_inside(new, each):
                raise SettingsError(f"{given} is inside {each}, which the project already has.")
            if _is_inside(each, new):
                raise SettingsError(
                    f"{given} contains {each}, which the project already has: add its other folders instead."
                )
        plain = name_of(new) or "folder"
        first = present[0] if present and isinstance(present[0], Path) else workspace
        names = (plain, *(f"{plain}-{number}" for number in range(2, 10_000)))
        name = next(name for name in names if name not in self.folders and not (first / name).exists())
        self.folders[name] = portable(new, workspace)
        return name


@contextmanager
def edit(workspace: Path) -> Iterator[ProjectFile]:
    """Read the file (or start a new one), let the caller change it, and write it if it changed. Raises
    SettingsError."""
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
    """The image folders of a workspace's project, for programs that read images besides the labeler. Thread-safe.

    The file is read again when it changes, so that an added folder is found without a restart.
    """

    def __init__(self, workspace: Path, first: str = "") -> None:
        """`first` replaces the project's own first folder."""
        self._workspace = workspace
        self._first = absolute(first, Path()) if first else None
        self._seen: tuple[int, int] | None = None
        self._known: tuple[Place | None, dict[str, Place]] = (self._first, {})

    def places(self, uri: str) -> Iterator[tuple[Place, str]]:
        """Where the image with this URI may be: pairs of a place and the path inside it."""
        first, further = self._read()
        name, _, rest = uri.partition("/")
        if name in further and rest:
            yield further[name], rest
        if first is not None:
            yield first, uri

    def _read(self) -> tuple[Place | None, dict[str, Place]]:
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


def add_folder(workspace: Path, folder: str | Path) -> str | None:
    """Add an image folder or another place with images; a running labeler notices it within seconds.

    Raises SettingsError: see `ProjectFile.join`.
    """
    with edit(workspace) as project:
        if project.demo:
            raise SettingsError(
                "You cannot add photos to the demo: start `flywheel up PHOTOS` for a project of your own."
            )
        return project.join(folder, workspace)


def announce(workspace: Path, service: str, address: str | None) -> None:
    """Write where a service listens, or that it no longer does (`address` None). Raises SettingsError."""
    if address is None and not (workspace / FILE).is_file():
        return
    with edit(workspace) as project:
        if address is None:
            project.services.pop(service, None)
        else:
            project.services[service] = address


def announce_or_warn(workspace: Path, service: str, address: str | None) -> None:
    """Like `announce`, but only log a warning if it cannot be written, for example on a full disk."""
    try:
        announce(workspace, service, address)
    except SettingsError as error:
        log.warning("%s Commands may not find the %s.", error, service)


def is_project(workspace: Path) -> bool:
    """Whether the folder holds a project, even of an older version."""
    return (workspace / FILE).is_file() or (workspace / DATABASE).is_file()


def is_demo(workspace: Path) -> bool:
    """Whether this is the demo's workspace."""
    try:
        project = ProjectFile.read(workspace)
    except SettingsError:
        return False
    return project is not None and project.demo


def default_workspace(*, photos: bool = False) -> Path:
    """The workspace if none is named: `FLYWHEEL_WORKSPACE`, else ./workspace, else the demo's ./workspace-demo.

    If photos are given, it is ./workspace even if that does not exist yet.
    """
    named = os.environ.get(ENVIRONMENT)
    if named:
        return Path(named)
    return WORKSPACE if photos or is_project(WORKSPACE) else DEMO_WORKSPACE


def trainer_command(workspace: Path) -> str:
    """The shell command that starts the trainer of a project; does not name the default workspace."""
    folder = workspace.expanduser().absolute()
    usual = folder == default_workspace().expanduser().absolute()
    return shlex.join(["flywheel", "trainer", *([] if usual else ["--workspace", str(folder)])])


def whose(workspace: Path) -> dict[str, str]:
    """The project that a service serves: `name` and `workspace`; the file is read again only when it has changed."""
    try:
        stamp = (workspace / FILE).stat().st_mtime_ns
    except OSError:
        stamp = 0
    return {"name": _name(workspace, stamp), "workspace": str(tidy(workspace))}


@lru_cache(maxsize=8)
def _name(workspace: Path, _stamp: int) -> str:
    file = ProjectFile.read(workspace)
    return file.name if file is not None else ""


def place_of(given: str | Path) -> Place:
    """The place with images that a person names. Raises SettingsError."""
    try:
        return place(str(given))
    except AddressProblem as problem:
        raise SettingsError(f"The address of these images {problem}.") from None  # not repeated: it may hold a password


def portable(path: str | Path, workspace: Path) -> str:
    """A path as the file stores it: relative if it is in the workspace, which may be moved; else absolute. An address
    stays as it is. Raises SettingsError for a name that is not UTF-8, because TOML is.
    """
    if is_address(str(path)):
        return str(place_of(path))
    full, home = tidy(Path(path).expanduser()), tidy(workspace)
    stored = str(full.relative_to(home)) if full.is_relative_to(home) else str(full)
    if stored.encode("utf-8", "replace").decode() != stored:
        raise SettingsError(f"A project cannot store the name {stored!a}, because it is not UTF-8: rename it.")
    return stored


def absolute(stored: str, workspace: Path) -> Place:
    """The place that `portable` stored."""
    known = place_of(stored)
    return tidy(workspace / known) if isinstance(known, Path) else known


def tidy(path: Path) -> Path:
    """The absolute path, without `..` unless a link makes `folder/..` another place."""
    full = path.absolute()
    if ".." not in full.parts:
        return full
    plain = Path(os.path.normpath(full))
    return plain if plain.resolve() == full.resolve() else full


def _same_place(one: Place, other: Place) -> bool:
    if isinstance(one, Path) and isinstance(other, Path):
        return one.resolve() == other.resolve()
    return one == other or (isinstance(one, str) and one.rstrip("/") == str(other).rstrip("/"))


def _is_inside(inner: Place, outer: Place) -> bool:
    if isinstance(inner, Path) and isinstance(outer, Path):
        return inner.resolve().is_relative_to(outer.resolve())
    return isinstance(inner, str) and isinstance(outer, str) and is_within(inner, [outer])
