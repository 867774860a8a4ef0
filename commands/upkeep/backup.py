"""`flywheel backup` copies a workspace while it is in use, and `flywheel restore` puts the copy back.

SQLite's online backup copies the database, so labeling continues. The copy gets a new `log_id`. So a trainer sees
another log after a restore and starts again from its rows, instead of relying on newer rows that the backup lacks.

Labels in a database server are copied into a file as well, so a backup is complete and needs no tool of that server.
Restoring puts them back into the server if the workspace keeps its labels there.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer
from filelock import FileLock, Timeout
from rich.console import Console

from commands.running.consent import Yes, consent
from commands.running.given_paths import folder, new_folder
from commands.running.place import Workspace, shown
from commands.running.stored_labels import DATABASE_VARIABLE, is_workspace, labels_of, server_of
from shared.figures import many
from shared.settings.project_file import DATABASE, FILE, ProjectFile, default_workspace, edit
from shared.settings.services import SettingsError
from shared.storage.safe_names import partial_of
from shared.storage.whole_files import write_whole

console = Console()
DatabaseUrl = Annotated[
    str,
    typer.Option(help="Address of the database server that holds the labels, if any.", envvar=DATABASE_VARIABLE),
]
FOLDERS = ("uploads", "exports", "trainer/models", "trainer/embeddings", "trainer/backbones", "demo")
"""Folders that a backup copies besides the database. Thumbnails, logs and the replica can be recreated."""
STATE = ("trainer/intent.json", "trainer/serving.json")
"""Files that say whether the trainer was paused or stopped, and which version's network computes the embeddings."""


def backup_command(
    target: Annotated[Path, typer.Argument(help="New folder for the copy.", parser=new_folder)],
    workspace: Workspace = None,
    database_url: DatabaseUrl = "",
) -> None:
    """Copy the workspace, even while it is in use."""
    console.print(f"Written: {backup(workspace or default_workspace(), target, database_url)}")


def restore_command(
    source: Annotated[Path, typer.Argument(help="Folder that `flywheel backup` wrote.", parser=folder)],
    workspace: Workspace = None,
    database_url: DatabaseUrl = "",
    yes: Yes = False,
) -> None:
    """Put a backup in the place of the workspace. The old workspace is kept beside it."""
    workspace = workspace or default_workspace(photos=True)
    if (source / DATABASE).is_file() and is_workspace(workspace):
        now, then = _holds(labels_of(workspace, database_url)), _holds(f"sqlite:///{(source / DATABASE).absolute()}")
        consent(f"{workspace} ({now}) will be replaced by {source} ({then}), and kept beside it.", yes=yes)
    aside = restore(source, workspace, database_url)
    console.print(f"Restored {workspace}." + (f" The old workspace is in {aside}." if aside else ""))


def backup(workspace: Path, target: Path, database_url: str = "") -> Path:
    """Copy `workspace` to the new folder `target` while it may be in use. Raises SettingsError."""
    if not is_workspace(workspace):
        raise SettingsError(f"{shown(workspace)} is not a Flywheel workspace: {DATABASE} is missing.")
    labels = labels_of(workspace, database_url)
    if target.exists():
        raise SettingsError(f"{target} already exists: name a new folder for the backup.")
    partial = partial_of(target)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _copy_labels(labels, workspace / DATABASE, partial / DATABASE)
        project = ProjectFile.read(workspace)
        if project is not None:  # without addresses, because the services run in the workspace, not in its copy
            beside = {name: value for name, value in project.labeler.items() if name != "database_url"}
            write_whole(partial / FILE, project.model_copy(update={"services": {}, "labeler": beside}).dump())
        for folder in FOLDERS:
            if (workspace / folder).is_dir():
                shutil.copytree(workspace / folder, partial / folder)
        for file in STATE:
            if (workspace / file).is_file():
                (partial / file).parent.mkdir(exist_ok=True)
                shutil.copy2(workspace / file, partial / file)
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return target


def _copy_labels(labels: str, file: Path, target: Path) -> None:
    if not labels.startswith("sqlite"):
        from labeler.store.copying import copy  # takes a moment to import, and most projects have no server

        copy(labels, f"sqlite:///{target.absolute()}")
        return
    with (
        closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30)) as live,
        closing(sqlite3.connect(target)) as copied,
    ):
        live.backup(copied)
        copied.execute("UPDATE meta SET value = ? WHERE key = 'log_id'", (str(uuid4()),))
        copied.commit()


def _holds(labels: str) -> str:
    """The number of answers in a database, and the day of the last one."""
    from sqlalchemy.exc import SQLAlchemyError

    from labeler.store.copying import answers

    try:
        count, last = answers(labels)
    except (SQLAlchemyError, ImportError):
        return "not readable"
    return many(count, "answer") + (f", the last on {last}" if last else "")


def restore(source: Path, workspace: Path, database_url: str = "") -> Path | None:
    """Replace `workspace` by a backup; returns where the old workspace is kept, or None if there was none.

    If the labels of `workspace` are in a database server, those of the backup replace them there, and the old ones are
    kept in the old workspace. Raises SettingsError while a service uses the workspace or its server, or if `source` is
    not a backup; nothing is changed then.
    """
    if not (source / DATABASE).is_file():
        raise SettingsError(f"{source} is not a backup: {DATABASE} is missing.")
    server = labels_of(workspace, database_url) if server_of(workspace) else None
    aside = None
    if workspace.exists():
        try:
            with FileLock(workspace / "labeler.lock", timeout=0):
                pass
        except Timeout:
            raise SettingsError(f"A labeler is using {workspace}: stop it first.") from None
        if server is not None:
            _back_to_server(source / DATABASE, server, workspace / DATABASE)
            with edit(workspace) as project:  # its labels are now in its file
                project.labeler.pop("database_url", None)
        aside = workspace.with_name(f"{workspace.name}-before-restore-{uuid4().hex[:8]}")
        workspace.rename(aside)
    shutil.copytree(source, workspace)
    if server is not None:
        from shared.storage.database import masked

        with edit(workspace) as project:
            project.labeler["database_url"] = masked(server)
        (workspace / DATABASE).unlink()
    return aside


def _back_to_server(backed_up: Path, server: str, aside: Path) -> None:
    """Put the labels of a backup into the server, and the labels that were there into the file `aside`."""
    from labeler.store.copying import copy, update

    given = aside.with_name(f"restored-{aside.name}")
    try:
        _copy_labels(f"sqlite:///{backed_up}", backed_up, given)
        update(f"sqlite:///{given.absolute()}")
        _copy_labels(server, aside, aside)
        copy(f"sqlite:///{given.absolute()}", server)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    finally:
        for path in given.parent.glob(f"{given.name}*"):  # including the files that SQLite keeps beside it
            path.unlink()
