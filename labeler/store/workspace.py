"""The workspace folder, used by one labeler at a time."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from shared.settings import project_file
from shared.settings.project_file import ProjectFile
from shared.settings.services import SettingsError


class WorkspaceLock:
    """A lock held until `release`, or until the process ends in any way.

    Raises SettingsError if another labeler holds it, or if the folder cannot be written to.
    """

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        try:
            workspace.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(workspace / "labeler.lock")
            self._lock.acquire(timeout=0)
        except Timeout:
            project = ProjectFile.read(workspace)
            where = project.labeler_address if project is not None else None
            reach = f"open {where}, or stop it first" if where else "stop it first"
            raise SettingsError(f"Another labeler is running on the workspace {workspace}: {reach}.") from None
        except OSError as error:
            raise SettingsError(f"The workspace {workspace} cannot be used: {error.strerror}.") from None

    def announce(self, address: str) -> None:
        """Store the URL of the labeler that holds the workspace."""
        project_file.announce_or_warn(self._workspace, "labeler", address)

    def release(self) -> None:
        """Release the workspace for another labeler."""
        try:
            project_file.announce_or_warn(self._workspace, "labeler", None)
        finally:
            self._lock.release()
