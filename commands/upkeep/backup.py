"""`flywheel backup` copies a workspace while it is in use, and `flywheel restore` puts the copy back.

SQLite's online backup copies the database, so labeling continues. The copy gets a `log_id` of its own. A trainer that
meets it later sees another log and starts again from its rows, instead of trusting that its newer rows are still there.
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
from commands.running.place import Workspace, shown
from shared.figures import many
from shared.settings.project_file import DATABASE, FILE, ProjectFile, default_workspace
from shared.settings.services import SettingsError
from shared.storage.safe_names import partial_of
from shared.storage.whole_files import write_whole

console = Console()
FOLDERS = ("uploads", "exports", "trainer/models", "trainer/embeddings", "trainer/backbones", "demo")
"""What a backup copies beside the database. Thumbnails, logs and the replica can be made again."""
STATE = ("trainer/intent.json", "trainer/serving.json")
"""Whether the trainer was paused or stopped, and which version's network computes the embeddings."""


def backup_command(
    target: Annotated[Path, typer.Argument(help="New folder for the copy.")], workspace: Workspace = None
) -> None:
    """Copy the workspace, also while it is in use."""
    console.print(f"Written: {backup(workspace or default_workspace(), target)}")


def restore_command(
    source: Annotated[Path, typer.Argument(help="Folder that `flywheel backup` wrote.")],
    workspace: Workspace = None,
    yes: Yes = False,
) -> None:
    """Put a backup in the place of the workspace. The old workspace is kept beside it."""
    workspace = workspace or default_workspace(photos=True)
    if (source / DATABASE).is_file() and (workspace / DATABASE).is_file():
        now, then = _holds(workspace), _holds(source)
        consent(f"{workspace} ({now}) will be replaced by {source} ({then}), and kept beside it.", yes=yes)
    aside = restore(source, workspace)
    console.print(f"Restored {workspace}." + (f" The old workspace is in {aside}." if aside else ""))


def backup(workspace: Path, target: Path) -> Path:
    """Copy `workspace` to the new folder `target` while it may be in use. Raises SettingsError."""
    source = workspace / DATABASE
    if not source.is_file():
        raise SettingsError(f"{shown(workspace)} is not a Flywheel workspace: {DATABASE} is missing.")
    if target.exists():
        raise SettingsError(f"{target} already exists: name a new folder for the backup.")
    partial = partial_of(target)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=30)) as live,
            closing(sqlite3.connect(partial / DATABASE)) as copy,
        ):
            live.backup(copy)
            copy.execute("UPDATE meta SET value = ? WHERE key = 'log_id'", (str(uuid4()),))
            copy.commit()
        project = ProjectFile.read(workspace)
        if project is not None:  # without addresses, because the services serve the workspace and not its copy
            write_whole(partial / FILE, project.model_copy(update={"services": {}}).dump())
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


def _holds(workspace: Path) -> str:
    """The number of answers in a workspace, and the day of the last one."""
    try:
        with closing(sqlite3.connect(f"{(workspace / DATABASE).absolute().as_uri()}?mode=ro", uri=True)) as base:
            answers = "SELECT COUNT(*), MAX(created_at) FROM annotation WHERE action IN "
            count, last = base.execute(answers + "('label', 'skip', 'flag', 'settle')").fetchone()
    except sqlite3.Error:
        return "not readable"
    return many(count, "answer") + (f", the last on {last[:10]}" if last else "")


def restore(source: Path, workspace: Path) -> Path | None:
    """Put a backup in the place of `workspace`; returns where the old workspace is kept, None if there was none.

    Raises SettingsError while a service uses the workspace, or if `source` is not a backup.
    """
    if not (source / DATABASE).is_file():
        raise SettingsError(f"{source} is not a backup: {DATABASE} is missing.")
    aside = None
    if workspace.exists():
        try:
            with FileLock(workspace / "labeler.lock", timeout=0):
                pass
        except Timeout:
            raise SettingsError(f"A labeler is using {workspace}: stop it first.") from None
        aside = workspace.with_name(f"{workspace.name}-before-restore-{uuid4().hex[:8]}")
        workspace.rename(aside)
    shutil.copytree(source, workspace)
    return aside
