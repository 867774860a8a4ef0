"""Finds the labels of a workspace whose services may be stopped: in its file, or in a database server."""

from __future__ import annotations

import os
from pathlib import Path

from commands.running.place import shown
from shared.settings.project_file import DATABASE, ProjectFile
from shared.settings.services import SettingsError

DATABASE_VARIABLE = "FLYWHEEL_LABELER__DATABASE_URL"


def is_workspace(folder: Path) -> bool:
    """Whether the folder holds a project, whose labels may be in a database server. Raises SettingsError."""
    return folder.is_dir() and ((folder / DATABASE).is_file() or server_of(folder) != "")


def labels_of(workspace: Path, database_url: str = "") -> str:
    """The address of the project's labels. Raises SettingsError if they are in a server whose password is not given."""
    known = server_of(workspace)
    if not known:
        return f"sqlite:///{(workspace / DATABASE).absolute()}"
    database_url = database_url or os.environ.get(DATABASE_VARIABLE, "")
    if "***" in known and not database_url:
        raise SettingsError(
            f"The labels of {shown(workspace)} are in {known}: give that address with its password, with "
            f"--database-url or in {DATABASE_VARIABLE}."
        )
    from shared.storage.database import masked

    if database_url and masked(database_url) != known:
        raise SettingsError(f"The labels of {shown(workspace)} are in {known}, not in {masked(database_url)}.")
    return database_url or known


def server_of(workspace: Path) -> str:
    """The database server of the project, without its password; empty if its labels are in a file of the workspace."""
    project = ProjectFile.read(workspace)
    known = str(project.labeler.get("database_url") or "") if project is not None else ""
    return "" if known.startswith("sqlite") else known
