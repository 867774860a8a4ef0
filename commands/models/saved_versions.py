"""`flywheel models`: the saved versions of a running trainer, on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console
from rich.text import Text

from commands.models.jobs import follow
from commands.running.consent import Yes, consent
from commands.running.given_paths import new_file
from commands.running.place import Place, talks_to
from commands.running.reach import ask, download
from commands.tables import Kind, Listing, facts
from shared.figures import (
    BOX_METRICS,
    accuracy_in_words,
    goal_metric,
    interval_in_words,
    is_measured,
    many,
    measured,
    megabytes,
    metric_in_words,
    pairs_in_words,
    percent,
)
from shared.settings.services import SettingsError
from shared.wire.evaluation import Interval
from shared.wire.jobs import Comparison, Job
from shared.wire.models import ModelList, ModelVersion, Pruned

app = typer.Typer(no_args_is_help=True, help="List, compare, export, promote and delete saved model versions.")
console = Console()
EXPORT_SECONDS = 700.0  # a large network takes minutes to trace
SAVE_SECONDS = 120.0  # comparing with the current model saves it, the first time with its backbone
METRICS = (
    "accuracy",
    "macro_f1",
    "micro_f1",
    "map_50",
    "map_50_95",
    "auc_pr",
    "log_loss",
    "calibration_error",
    "latency_ms",
    "bytes",
)
"""The fields of `Scores` that a comparison shows."""
Name = Annotated[str, typer.Argument(metavar="VERSION", help="A version from `flywheel models list`.")]


@app.command("list")
@talks_to("trainer")
def list_(*, place: Place) -> None:
    """List all versions, oldest first."""
    show_list(ModelList.model_validate(ask(f"{place.trainer}/models")))


@app.command()
@talks_to("trainer")
def show(version: Name, *, place: Place) -> None:
    """Show everything about a version."""
    found = ModelVersion.model_validate(ask(f"{place.trainer}/models/{quote(version)}"))
    table = facts()
    rows: dict[str, Any] = {
        "version": found.version + (" (promoted)" if found.promoted else ""),
        "saved": f"{found.saved_at:%Y-%m-%d %H:%M} UTC, {found.reason}",
        "made from": found.parent or "–",
        "learner": f"{found.learner.replace('_', '-')}, {found.architecture}",
        "input": f"{found.input.size} pixels per side, {found.input.preparation}" if found.input else "vectors",
        "labels": f"{found.labels:,}, as of row {found.acked_seq:,} of the log",
        "classes": ", ".join(f"{each.name} ({found.labels_by_class.get(each.name, 0)})" for each in found.classes),
        **figures(found),
        "size": _size(found),
        "training": f"{found.seconds:,.1f} s" if found.seconds is not None else "–",
        "configuration": ", ".join(
            f"{key} = {value}" for key, value in found.config.items() if value not in ("", None) and key != "trained"
        ),
    }
    for name, value in rows.items():
        table.add_row(name, Text(str(value)))
    console.print(table)


@app.command()
@talks_to("trainer")
def save(name: Name, *, place: Place) -> None:
    """Save the current model under a name."""
    saved = ask(f"{place.trainer}/models", "POST", json={"name": name})
    console.print(f"Saved: {saved['model']}", soft_wrap=True, markup=False, highlight=False)


@app.command()
@talks_to("trainer")
def promote(version: Name, yes: Yes = False, *, place: Place) -> None:
    """Let a version answer predictions. `now` stands for the current model, which learns with every batch."""
    url = f"{place.trainer}/models/{quote(version)}/promote"
    asked = ModelList.model_validate(ask(url, "POST", params={"confirmed": False}, seconds=60))
    if asked.warning is not None:
        consent(asked.warning, yes=yes)
        asked = ModelList.model_validate(ask(url, "POST", seconds=60))
    show_list(asked)


@app.command()
@talks_to("trainer")
def rollback(*, place: Place) -> None:
    """Return to the version that was promoted before."""
    show_list(ModelList.model_validate(ask(f"{place.trainer}/models/rollback", "POST")))


@app.command()
@talks_to("trainer")
def delete(
    version: Annotated[str | None, typer.Argument(help="A version. Omit it with --unneeded.")] = None,
    unneeded: Annotated[bool, typer.Option("--unneeded", help="Delete all versions that nothing needs.")] = False,
    yes: Yes = False,
    *,
    place: Place,
) -> None:
    """Delete a version that nothing needs, or all such versions."""
    if (version is None) != unneeded:
        raise typer.BadParameter("name one version, or use --unneeded.")
    known = {each.version: each for each in ModelList.model_validate(ask(f"{place.trainer}/models")).models}
    if version is not None:
        if version in known:
            consent(f"{_gone([known[version]])} This cannot be undone.", yes=yes)
        show_list(ModelList.model_validate(ask(f"{place.trainer}/models/{quote(version)}", "DELETE")))
        return
    going = Pruned.model_validate(ask(f"{place.trainer}/models", "DELETE", params={"dry_run": True})).deleted
    if going:
        consent(f"{_gone([known[name] for name in going if name in known])} This cannot be undone.", yes=yes)
    pruned = Pruned.model_validate(ask(f"{place.trainer}/models", "DELETE"))
    console.print(f"Deleted: {', '.join(pruned.deleted) or 'none'}", markup=False)
    for name, why in pruned.kept.items():
        console.print(f"Kept {name}: {why}", markup=False)


def _gone(going: list[ModelVersion]) -> str:
    names = ", ".join(each.version for each in going)
    return (
        f"This deletes {many(len(going), 'version')} with {megabytes(sum(each.bytes for each in going))} "
        f"({names}). Backbones are kept."
    )


@app.command()
@talks_to("trainer")
def export(
    version: Name,
    target: Annotated[
        Path, typer.Argument(help="File to write: model.onnx, model.pt2, model.zip, card.md, …", parser=new_file)
    ],
    format: Annotated[
        str, typer.Option(help="onnx, torch, zip, fastai, card, safetensors, json, csv. Default: by ending.")
    ] = "",
    *,
    place: Place,
) -> None:
    """Export a version in a format that other programs run. ONNX and torch.export are checked against it."""
    ending = target.suffix.removeprefix(".")
    download(
        place.trainer,
        f"/models/{quote(version)}/export",
        {"format": format or {"pt2": "torch", "md": "card"}.get(ending, ending)},
        target,
        seconds=EXPORT_SECONDS,
    )
    console.print(f"Written: {target}", soft_wrap=True, markup=False, highlight=False)


@app.command()
@talks_to("trainer")
def compare(
    base: Annotated[str, typer.Argument(help="The existing version; `now` is the current model.")],
    candidate: Annotated[str, typer.Argument(help="The version that may be better.")],
    min_delta: Annotated[
        list[str] | None,
        typer.Option(
            help="A check: accuracy=0.01, auc_pr=0, latency_ms=-5, … "
            "Default: accuracy=0; multi-label: macro_f1=0; boxes: map_50=0."
        ),
    ] = None,
    rule: Annotated[str, typer.Option(help="How many checks must pass: all, any, or a share such as 0.5.")] = "all",
    split: Annotated[
        str, typer.Option(help="Images to compare on: test, or validation, which exists for choosing.")
    ] = "test",
    significant: Annotated[bool, typer.Option("--significant", help="Require a significant gain (p < 0.05).")] = False,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="Compare the figures that both recorded when they were saved.")
    ] = False,
    promote: Annotated[bool, typer.Option("--promote", help="Promote the candidate if it passes.")] = False,
    iou_threshold: Annotated[
        float | None, typer.Option(help="Boxes: IoU from which a box is found, for auc_pr and the classes.")
    ] = None,
    *,
    place: Place,
) -> None:
    """Compare two versions on the same images. The exit code is 1 if the candidate does not pass."""
    asked = {
        "base": base,
        "candidate": candidate,
        "min_delta": dict(assignment(each) for each in min_delta or ["accuracy=0"]),
        "rule": rule if rule in ("all", "any") else number(rule),
        "split": split,
        "significant": significant,
        "recorded": recorded,
        "promote": promote,
        **({"iou_threshold": iou_threshold} if iou_threshold is not None else {}),
    }
    begun = ask(f"{place.trainer}/models/compare", "POST", json=asked, seconds=SAVE_SECONDS)
    job = follow(place.trainer, Job.model_validate(begun))
    found = Comparison.model_validate(job.result)
    show_comparison(found)
    raise typer.Exit(0 if found.decision == "update_model" else 1)


def show_comparison(found: Comparison) -> None:
    """Print both versions side by side, the checks, and the decision."""
    for side, scores in (("base", found.base), ("candidate", found.candidate)):
        console.print(f"{side}: {scores.version}", markup=False, highlight=False, soft_wrap=True)
    table = Listing({"": "name", "base": "number", "candidate": "number", "check": "words"})
    checks = {check.metric: check for check in found.checks}
    for metric in METRICS:
        values = [measured(each, metric) for each in (found.base, found.candidate)]
        shown = [metric_in_words(metric, value) for value in values]
        verdict = ""
        if metric in checks:
            verdict = f"{'passed' if checks[metric].passed else 'failed'} (at least {checks[metric].min_delta:+g})"
        if verdict or values != [None, None]:
            table.add_row(metric.replace("_", " "), *shown, verdict)
    console.print(table)
    if said := pairs_in_words(found):
        console.print(said, highlight=False)
    for reason, images in found.left_out.items():
        console.print(f"Left out: {many(images, 'image')} ({reason}).", highlight=False)
    words = {"update_model": "Update to", "discard": "Keep"}[found.decision]
    console.print(f"{words} {found.winner}: {found.reason}", markup=False, highlight=False)


def assignment(text: str) -> tuple[str, float]:
    """Parse `metric=number`."""
    name, equals, value = text.partition("=")
    if not equals:
        raise SettingsError(f"--min-delta takes METRIC=NUMBER, such as accuracy=0.01, not {text!r}.")
    return name.strip().replace("-", "_"), number(value)


def number(text: str) -> float:
    """Parse a number. Raises SettingsError."""
    try:
        return float(text)
    except ValueError:
        raise SettingsError(f"{text!r} is not a number.") from None


def show_list(models: ModelList) -> None:
    """Print the versions as a table that fits a terminal of 80 columns."""
    measured_by = {goal_metric(each.metrics)[0] for each in models.models if each.metrics is not None}
    metric = next(iter(measured_by), "accuracy").replace(BOX_METRICS["map_50"], "mAP 0.5")
    what = f"{metric} on\ntest (95 %)"
    headings: dict[str, Kind] = {"version": "name", "labels": "number", what: "name"}
    table = Listing({**headings, "saved (UTC)": "name"}, show_lines=True)
    for each in models.models:
        learner = [each.learner.replace("_", "-"), each.architecture]
        table.add_row(
            Text("\n".join([each.version, *learner, *(["promoted"] if each.promoted else [])])),
            f"{each.labels:,}",
            _in_lines(goal_metric(each.metrics)[1] if each.metrics is not None else None),
            f"{each.saved_at:%Y-%m-%d %H:%M}\n{megabytes(each.all_bytes or each.bytes)}",
        )
    console.print(table if models.models else "No version is saved yet. `flywheel models save NAME` saves one.")
    for refused in models.unreadable:
        console.print(f"Refused: {refused.reason}", markup=False)


def _size(version: ModelVersion) -> str:
    own, all_ = version.bytes, version.all_bytes or version.bytes
    return f"{megabytes(all_)}" + (f", of which {megabytes(own)} are its own file" if own != all_ else "")


def _in_lines(found: Interval | None) -> str:
    """The accuracy in short lines, so that the names beside it have room."""
    if found is None or not is_measured(found):
        return accuracy_in_words(found).replace(" yet: ", "\nyet: ").replace(" labeled test", "\nlabeled test")
    return f"{percent(found.value, 1)}\n{interval_in_words(found)}\n{many(found.n, 'test image')}"


def accuracy(version: ModelVersion) -> str:
    """The accuracy with its interval."""
    return accuracy_in_words(version.metrics.accuracy if version.metrics is not None else None)


def figures(version: ModelVersion) -> dict[str, str]:
    """Its metrics, by name."""
    said = version.metrics
    if said is not None and said.map_50 is not None:
        return {name: accuracy_in_words(getattr(said, metric)) for metric, name in BOX_METRICS.items()}
    several = said is not None and said.micro_f1 is not None
    return {
        "exact match" if several else "accuracy": accuracy(version),
        "macro F1": metric_in_words("macro_f1", said.macro_f1 if said else None),
    }
