"""The projects recently started on this machine, so that a forgotten workspace can be found again.

They are in one small file in the user's state folder. If it cannot be read or written, the list is shorter, but nothing
else is affected.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel, TypeAdapter, ValidationError

from shared.settings.project_file import ProjectFile
from shared.settings.services import SettingsError
from shared.settings.user_folders import state_folder
from shared.storage.whole_files import write_whole

MOST = 30
LOCK_SECONDS = 2.0

log = logging.getLogger(__name__)


class Recent(BaseModel):
    """A project that was started on this machine."""

    workspace: Path
    started: datetime

    def project(self) -> ProjectFile | None:
        """The current content of its project file; None if it is missing or unreadable."""
        try:
            return ProjectFile.read(self.workspace)
        except SettingsError:
            return None


def note(workspace: Path) -> None:
    """Put a project that is starting at the top of the list."""
    path = _file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock"), timeout=LOCK_SECONDS):
            others = [each for each in _read(path) if each.workspace != workspace.absolute()]
            now = Recent(workspace=workspace.absolute(), started=datetime.now(UTC).replace(microsecond=0))
            write_whole(path, _LIST.dump_json([now, *others][:MOST], indent=1))
    except (OSError, Timeout) as error:
        log.info("The list of recent projects could not be written: %s.", error)


def recent() -> list[Recent]:
    """Projects whose workspace still exists, latest first."""
    return [each for each in _read(_file()) if each.project() is not None]


def _file() -> Path:
    return state_folder() / "recent.json"


def _read(path: Path) -> list[Recent]:
    try:
        return _LIST.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return []


_LIST = TypeAdapter(list[Recent])
