"""The command line, and the door of the Python client. The only file that knows both services.

It only starts them and talks to them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from commands import backup as backups
from commands import embed, exports, hub, imports, jobs, merge, models, pipeline, predict, simulate, training, versions
from commands import status as running
from commands.client import Flywheel, FlywheelError
from commands.reach import Workspace
from commands.up import show
from commands.up import up as run_both
from shared.settings import LabelerSettings, ServiceSettings, SettingsError, TrainerSettings

__all__ = ["Flywheel", "FlywheelError", "app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="Online active learning for images: label in the browser while the model learns and decides what to ask.",
)
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
REVIEW_PAGE = "/review"


def up(
    photos: Annotated[
        Path | None, typer.Argument(help="Folder of photos; the demo's handwritten digits if none.")
    ] = None,
    classes: Annotated[str | None, typer.Option(help="Class names to begin with: shirt,shoes,hat")] = None,
    workspace: Annotated[Path | None, typer.Option(help="Folder for everything of this project.")] = None,
    test: Annotated[str | None, typer.Option(help="Labeled evaluation set: a folder per class, or a CSV.")] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; beyond loopback FLYWHEEL_TOKEN is needed.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port of the pages; 0 takes a free one.")] = None,
    trainer_port: Annotated[int | None, typer.Option(help="Port of the trainer; 0 takes a free one.")] = None,
    backbone: Annotated[str | None, typer.Option(help="auto, pixels, or any timm name.")] = None,
    strategy: Annotated[str | None, typer.Option(help="Query strategy.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any other setting: --set labeler.buffer_size=20")
    ] = None,
    labeler_config: Annotated[Path | None, typer.Option(help="The labeler's settings as TOML.")] = None,
    trainer_config: Annotated[Path | None, typer.Option(help="The trainer's settings as TOML.")] = None,
) -> None:
    """Start both services; label in the browser."""
    labeler: dict[str, Any] = {"images": photos, "classes": classes, "test_set": test, "host": host, "port": port}
    trainer: dict[str, Any] = {"backbone": backbone, "query_strategy": strategy, "host": host, "port": trainer_port}
    for given in (labeler, trainer):
        given["workspace"] = workspace
    for service, name, value in map(_assignment, set_ or []):
        (labeler if service == "labeler" else trainer)[name] = value
    # Read everything here too: what cannot be is said before any process starts, and only once.
    ours = _load(LabelerSettings, labeler_config, labeler)
    theirs = _load(TrainerSettings, trainer_config, trainer)
    # The demo's digits lie in the workspace; either way the trainer reads files itself instead of asking for each.
    trainer.setdefault("images", ours.images or ours.workspace / "demo" / "images")
    if ours.workspace != theirs.workspace:
        trainer["workspace"] = ours.workspace
    if ours.host != theirs.host:
        raise SettingsError("Under `flywheel up` both services listen on one host; start them singly for two.")
    code = run_both(
        _flags(labeler, labeler_config),
        _flags(trainer, trainer_config),
        port=ours.port,
        trainer_port=theirs.port,
        host=ours.host,
    )
    raise typer.Exit(code)


def labeler(context: typer.Context) -> None:
    """Start the labeler alone; takes every labeler setting as --name value."""
    from labeler.app import main

    raise typer.Exit(main(context.args))


def trainer(context: typer.Context) -> None:
    """Start the trainer alone; takes every trainer setting as --name value."""
    from trainer.app import main

    raise typer.Exit(main(context.args))


def clean(
    source: Annotated[Path, typer.Argument(help="Photos with labels: a folder per class, or a file beside them.")],
    images: Annotated[Path | None, typer.Option(help="Folder of photos, if not where the labels are.")] = None,
    workspace: Workspace = Path("workspace"),
    port: Annotated[int | None, typer.Option(help="Port of the pages; 0 takes a free one.")] = None,
    trainer_port: Annotated[int | None, typer.Option(help="Port of the trainer; 0 takes a free one.")] = None,
    backbone: Annotated[str | None, typer.Option(help="auto, pixels, or any timm name.")] = None,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
) -> None:
    """Find and fix wrong labels: import, start both services, and review the doubtful ones."""
    from labeler.formats.sources import open_source

    folder = images or open_source(source).folder
    labeler: dict[str, Any] = {"images": folder, "workspace": workspace, "port": port}
    if not (workspace / backups.DATABASE).exists():
        labeler["test_set_frac"] = 0.0  # every label is to be checked; a split that the source names is kept
    trainer = {"images": folder, "workspace": workspace, "backbone": backbone, "port": trainer_port}
    ours, theirs = _load(LabelerSettings, None, labeler), _load(TrainerSettings, None, trainer)

    def begin(address: str) -> None:
        try:
            imports.bring(source, address, add_classes=True)
        finally:  # what was imported before, or until something was wrong, can be reviewed all the same
            if open_page:
                show(address + REVIEW_PAGE)

    raise typer.Exit(
        run_both(
            _flags(labeler, None),
            _flags(trainer, None),
            port=ours.port,
            trainer_port=theirs.port,
            host=ours.host,
            page=REVIEW_PAGE,
            begin=begin,
        )
    )


BEGIN, ASK, LABELS, MODELS, KEEP, SINGLE = (
    "Begin",
    "A running project",
    "Labels in and out",
    "Models",
    "Copies",
    "One service alone",
)
COMMANDS: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    (BEGIN, "up", up),
    (BEGIN, "clean", clean),
    (ASK, "status", running.status),
    (ASK, "pause", running.pause),
    (ASK, "resume", running.resume),
    (ASK, "stop", running.stop),
    (ASK, "simulate", simulate.simulate),
    (LABELS, "import", imports.import_),
    (LABELS, "export", exports.export),
    (LABELS, "fetch", hub.fetch),
    (LABELS, "merge", merge.merge_command),
    (LABELS, "split", versions.split),
    (MODELS, "predict", predict.predict),
    (MODELS, "train", training.train),
    (MODELS, "finalize", training.finalize),
    (MODELS, "pipeline", pipeline.pipeline),
    (MODELS, "embed", embed.embed),
    (KEEP, "backup", backups.backup_command),
    (KEEP, "restore", backups.restore_command),
)
"""Every command in the order of use, as `--help` shows them."""
for panel, name, command in COMMANDS:
    app.command(name, rich_help_panel=panel)(command)
app.add_typer(versions.app, name="snapshot", rich_help_panel=LABELS)
app.add_typer(models.app, name="models", rich_help_panel=MODELS)
app.add_typer(jobs.app, name="jobs", rich_help_panel=MODELS)
app.command(rich_help_panel=SINGLE, context_settings=PASS_ON)(labeler)
app.command(rich_help_panel=SINGLE, context_settings=PASS_ON)(trainer)


def main() -> None:
    """Run the command line; an error that a person can mend is one sentence and code 2."""
    try:
        app()
    except SettingsError as error:
        print(f"Flywheel: {error}", file=sys.stderr)
        sys.exit(2)


def _load(kind: type[ServiceSettings], file: Path | None, given: dict[str, Any]) -> Any:
    return kind.load(file=file, command_line={name: str(value) for name, value in given.items() if value is not None})[
        0
    ]


def _flags(given: dict[str, Any], file: Path | None) -> dict[str, str]:
    """What the child is told: paths made absolute, so that it need not run where we do."""
    told = {name: str(value) for name, value in given.items() if value is not None and name not in ("host", "port")}
    for name in ("images", "workspace", "test_set"):
        if told.get(name):
            told[name] = str(Path(told[name]).absolute())
    return {**told, **({"config": str(file.absolute())} if file is not None else {})}


def _assignment(text: str) -> tuple[str, str, str]:
    path, equals, value = text.partition("=")
    service, dot, name = path.partition(".")
    if not equals or not dot or service not in ("labeler", "trainer"):
        raise SettingsError(f"--set takes labeler.NAME=VALUE or trainer.NAME=VALUE, not {text!r}.")
    return service, name.replace("-", "_"), value


if __name__ == "__main__":
    main()
