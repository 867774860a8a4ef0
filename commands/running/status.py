"""`flywheel status`, `pause`, `resume`, `stop`: the state of a running project, and the buttons of its pages."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from commands.running.place import Place, talks_to
from commands.running.reach import ask
from commands.tables import facts
from shared.figures import METRIC_NAMES, accuracy_in_words, many
from shared.tasks.registry import task_named
from shared.wire.evaluation import Interval

console = Console()


@talks_to("labeler")
def status(*, place: Place) -> None:
    """Show the state of labeling and training."""
    project = place.said("labeler")
    images, trainer_view = project["images"], project["trainer"]
    table = facts()
    counted = ", ".join(f"{images[each]:,} {each}" for each in ("labeled", "skipped", "flagged", "unlabeled"))
    table.add_row("images", f"{images['total']:,} ({counted})")
    if project["missing"]:
        count = many(project["missing"], "labeled image")
        table.add_row("files not found", f"{count}, kept without a file: the page Data names them")
    if project["rejected"]:
        table.add_row("files not used", f"{many(project['rejected'], 'file')}: the page Data says why")
    lag, waiting = trainer_view["lag"], project["outbox"]["pending"]
    behind = f"{many(lag, 'log row')} behind" if lag else "up to date"
    table.add_row("trainer", f"{trainer_view['state']}, {behind}")
    if waiting:
        table.add_row(
            "not sent yet", f"{many(waiting, 'log row')}, safe on disk: the trainer gets them when it answers"
        )
    task = task_named(project["task"])
    figure = project[task.metric]
    accuracy = Interval.model_validate(figure) if figure else None  # in the words of the pages
    table.add_row(f"{METRIC_NAMES[task.metric]} (95 %)", accuracy_in_words(accuracy))
    tracking = trainer_view["detail"].get("tracking") or {}
    if tracking.get("error") or tracking.get("run"):
        table.add_row(f"wandb ({tracking['mode']})", Text(tracking.get("error") or tracking["run"]))
    for each in (project.get("disk"), trainer_view.get("disk")):
        if each:
            table.add_row("disk", Text(each["message"]))
    if trainer_view["last_error"]:
        table.add_row("last error", Text(trainer_view["last_error"]))
    console.print(table)


@talks_to("trainer")
def pause(*, place: Place) -> None:
    """Pause training. Labels are still saved."""
    _command(place.trainer, "pause")


@talks_to("trainer")
def resume(*, place: Place) -> None:
    """Continue training after a pause or a stop."""
    _command(place.trainer, "resume")


@talks_to("trainer")
def stop(*, place: Place) -> None:
    """Learn the last labels, measure once more, and save model and dataset."""
    _command(place.trainer, "stop")


def _command(url: str, verb: str) -> None:
    console.print(f"The trainer is {ask(f'{url}/{verb}', 'POST')['state']}.")
