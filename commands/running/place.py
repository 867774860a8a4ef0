"""Finds the project that a command talks to, and the addresses of its services.

Addresses come from the options, else from the environment, else from `project.toml` of the workspace, where the
services wrote them. The default ports are used only without a workspace. Each service reports which log it has, so a
command never shows or changes the wrong project.
"""

from __future__ import annotations

import functools
import inspect
import os
import shlex
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import typer

from commands.running.given_paths import path
from commands.running.reach import LABELER, TRAINER, Away, ask
from shared.settings.project_file import DATABASE, ProjectFile, default_workspace, is_project, tidy
from shared.settings.services import SettingsError

Service = Literal["labeler", "trainer"]
VARIABLES: dict[Service, str] = {"labeler": "FLYWHEEL_LABELER_URL", "trainer": "FLYWHEEL_TRAINER_URL"}
USUAL: dict[Service, str] = {"labeler": LABELER, "trainer": TRAINER}
WHERE: dict[Service, str] = {"labeler": "/api/project", "trainer": "/status"}
KNOWN_BY: dict[Service, str] = {"labeler": "last_seq", "trainer": "acked_seq"}
"""The field by which a service is recognised."""
PANEL = "Which project"
WORKSPACE_HELP = "Folder of the project. Default: FLYWHEEL_WORKSPACE, else ./workspace, else ./workspace-demo."
Workspace = Annotated[Path | None, typer.Option(help=WORKSPACE_HELP, rich_help_panel=PANEL, parser=path)]
LabelerUrl = Annotated[
    str | None,
    typer.Option(help="Address of the labeler. Default: FLYWHEEL_LABELER_URL.", rich_help_panel=PANEL),
]
TrainerUrl = Annotated[
    str | None,
    typer.Option(help="Address of the trainer. Default: FLYWHEEL_TRAINER_URL.", rich_help_panel=PANEL),
]


@dataclass(frozen=True)
class Place:
    """A project. `workspace` is None if only addresses are known. `given` are the addresses from options and
    environment.
    """

    workspace: Path | None
    file: ProjectFile | None
    given: dict[Service, str]

    @cached_property
    def labeler(self) -> str:
        """The labeler's address. Raises SettingsError if it does not answer, or serves another project."""
        return self._answering("labeler")

    @cached_property
    def trainer(self) -> str:
        """The trainer's address. Raises SettingsError if it does not answer, or follows another project."""
        return self._answering("trainer")

    @cached_property
    def both(self) -> tuple[str, str]:
        """Labeler and trainer of the same project. Raises SettingsError if they belong to different ones."""
        addresses = self.labeler, self.trainer
        ours, theirs = (self.said(service).get("log_id") for service in VARIABLES)
        if theirs is not None and ours != theirs:
            raise SettingsError(
                f"The labeler at {addresses[0]} and the trainer at {addresses[1]} belong to different projects: name "
                "one --workspace, or both --labeler-url and --trainer-url."
            )
        return addresses

    @property
    def addresses(self) -> tuple[str, str]:
        """Labeler and trainer, as far as known without asking. Raises SettingsError if they are unknown."""
        labeler = self._address("labeler")
        return labeler, self.given.get("trainer") or (self.file and self.file.services.get("trainer")) or TRAINER

    @property
    def is_running(self) -> bool:
        """Whether the labeler answers. Raises SettingsError if another project answers."""
        try:
            return bool(self.labeler)
        except Away:
            return False

    def said(self, service: Service) -> dict[str, Any]:
        """The service's first answer about its project."""
        answers: dict[Service, dict[str, Any]] = self.__dict__.setdefault("_answers", {})
        if service not in answers:
            self._answering(service)
        return answers[service]

    def line(self, service: Service) -> str:
        """The first line of a command: the project and the address that it uses."""
        url = getattr(self, service)
        said = self.said(service)
        folder = self.workspace or Path(said.get("workspace") or "")
        name = said.get("name") or (self.file.name if self.file is not None else "") or folder.absolute().name
        where = f" ({shown(folder)})" if folder != Path() and folder.is_dir() else ""
        return f"Project {name}{where} at {url}"

    def command(self, *words: str) -> str:
        """The command line for a command about this project."""
        where = ["--workspace", shown(self.workspace)] if self.workspace is not None else []
        given = [word for service, url in self.given.items() for word in (f"--{service}-url", url)]
        return shlex.join(["flywheel", *words, *where, *given])

    def __str__(self) -> str:
        if self.workspace is None:
            return "The project"
        name = self.file.name if self.file is not None else ""
        return f"Project {name or self.workspace.absolute().name}"

    def _answering(self, service: Service) -> str:
        url = self._address(service)
        try:
            said = ask(url + WHERE[service])
        except Away as away:
            raise self._away(str(away).partition(": start Flywheel")[0], service) from None
        if not isinstance(said, dict) or KNOWN_BY[service] not in said or "log_id" not in said:
            raise SettingsError(f"The service at {url} is not a {service} of Flywheel: check --{service}-url.")
        ours = None if self.workspace is None else _log_id(self.workspace)
        if None not in (ours, said["log_id"]) and said["log_id"] != ours:
            raise SettingsError(
                f"The {service} at {url} belongs to another project than {shown(self.workspace or Path())}: name "
                f"the right --workspace or --{service}-url."
            )
        self.__dict__.setdefault("_answers", {})[service] = said
        return url

    def _address(self, service: Service) -> str:
        """The address from option, environment or workspace, or from the other service."""
        if service in self.given:
            return self.given[service]
        noted = self.file.services.get(service) if self.file is not None else None
        if noted:
            return noted
        other: Service = "trainer" if service == "labeler" else "labeler"
        if other in self.given or (self.file is not None and self.file.services.get(other)):
            return self._told_by(other, service)
        if self.workspace is None:
            return USUAL[service]
        raise self._away(f"its {service} has not written its address", service)

    def _told_by(self, other: Service, service: Service) -> str:
        """The address that the other service uses, for example if the two run on two machines."""
        settings = "/api/settings" if other == "labeler" else "/settings"
        told = ask(self._address(other) + settings).get(f"{service}_url", {})
        return str(told.get("value") or USUAL[service]).rstrip("/")

    def _away(self, why: str, service: Service) -> Away:
        why = why[0].lower() + why[1:]
        if self.workspace is None:
            return Away(f"No {service} of Flywheel is running: {why}. Start it with `flywheel up`.")
        start = shlex.join(["flywheel", "up", "--workspace", shown(self.workspace)])
        return Away(f"{self} is not running: {why}. Start it with `{start}`.")


