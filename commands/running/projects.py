"""`flywheel projects` lists the projects of this machine, and `flywheel add` adds a folder of photos to one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from commands.running.given_paths import images_at, path
from shared.settings.project_file import ProjectFile, add_folder, default_workspace, is_project
from shared.settings.recent_projects import recent
from shared.settings.services import SettingsError

console = Console()
Workspace = Annotated[
    Path | None, typer.Option(help="Folder of the project. Without it: as for `flywheel up`.", parser=path)
]


def projects() -> None:
    """List the projects that were started on this machine, newest first."""
    listed = [(each, project) for each in recent() if (project := each.project()) is not None]
    if not listed:
        console.print("No project was started on this machine yet. Start one: flywheel up PHOTOS")
        return
    for each, project in listed:  # no table: a path that is broken or cut cannot be copied
        lines = [("workspace", str(each.workspace))]
        lines += [("photos", str(path)) for path in project.images(each.workspace)]
        lines += [("started", f"{each.started.astimezone():%Y-%m-%d %H:%M}")]
        lines += [("running at", project.labeler_address)] if project.labeler_address else []
        console.print(Text(project.name, "bold"), soft_wrap=True)
        for name, value in lines:
            console.print(Text(f"  {name:<11}{value}"), soft_wrap=True)
    console.print("Continue one of them: flywheel up --workspace WORKSPACE")


def add(
    folder: Annotated[
        str,
        typer.Argument(
            help="Folder of photos to add; also an archive or an address.",
            parser=images_at,
        ),
    ],
    workspace: Workspace = None,
) -> None:
    """Add a folder of photos to a project. A running labeler reads it within seconds."""
    home = workspace or default_workspace()
    if not is_project(home):
        raise SettingsError(f"{home} is not a Flywheel workspace: start one with `flywheel up PHOTOS`.")
    name = add_folder(home, folder)
    project = ProjectFile.read(home)
    title = project.name if project is not None else home.name
    if name is None:
        console.print(Text(f"{folder} already belongs to {title}."))
    else:
        console.print(Text(f"Added to {title}: {folder}. The names of its images begin with {name}/."))
