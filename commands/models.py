"""`flywheel models`: saved versions of a running trainer, at the command line."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from commands.reach import TRAINER, TrainerUrl, ask
from shared.models import ModelList, ModelVersion, Pruned

app = typer.Typer(no_args_is_help=True, help="Saved model versions: look at them, promote one, roll back, delete.")
console = Console()
Name = Annotated[str, typer.Argument(metavar="VERSION", help="A version, as `flywheel models list` names it.")]


@app.command("list")
def list_(trainer_url: TrainerUrl = TRAINER) -> None:
    """All versions, oldest first."""
    show_list(ModelList.model_validate(ask(f"{trainer_url}/models")))


@app.command()
def show(version: Name, trainer_url: TrainerUrl = TRAINER) -> None:
    """Everything that a version says of itself."""
    found = ModelVersion.model_validate(ask(f"{trainer_url}/models/{quote(version)}"))
    table = Table(show_header=False)
    rows: dict[str, Any] = {
        "version": found.version + (" (promoted)" if found.promoted else ""),
        "saved": f"{found.saved_at:%Y-%m-%d %H:%M} UTC, {found.reason}",
        "made from": found.parent or "–",
        "learner": f"{found.learner.replace('_', '-')}, {found.architecture}",
        "input": f"{found.input.size} pixels a side, {found.input.preparation}" if found.input else "vectors",
        "labels": f"{found.labels:,} of row {found.acked_seq:,} of the log",
        "classes": ", ".join(f"{each.name} ({found.labels_by_class.get(each.name, 0)})" for each in found.classes),
        "accuracy": accuracy(found),
        "macro F1": f"{found.metrics.macro_f1:.3f}" if found.metrics and found.metrics.macro_f1 is not None else "–",
        "size": size(found.bytes),
        "training": f"{found.seconds:,.1f} s" if found.seconds is not None else "–",
        "configuration": ", ".join(f"{key} = {value}" for key, value in found.config.items() if value not in ("", 0)),
    }
    for name, value in rows.items():
        table.add_row(name, Text(str(value)))
    console.print(table)


@app.command()
def save(name: Name, trainer_url: TrainerUrl = TRAINER) -> None:
    """Save the model of now under a name."""
    saved = ask(f"{trainer_url}/models", "POST", json={"name": name})
    console.print(f"Saved: {saved['model']}", soft_wrap=True, markup=False, highlight=False)


@app.command()
def promote(version: Name, trainer_url: TrainerUrl = TRAINER) -> None:
    """Let a version answer predictions; `now` is the model that learns on with every batch."""
    show_list(ModelList.model_validate(ask(f"{trainer_url}/models/{quote(version)}/promote", "POST", seconds=60)))


@app.command()
def rollback(trainer_url: TrainerUrl = TRAINER) -> None:
    """Go back to what was promoted before."""
    show_list(ModelList.model_validate(ask(f"{trainer_url}/models/rollback", "POST")))


@app.command()
def delete(
    version: Annotated[str | None, typer.Argument(help="A version; or else --unneeded.")] = None,
    unneeded: Annotated[bool, typer.Option("--unneeded", help="All versions that nothing needs.")] = False,
    trainer_url: TrainerUrl = TRAINER,
) -> None:
    """Delete a version that nothing needs, or all of those."""
    if (version is None) != unneeded:
        raise typer.BadParameter("name one version, or say --unneeded.")
    if version is not None:
        show_list(ModelList.model_validate(ask(f"{trainer_url}/models/{quote(version)}", "DELETE")))
        return
    pruned = Pruned.model_validate(ask(f"{trainer_url}/models", "DELETE"))
    console.print(f"Deleted: {', '.join(pruned.deleted) or 'none'}", markup=False)
    for name, why in pruned.kept.items():
        console.print(f"Kept {name}: {why}", markup=False)


def show_list(models: ModelList) -> None:
    """Versions as a table."""
    table = Table("version", "saved (UTC)", "learner", "labels", "accuracy on test (95 %)", "size", "")
    for each in models.models:
        table.add_row(
            Text(each.version),
            f"{each.saved_at:%Y-%m-%d %H:%M}",
            Text(f"{each.learner.replace('_', '-')}, {each.architecture}"),
            f"{each.labels:,}",
            accuracy(each),
            size(each.bytes),
            "promoted" if each.promoted else "",
        )
    console.print(table)
    for refused in models.unreadable:
        console.print(f"Refused: {refused.reason}", markup=False)


def accuracy(version: ModelVersion) -> str:
    """With its interval."""
    if version.metrics is None:
        return "not measured"
    measured = version.metrics.accuracy
    return f"{measured.value:.1%} ({measured.low:.1%} – {measured.high:.1%}, {measured.n} images)"


def size(count: int) -> str:
    """Bytes in words."""
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB"