def find(workspace: Path | None = None, labeler: str | None = None, trainer: str | None = None) -> Place:
    """The project that the user means. Raises SettingsError for an invalid address or a missing workspace."""
    given: dict[Service, str] = {}
    for service, option in (("labeler", labeler), ("trainer", trainer)):
        address = option or os.environ.get(VARIABLES[service])  # type: ignore[index]  # a literal
        if address:
            given[service] = _checked(address, service)  # type: ignore[index]
    folder = workspace or default_workspace()
    if workspace is not None and not is_project(folder):
        raise SettingsError(f"{shown(folder)} is not a Flywheel workspace: check --workspace.")
    if not is_project(folder) or (workspace is None and given):
        return Place(None, None, given)  # addresses take precedence over the default workspace
    return Place(folder, ProjectFile.read(folder), given)


def talks_to(service: Service, *aliases: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds the options that choose a project to a command, in place of its parameter `place`.

    The command's first line names the project. `aliases` are older, hidden names of the address option.
    """

    def wrap(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(
            *args: Any,
            workspace: Path | None = None,
            labeler_url: str | None = None,
            trainer_url: str | None = None,
            older: str | None = None,
            **options: Any,
        ) -> None:
            if older:
                labeler_url, trainer_url = (older, trainer_url) if service == "labeler" else (labeler_url, older)
            place = find(workspace, labeler_url, trainer_url)
            print(place.line(service), flush=True)
            command(*args, place=place, **options)

        _take_options(run, command, aliases)
        return run

    return wrap


def _take_options(run: Callable[..., None], command: Callable[..., None], aliases: tuple[str, ...]) -> None:
    """Show typer the options of `command`, with those of the project instead of `place`."""
    signature = inspect.signature(command, eval_str=True)
    own = [each for each in signature.parameters.values() if each.name != "place"]
    more: dict[str, Any] = {"workspace": Workspace, "labeler_url": LabelerUrl, "trainer_url": TrainerUrl}
    if aliases:
        more["older"] = Annotated[str | None, typer.Option(*aliases, hidden=True)]
    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [inspect.Parameter(name, keyword, default=None, annotation=kind) for name, kind in more.items()]
    own = [each.replace(kind=keyword) for each in own]
    run.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in [*own, *added]}


def shown(folder: Path) -> str:
    """The folder as the user would type it."""
    full, here = tidy(folder.expanduser()), Path.cwd()
    return f"./{full.relative_to(here)}" if full != here and full.is_relative_to(here) else str(full)


def _log_id(workspace: Path) -> str | None:
    """The id of the workspace's log; None if its labels are in another database."""
    file = workspace / DATABASE
    if not file.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as database:
            row = database.execute("SELECT value FROM meta WHERE key = 'log_id'").fetchone()
    except sqlite3.Error:
        return None
    return None if row is None else str(row[0])


def _checked(url: str, service: str) -> str:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for an invalid port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"--{service}-url takes an address like {USUAL[service]}, not {url!r}.")  # type: ignore[index]
    return url.rstrip("/")
