"""`flywheel doctor` checks a workspace, repairs what can be repaired safely, and says what to do about the rest.

A check changes nothing, and the services may run meanwhile. A repair requires them to be stopped. It does exactly
what the check announced, and keeps a copy of everything that it changes and that cannot be computed again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from commands.running.place import Workspace as WorkspaceOption
from commands.running.place import shown
from shared.figures import many
from shared.settings.project_file import default_workspace, is_project
from shared.settings.services import SettingsError

if TYPE_CHECKING:
    from commands.upkeep.findings import Finding, Workspace

console = Console()


def doctor(
    mend: Annotated[
        bool, typer.Option("--mend", help="Repair what can be repaired safely. Stop the services first.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Check a workspace, and repair it with `--mend`. Exit code 0: healthy, 1: not healthy, 2: cannot check."""
    from commands.upkeep.findings import Workspace, alone

    folder = workspace or default_workspace()
    if not is_project(folder):
        raise SettingsError(f"{shown(folder)} is not a Flywheel workspace: check --workspace.")
    place = Workspace(folder)
    if mend and place.running:
        names = " and ".join(place.running)
        are = "are" if len(place.running) > 1 else "is"
        raise SettingsError(f"The {names} of {shown(folder)} {are} running: stop Flywheel before you repair.")
    found = examine(place)
    mended = [each for each in found if mend and each.act is not None]
    if mended:
        with alone(folder):
            _act(mended)
    left = examine(Workspace(folder)) if mended else found
    wrong = any(each.wrong for each in left)
    if as_json:
        told = {"workspace": str(folder.absolute()), "running": place.running, "healthy": not wrong}
        said = {"mended": [each.told() for each in mended], "findings": [each.told() for each in left]}
        print(json.dumps(told | said, indent=1, ensure_ascii=False))
    else:
        _tell(place, mended, left)
    raise typer.Exit(1 if wrong else 0)


def examine(place: Workspace) -> list[Finding]:
    """All findings. Raises SettingsError when the folder cannot be read."""
    from commands.upkeep import files_check as files  # imports the database and numpy
    from commands.upkeep import log_check

    before = (files.project, files.disk, files.addresses, log_check.look)  # photos and embeddings need the log
    beside = (files.photos, files.embeddings, files.versions, files.small_files, files.thumbnails, files.leftovers)
    try:
        return [finding for check in (*before, *beside) for finding in check(place)]
    except OSError as error:
        raise SettingsError(f"{error.filename or place.folder} cannot be read: {error.strerror}.") from None


def _act(findings: list[Finding]) -> None:
    for each in findings:
        assert each.act is not None  # noqa: S101 - only such findings are passed
        try:
            each.act()
        except OSError as error:
            raise SettingsError(f"{each.what} It cannot be repaired: {error.strerror}.") from None


def _tell(place: Workspace, mended: list[Finding], left: list[Finding]) -> None:
    if place.running:
        _print(f"Running: {', '.join(place.running)}. Files that are being written now may look unfinished.")
    for each in mended:
        _print(f"Repaired ({each.check}): {each.what} {each.mend}", "green")
    for each in left:
        _print(f"{'Wrong' if each.wrong else 'Note'} ({each.check}): {each.what}", "red" if each.wrong else "yellow")
        if each.mend:
            _print(f"    With --mend: {each.mend}")
        if each.advice:
            _print(f"    What to do: {each.advice}")
    wrong = sum(each.wrong for each in left)
    name = shown(place.folder)
    _print(f"{name}: {many(wrong, 'problem')}." if wrong else f"{name} is healthy.")


def _print(line: str, style: str = "") -> None:
    console.print(Text(line, style), soft_wrap=True)
