"""The entry point of the command line and of the Python client. Each command has a module in `commands/`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import typer

from commands import up
from commands.client import Flywheel
from commands.connection import FlywheelError
from commands.labels import exports, hub, imports, merge, simulate, snapshots
from commands.models import embed, jobs, pipeline, predict, saved_versions, training
from commands.running import projects
from commands.running import status as running
from commands.running.given_paths import Commands
from commands.upkeep import backup as backups
from commands.upkeep.doctor import doctor
from shared.settings.services import SettingsError

__all__ = ["Flywheel", "FlywheelError", "app", "main"]

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="Online active learning for images: you label in the browser, the model learns and decides what to ask next.",
)
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def labeler(context: typer.Context) -> None:
    """Start only the labeler. Takes every setting of the labeler as --name value."""
    from labeler.app import main

    raise typer.Exit(main(context.args))


def trainer(context: typer.Context) -> None:
    """Start only the trainer. Takes every setting of the trainer as --name value."""
    from trainer.app import main

    raise typer.Exit(main(context.args))


BEGIN, ASK, LABELS, MODELS, KEEP, SINGLE = (
    "Begin",
    "A running project",
    "Labels in and out",
    "Models",
    "Copies and repair",
    "One service alone",
)
COMMANDS: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    (BEGIN, "up", up.up),
    (BEGIN, "clean", up.clean),
    (BEGIN, "add", projects.add),
    (BEGIN, "projects", projects.projects),
    (ASK, "status", running.status),
    (ASK, "pause", running.pause),
    (ASK, "resume", running.resume),
    (ASK, "stop", running.stop),
    (ASK, "simulate", simulate.simulate),
    (LABELS, "import", imports.import_),
    (LABELS, "export", exports.export),
    (LABELS, "fetch", hub.fetch),
    (LABELS, "merge", merge.merge_command),
    (LABELS, "split", snapshots.split),
    (MODELS, "predict", predict.predict),
    (MODELS, "train", training.train),
    (MODELS, "finalize", training.finalize),
    (MODELS, "pipeline", pipeline.pipeline),
    (MODELS, "embed", embed.embed),
    (KEEP, "backup", backups.backup_command),
    (KEEP, "restore", backups.restore_command),
    (KEEP, "doctor", doctor),
)
"""Every command, in the order in which `--help` shows them."""
for panel, name, command in COMMANDS:
    app.command(name, rich_help_panel=panel)(command)
app.add_typer(snapshots.app, name="snapshot", rich_help_panel=LABELS)
app.add_typer(saved_versions.app, name="models", rich_help_panel=MODELS)
app.add_typer(jobs.app, name="jobs", rich_help_panel=MODELS)
app.command(rich_help_panel=SINGLE, context_settings=PASS_ON)(labeler)
app.command(rich_help_panel=SINGLE, context_settings=PASS_ON)(trainer)


def main() -> None:
    """Run the command line. An error that a person can fix is one sentence and exit code 2."""
    try:
        app()
    except SettingsError as error:
        print(f"Flywheel: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
