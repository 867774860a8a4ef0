"""The workspace folder, held by one labeler at a time."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from shared.settings import project_file
from shared.settings.project_file import ProjectFile
from shared.settings.services import SettingsError


class WorkspaceLock:
    """Held from the start until `release` or the end of the process, however it ends.

    Raises SettingsError when another labeler has it, or when the folder cannot be written.
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
        """Say where the labeler that holds the workspace is reached."""
        project_file.announce_or_warn(self._workspace, "labeler", address)

    def release(self) -> None:
        """Let another labeler have it."""
        try:
            project_file.announce_or_warn(self._workspace, "labeler", None)
        finally:
            self._lock.release()
