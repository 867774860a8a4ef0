"""`flywheel up` and `flywheel clean` start a project or continue it.

All settings are checked here before a process starts, so a wrong setting is reported once. `shared.settings.starting`
decides what a project remembers and what a start may change. `commands.running.supervisor` keeps the services running.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from commands.labels import imports
from commands.running.given_paths import file, file_or_folder, folder, path, path_or_address
from commands.running.place import Place
from commands.running.supervisor import show, supervise
from shared.images.sources.choosing import why_not
from shared.settings.project_file import DEMO_WORKSPACE, ProjectFile, absolute, edit, is_project
from shared.settings.recent_projects import recent
from shared.settings.services import LabelerSettings, ServiceSettings, SettingsError, TrainerSettings
from shared.settings.starting import Start, check_photos, start
from shared.settings.traits import IS_PATH, settings_with
from shared.tasks.registry import task_named
from shared.web.auth import token_for
from shared.web.server import bind

REVIEW_PAGE = "/review"

Classes = Annotated[str | None, typer.Option(help="First classes: shirt,shoes,hat")]
TaskName = Annotated[
    str | None,
    typer.Option(
        "--task",
        help="What an answer is: classification (one class per image), multilabel (any number) or "
        "detection (boxes with classes). It is chosen when a project begins, and stays.",
    ),
]
OwnWorkspace = Annotated[
    Path | None,
    typer.Option("--workspace", help="Folder of the project. Default: ./workspace, or ./workspace-demo.", parser=path),
]
Test = Annotated[
    str | None,
    typer.Option(
        help="Your own evaluation set: a folder per class, or a CSV.",
        parser=path_or_address,
    ),
]
Host = Annotated[
    str | None, typer.Option(help="Address to listen on. Other addresses than loopback need FLYWHEEL_TOKEN.")
]
Port = Annotated[int | None, typer.Option(help="Port of the pages, which the project remembers. 0: any free port.")]
TrainerPort = Annotated[
    int | None, typer.Option(help="Port of the trainer, which the project remembers. 0: any free port.")
]
Backbone = Annotated[str | None, typer.Option(help="auto, pixels, or any timm name.")]
Weights = Annotated[Path | None, typer.Option(help="File with weights for the named backbone.", parser=file)]
Mean = Annotated[
    str | None, typer.Option(help="Normalisation that these weights need, one value per channel: 0.5,0.5,0.5")
]
Std = Annotated[
    str | None, typer.Option(help="Normalisation that these weights need, one value per channel: 0.5,0.5,0.5")
]
InputSize = Annotated[int | None, typer.Option(help="Image size in pixels for the backbone.")]
Strategy = Annotated[str | None, typer.Option(help="Query strategy.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Any other setting: --set labeler.buffer_size=20")]
LabelerConfig = Annotated[Path | None, typer.Option(help="The labeler's settings as TOML.", parser=file)]
TrainerConfig = Annotated[Path | None, typer.Option(help="The trainer's settings as TOML.", parser=file)]
MayChange = Annotated[
    bool, typer.Option("--change", help="Allow this start to change the project's photos, classes or backbone.")
]


def up(
    photos: Annotated[
        list[str] | None,
        typer.Argument(
            help="Folders of photos, archives of them (.zip, .tar), or addresses such as s3://bucket/photos. "
            "Default: those of the project, else the demo.",
            parser=path_or_address,
        ),
    ] = None,
    classes: Classes = None,
    task: TaskName = None,
    workspace: OwnWorkspace = None,
    demo: Annotated[bool, typer.Option("--demo", help="Start the demo: 1,797 handwritten digits.")] = False,
    test: Test = None,
    host: Host = None,
    port: Port = None,
    trainer_port: TrainerPort = None,
    backbone: Backbone = None,
    backbone_weights: Weights = None,
    backbone_mean: Mean = None,
    backbone_std: Std = None,
    input_size: InputSize = None,
    strategy: Strategy = None,
    set_: Set = None,
    labeler_config: LabelerConfig = None,
    trainer_config: TrainerConfig = None,
    change: MayChange = False,
) -> None:
    """Start both services and label in the browser. Without arguments, continue the project."""
    first, more = (photos[0], photos[1:]) if photos else (None, [])
    if demo:
        if photos:
            raise SettingsError("--demo takes no photos: leave out --demo or the photos.")
        workspace = workspace or DEMO_WORKSPACE
        project = ProjectFile.read(workspace)
        if project is not None and not project.demo:
            raise SettingsError(
                f"{workspace} holds the project {project.name!r}, not the demo: name another workspace."
            )
    project_start = _Start(
        labeler={
            "images": first,
            "more_images": json.dumps([_whole(path) for path in more]) if more else None,
            "classes": classes,
            "task": task,
            "test_set": test,
        },
        trainer={
            "backbone": backbone,
            "backbone_weights": backbone_weights,
            "backbone_mean": backbone_mean,
            "backbone_std": backbone_std,
            "input_size": input_size,
            "query_strategy": strategy,
        },
        both={"workspace": workspace, "host": host},
        ports=(port, trainer_port),
        set_=set_ or (),
        files=(labeler_config, trainer_config),
        change=change,
    )
    if workspace is not None and not (demo or is_project(workspace) or project_start.ours.settings.images):
        folder = shlex.quote(str(workspace))
        raise SettingsError(
            f"There is no project in {workspace}. Start one: flywheel up PHOTOS --workspace {folder}. "
            f"For the demo: flywheel up --demo --workspace {folder}"
        )
    raise typer.Exit(project_start.run())


def clean(
    source: Annotated[
        Path, typer.Argument(help="Photos with labels: a folder per class, or a label file.", parser=file_or_folder)
    ],
    images: Annotated[
        Path | None, typer.Option(help="Folder of photos, if it is not the folder of the labels.", parser=folder)
    ] = None,
    classes: Classes = None,
    task: TaskName = None,
    workspace: OwnWorkspace = None,
    test: Test = None,
    host: Host = None,
    port: Port = None,
    trainer_port: TrainerPort = None,
    backbone: Backbone = None,
    backbone_weights: Weights = None,
    backbone_mean: Mean = None,
    backbone_std: Std = None,
    input_size: InputSize = None,
    strategy: Strategy = None,
    set_: Set = None,
    labeler_config: LabelerConfig = None,
    trainer_config: TrainerConfig = None,
    change: MayChange = False,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
    columns: Annotated[str | None, typer.Option(help="Columns of a table, as for `flywheel import`.")] = None,
    layout: Annotated[str, typer.Option(help="Meaning of the folders, as for `flywheel import`.")] = "",
) -> None:
    """Find and fix wrong labels: import labels, start both services, and review doubtful labels.

    The exit code is 1 if rows were rejected, as for `flywheel import`.
    """
    from labeler.transfer.rows.imported import Chosen

    folder = images or imports.opened([source], Chosen.of(columns) if columns else None, layout).folder

    rejected = 0

    def begin(address: str) -> None:
        nonlocal rejected
        try:
            outcome = imports.bring([source], address, add_classes=True, columns=columns, layout=layout)
            rejected = outcome.counts["rejected"]
        finally:  # labels that were imported before an error can be reviewed
            if open_page:
                show(address + REVIEW_PAGE)

    project_start = _Start(
        labeler={"images": folder, "classes": classes, "task": task, "test_set": test},
        trainer={
            "backbone": backbone,
            "backbone_weights": backbone_weights,
            "backbone_mean": backbone_mean,
            "backbone_std": backbone_std,
            "input_size": input_size,
            "query_strategy": strategy,
        },
        both={"workspace": workspace, "host": host},
        ports=(port, trainer_port),
        set_=set_ or (),
        files=(labeler_config, trainer_config),
        change=change,
    )
    if not is_project(project_start.ours.settings.workspace):
        project_start.set("test_set_frac", 0.0)  # check every label; splits that the source names are kept
    code = project_start.run(page=REVIEW_PAGE, begin=begin)
    raise typer.Exit(code or int(rejected > 0))


class _Start:
    """The settings of the command line for each service, checked against settings and project. Raises SettingsError."""

    def __init__(
        self,
        labeler: dict[str, Any],
        trainer: dict[str, Any],
        both: Mapping[str, Any],
        ports: tuple[int | None, int | None],
        set_: Sequence[str],
        files: tuple[Path | None, Path | None],
        *,
        change: bool,
    ) -> None:
        self._labeler = {**labeler, **both, "port": ports[0]}
        self._trainer = {**trainer, **both, "port": ports[1]}
        self._ports = {name: port for name, port in zip(("labeler", "trainer"), ports, strict=True) if port}
        for service, name, value in map(_assignment, set_):
            (self._labeler if service == "labeler" else self._trainer)[name] = value
        self._files, self._change = files, change
        self.ours: Start[LabelerSettings] = self._read(LabelerSettings, files[0], self._labeler)
        workspace = self._labeler["workspace"] = self._trainer["workspace"] = self.ours.settings.workspace
        # The demo's digits are in the workspace. In both cases the trainer reads the files itself.
        self._trainer.setdefault("images", self.ours.settings.images or workspace / "demo" / "images")
        self.theirs: Start[TrainerSettings] = self._read(TrainerSettings, files[1], self._trainer)
        self._take_ports()
        if self.ours.settings.host != self.theirs.settings.host:
            raise SettingsError(
                "`flywheel up` starts both services on one host. For two hosts, start each service alone."
            )
        token_for(self.ours.settings.host, os.environ)  # otherwise each service would report that it needs one

    def set(self, name: str, value: Any) -> None:
        """Set a setting of the labeler."""
        self._labeler[name] = value
        self.ours = self._read(LabelerSettings, self._files[0], self._labeler)

    def run(self, *, page: str = "", begin: Callable[[str], None] = lambda _: None) -> int:
        """Print what is started, and run it; returns the exit code."""
        self._check_before_anything_is_written()
        for line in self._introduction():
            print(line, flush=True)
        return supervise(
            _flags(LabelerSettings, self._labeler, self._files[0]),
            _flags(TrainerSettings, self._trainer, self._files[1]),
            port=self.ours.settings.port,
            trainer_port=self.theirs.settings.port,
            host=self.ours.settings.host,
            change=self._change,
            page=page,
            begin=self._then(begin),
        )

    def _take_ports(self) -> None:
        """Use the ports that the project got at an earlier start, unless this one names others."""
        project = ProjectFile.read(self.ours.settings.workspace)
        for given, found in ((self._labeler, self.ours), (self._trainer, self.theirs)):
            port = project.ports.get(type(found.settings).service()) if project is not None else None
            if port and found.sources["port"] == "default":
                given["port"] = port
        self.ours = self._read(LabelerSettings, self._files[0], self._labeler)
        self.theirs = self._read(TrainerSettings, self._files[1], self._trainer)

    def _then(self, begin: Callable[[str], None]) -> Callable[[str], None]:
        """Once both services answer, remember their ports, then call `begin`."""

        def ready(address: str) -> None:
            if self._ports:
                with edit(self.ours.settings.workspace) as project:
                    project.ports |= self._ports
            begin(address)

        return ready

    def _check_before_anything_is_written(self) -> None:
        """Refuse a start that cannot succeed, so that it leaves no half-made workspace. Raises SettingsError."""
        ours, theirs = self.ours.settings, self.theirs.settings
        _refuse_running(ours.workspace)
        check_photos(ours)
        if ours.test_set:
            from labeler.transfer.test_set import open_test_set  # takes a moment, and is rarely needed

            open_test_set(ours.test_set, task_named(ours.task))
        if self._trainer.get("query_strategy"):
            from trainer.strategies import strategy_named  # takes a moment, and is rarely needed

            try:
                kind = task_named(ours.task)
                strategy_named(theirs.query_strategy, several=kind.by_class, boxes=kind.by_box)
            except ValueError as error:
                raise SettingsError(str(error)) from None
        for option, settings in (("--port", ours), ("--trainer-port", theirs)):
            if settings.port:
                bind(settings.host, settings.port, option=option).close()

    def _introduction(self) -> list[str]:
        workspace = self.ours.settings.workspace
        project = ProjectFile.read(workspace)
        if project is None:
            what = self.ours.settings.images or "the demo, 1,797 handwritten digits"
            return [f"New project in {workspace}: {what}", *([] if self.ours.settings.images else _others())]
        lines = [f"Project {project.name} in {workspace}", *self.ours.notes, *self.theirs.notes]
        lines += [
            f"The folder {folder} does not exist. Its labels are kept. If it has moved: "
            f"flywheel up NEW-FOLDER --change --workspace {shlex.quote(str(workspace))}"
            for folder in project.images(workspace)
            if isinstance(folder, Path) and why_not(folder) is not None and not project.demo and not self._change
        ]
        return [*lines, *_stopped(workspace)]

    def _read(self, cls: type[Any], file: Path | None, given: Mapping[str, Any]) -> Start[Any]:
        line = {name: str(value) for name, value in given.items() if value is not None}
        return start(cls, file=file, command_line=line, change=self._change)


def _refuse_running(workspace: Path) -> None:
    """Refuse to start a project whose labeler answers. Raises SettingsError with its address."""
    project = ProjectFile.read(workspace)
    address = project.labeler_address if project is not None else None
    if address is None:
        return
    place = Place(workspace, project, {})
    try:
        if not place.is_running or _is_elsewhere(place.said("labeler").get("workspace"), workspace):
            return
    except SettingsError:  # another project has its address now: the check of the port says so if it matters
        return
    raise SettingsError(
        f"{place} in {workspace} is already running: open {address} in a browser. To start it again, first press "
        "Ctrl-C in the terminal where it runs."
    )


def _is_elsewhere(served: object, workspace: Path) -> bool:
    """Whether the labeler serves another folder here, of which `workspace` is a copy: both have one log."""
    folder = Path(str(served or workspace))
    return folder.is_dir() and folder.resolve() != workspace.resolve()


def _others() -> list[str]:
    """A hint for people who got the demo but meant one of their projects."""
    others = [each for each in recent() if (project := each.project()) is not None and not project.demo]
    if not others:
        return []
    return [f"To continue your last project instead: flywheel up --workspace {others[0].workspace}"]


def _stopped(workspace: Path) -> list[str]:
    """A sentence that the trainer was paused or stopped, and how to continue."""
    from trainer.loop.desired_state import DesiredState

    desired = DesiredState.load(workspace / "trainer" / "intent.json")
    if desired.wish == "run":
        return []
    state = "paused" if desired.wish == "pause" else "stopped"
    reason = f" ({desired.reason})" if desired.reason else ""
    return [
        f"Training is {state}{reason}: labels are kept, but the model does not learn from them until you press Resume "
        f"on the page or run `flywheel resume --workspace {shlex.quote(str(workspace))}`."
    ]


def _flags(settings: type[ServiceSettings], given: Mapping[str, Any], file: Path | None) -> dict[str, str]:
    """The settings for a child process. Paths are absolute, so it can run in another folder."""
    told = {name: str(value) for name, value in given.items() if value is not None and name not in ("host", "port")}
    for name in settings_with(IS_PATH, settings):
        if told.get(name):
            told[name] = _whole(told[name])
    return {**told, **({"config": str(file.absolute())} if file is not None else {})}


def _whole(given: str) -> str:
    """An absolute path for use in another folder; an address is unchanged."""
    return str(absolute(given, Path()))


def _assignment(text: str) -> tuple[str, str, str]:
    path, equals, value = text.partition("=")
    service, dot, name = path.partition(".")
    if not equals or not dot or service not in ("labeler", "trainer"):
        raise SettingsError(f"--set takes labeler.NAME=VALUE or trainer.NAME=VALUE, not {text!r}.")
    return service, name.replace("-", "_"), value
