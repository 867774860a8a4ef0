"""`flywheel status`, `pause`, `resume`, `stop`: where a running project stands, and the buttons of its pages."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from commands.reach import LABELER, TRAINER, LabelerUrl, TrainerUrl, ask
from shared.figures import accuracy_in_words, many
from shared.messages import Interval

console = Console()


def status(labeler_url: LabelerUrl = LABELER) -> None:
    """Where labeling and training stand."""
    project = ask(f"{labeler_url}/api/project")
    images, trainer_view = project["images"], project["trainer"]
    table = Table(show_header=False)
    table.add_row("images", f"{images['total']:,} ({images['labeled']:,} labeled, {images['skipped']:,} skipped)")
    table.add_row("trainer", f"{trainer_view['state']}, {many(trainer_view['lag'], 'row')} behind")
    table.add_row("outbox", f"{many(project['outbox']['pending'], 'row')} waiting")
    accuracy = Interval.model_validate(project["accuracy"]) if project["accuracy"] else None  # as the pages say it
    table.add_row("accuracy (95 %)", accuracy_in_words(accuracy))
    tracking = trainer_view["detail"].get("tracking") or {}
    if tracking.get("error") or tracking.get("run"):
        table.add_row(f"wandb ({tracking['mode']})", Text(tracking.get("error") or tracking["run"]))
    if trainer_view["last_error"]:
        table.add_row("last error", trainer_view["last_error"])
    console.print(table)


def pause(trainer_url: TrainerUrl = TRAINER) -> None:
    """Pause training; labels are still taken."""
    _command(trainer_url, "pause")


def resume(trainer_url: TrainerUrl = TRAINER) -> None:
    """Go on after a pause or a stop."""
    _command(trainer_url, "resume")


def stop(trainer_url: TrainerUrl = TRAINER) -> None:
    """Finish: last labels, last evaluation, model and dataset saved."""
    _command(trainer_url, "stop")


def _command(url: str, verb: str) -> None:
    console.print(f"The trainer is {ask(f'{url}/{verb}', 'POST')['state']}.")
