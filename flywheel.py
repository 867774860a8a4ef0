"""The command line, and the door of the Python client. The only file that knows both services.

It only starts them and talks to them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from commands import backup as backups
from commands import embed as embeddings
from commands import exports, hub, imports, pipeline, training, versions
from commands import merge as merging
from commands import predict as predictions
from commands import simulate as simulation
from commands.client import Flywheel, FlywheelError
from commands.jobs import app as jobs_app
from commands.models import app as models_app
from commands.reach import LABELER, TRAINER, LabelerUrl, TrainerUrl, ask, reach, token
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
app.add_typer(models_app, name="models")
app.add_typer(versions.app, name="snapshot")
app.command()(versions.split)
app.add_typer(jobs_app, name="jobs")
app.command()(training.train)
app.command()(training.finalize)
app.command()(exports.export)
app.command()(pipeline.pipeline)
app.command()(hub.fetch)
console = Console()
Workspace = Annotated[Path, typer.Option(help="Folder for everything of one project.")]
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
SHOWN_CLASSES = 20
REVIEW_PAGE = "/review"


@app.command()
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


@app.command(context_settings=PASS_ON)
def labeler(context: typer.Context) -> None:
    """Start the labeler alone; takes every labeler setting as --name value."""
    from labeler.app import main

    raise typer.Exit(main(context.args))


@app.command(context_settings=PASS_ON)
def trainer(context: typer.Context) -> None:
    """Start the trainer alone; takes every trainer setting as --name value."""
    from trainer.app import main

    raise typer.Exit(main(context.args))


@app.command()
def simulate(
    labels: Annotated[Path | None, typer.Option(help="CSV with filename,label; the demo's own truth if none.")] = None,
    budget: Annotated[int, typer.Option(min=1, help="Labels to give.")] = 200,
    pace: Annotated[float, typer.Option(min=0, help="Labels a second; 0 waits for the new queue at each batch.")] = 0.0,
    annotator: Annotated[str, typer.Option(help="Name to label under.")] = "simulated",
    url: LabelerUrl = LABELER,
) -> None:
    """Label like a person, from a table of right answers; see the curve at the end."""
    truth = simulation.read_truth(labels) if labels is not None else simulation.demo_truth()
    person = simulation.Annotator(url, truth, name=annotator, token=token())
    columns = (
        "{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        "{task.fields[accuracy]}",
    )
    progress = Progress(
        *(TextColumn(column) if isinstance(column, str) else column for column in columns), console=console
    )
    with progress:
        task = progress.add_task("Labeling", total=budget, accuracy="")

        def show(count: int, measured: simulation.Measurement | None) -> None:
            progress.update(task, completed=count)
            if measured is not None and measured.accuracy is not None:
                progress.update(task, accuracy=_accuracy(measured))

        result = reach(url, lambda: person.run(budget, pace=pace, on_progress=show))
    person.close()
    console.print(_curve(result))
    console.print(f"{len(result.answers)} labels in {result.seconds:.1f} s; {result.ended}.")


@app.command()
def embed(
    simclr: Annotated[bool, typer.Option("--simclr", help="Train a network on the photos, without labels.")] = False,
    images: Annotated[Path | None, typer.Option(help="Folder of photos, where the workspace does not know it.")] = None,
    workspace: Workspace = Path("workspace"),
    epochs: Annotated[int, typer.Option(min=1, help="Times that each photo is seen.")] = 100,
    arch: Annotated[str, typer.Option(help="Any timm name.")] = "resnet18",
    input_size: Annotated[int, typer.Option(min=8, max=4_096, help="Pixels a side.")] = 128,
    batch_size: Annotated[int, typer.Option(min=2, help="Photos told apart at once: more is better.")] = 128,
) -> None:
    """Train a backbone on your own photos; goes on where it was interrupted."""
    if not simclr:
        raise SettingsError("Say which way to train: `flywheel embed --simclr` is the one there is.")
    embeddings.simclr(
        workspace,
        images,
        arch=arch,
        input_size=input_size,
        epochs=epochs,
        batch_size=batch_size,
        console=console,
        token=token(),
    )


@app.command()
def status(labeler_url: LabelerUrl = LABELER) -> None:
    """Where labeling and training stand."""
    project = ask(f"{labeler_url}/api/project")
    images, trainer_view = project["images"], project["trainer"]
    table = Table(show_header=False)
    table.add_row("images", f"{images['total']} ({images['labeled']} labeled, {images['skipped']} skipped)")
    table.add_row("trainer", f"{trainer_view['state']}, {trainer_view['lag']} rows behind")
    table.add_row("outbox", f"{project['outbox']['pending']} rows waiting")
    metrics = trainer_view["detail"].get("metrics") or {}
    if metrics.get("accuracy") is not None:
        low, high, n = metrics["accuracy_low"], metrics["accuracy_high"], metrics["test_labels"]
        table.add_row("accuracy", f"{metrics['accuracy']:.1%} ({low:.1%} – {high:.1%}, {n} test images)")
    tracking = trainer_view["detail"].get("tracking") or {}
    if tracking.get("error") or tracking.get("run"):
        table.add_row(f"wandb ({tracking['mode']})", Text(tracking.get("error") or tracking["run"]))
    if trainer_view["last_error"]:
        table.add_row("last error", trainer_view["last_error"])
    console.print(table)


@app.command()
def pause(trainer_url: TrainerUrl = TRAINER) -> None:
    """Pause training; labels are still taken."""
    _command(trainer_url, "pause")


@app.command()
def resume(trainer_url: TrainerUrl = TRAINER) -> None:
    """Go on after a pause or a stop."""
    _command(trainer_url, "resume")


@app.command()
def stop(trainer_url: TrainerUrl = TRAINER) -> None:
    """Finish: last labels, last evaluation, model and dataset saved."""
    _command(trainer_url, "stop")


@app.command()
def predict(
    folder: Annotated[Path, typer.Argument(help="Folder of images.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="CSV to write.")],
    version: Annotated[str | None, typer.Option(help="A saved version, or `now`; the promoted one if none.")] = None,
    trainer_url: TrainerUrl = TRAINER,
) -> None:
    """Predict every image of a folder with a running trainer's model."""
    with Progress(TextColumn("Predicting"), TextColumn("{task.completed} images"), console=console) as bar:
        task = bar.add_task("", total=None)
        count, problems, answered = reach(
            trainer_url,
            lambda: predictions.predict(
                folder,
                output,
                trainer_url,
                version=version,
                token=token(),
                on_progress=lambda done: bar.update(task, completed=done),
            ),
        )
    console.print(f"{count} images predicted by {answered}; {len(problems)} cannot be read. Written: {output}")


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="Folder per class, or CSV, JSONL, parquet, JSON, XML with labels.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look and count; write nothing.")] = False,
    add_classes: Annotated[bool, typer.Option("--add-classes", help="Add classes that the project lacks.")] = False,
    report: Annotated[Path | None, typer.Option(help="CSV for every row rejected or contradicted.")] = None,
    labeler_url: LabelerUrl = LABELER,
) -> None:
    """Import labels into a running labeler; run it again to go on where it was interrupted."""
    _import(source, labeler_url, dry_run=dry_run, add_classes=add_classes, report=report)


@app.command()
def merge(
    first: Annotated[Path, typer.Argument(help="A workspace at rest, or a folder or file that import reads.")],
    second: Annotated[Path, typer.Argument(help="Another one.")],
    target: Annotated[Path, typer.Argument(help="JSON lines to write, for import.")],
    prefer: Annotated[str, typer.Option(help="Whose label counts where they differ: first, second, neither.")] = (
        "neither"
    ),
) -> None:
    """Merge two workspaces or manifests into one manifest."""
    images = merging.run(first, second, target, prefer)
    differ = sum(image.conflict for image in images)
    console.print(f"Written: {target}. {len(images):,} images, {differ:,} of them with different labels.")


@app.command()
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
            _import(source, address, add_classes=True)
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


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(help="A new folder.")], workspace: Workspace = Path("workspace")
) -> None:
    """Copy the workspace, also while it is in use."""
    console.print(f"Written: {backups.backup(workspace, target)}")


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(help="A folder that `flywheel backup` wrote.")],
    workspace: Workspace = Path("workspace"),
) -> None:
    """Put a backup in the place of the workspace; what was there is kept beside it."""
    aside = backups.restore(source, workspace)
    console.print(f"Restored {workspace}." + (f" What was there is in {aside}." if aside else ""))


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


def _import(
    path: Path, url: str, *, dry_run: bool = False, add_classes: bool = False, report: Path | None = None
) -> None:
    from labeler.formats.sources import open_source

    source = open_source(path)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        scan = progress.add_task("Reading the image folder", total=None)

        def scanned(done: int, total: int | None) -> None:
            progress.update(scan, completed=done, total=total)

        reach(url, lambda: imports.wait_for_scan(url, token=token(), on_progress=scanned))
        task = progress.add_task("Looking at labels" if dry_run else "Importing labels", total=source.total)
        outcome: imports.Outcome = reach(
            url,
            lambda: imports.send(
                url,
                source.rows(),
                source.folder,
                dry_run=dry_run,
                add_classes=add_classes,
                report=report,
                token=token(),
                on_progress=lambda so_far: progress.update(task, completed=so_far.rows),
            ),
        )
    console.print(_imported(outcome, dry_run=dry_run))
    for kind, issues in outcome.issues.items():
        for issue in issues:
            console.print(f"  {issue} ({kind})", markup=False, highlight=False)
        if outcome.counts[kind] > len(issues):
            console.print(f"  … and {outcome.counts[kind] - len(issues):,} more; --report FILE has them all.")


def _imported(outcome: imports.Outcome, *, dry_run: bool) -> Table:
    counts = outcome.counts
    table = Table(show_header=False)
    table.add_row("rows with a label", f"{outcome.rows:,}")
    table.add_row("labels to import" if dry_run else "labels imported", f"{counts['labels']:,}")
    table.add_row("imported before", f"{counts['known']:,}")
    table.add_row("images new here", f"{counts['images']:,}")
    table.add_row("left out: held out to measure with", f"{counts['held_out']:,}")
    table.add_row("contradicting another label", f"{counts['conflict']:,}")
    table.add_row("rejected", f"{counts['rejected']:,}")
    for name, rows in outcome.new_classes.most_common(SHOWN_CLASSES):
        table.add_row("class that was not here", Text(f"{name} ({rows:,})"))
    return table


def _command(url: str, verb: str) -> None:
    console.print(f"The trainer is {ask(f'{url}/{verb}', 'POST')['state']}.")


def _accuracy(measured: simulation.Measurement) -> str:
    if measured.accuracy is None or measured.low is None or measured.high is None:
        return ""
    return f"{measured.accuracy:.1%} ({measured.low:.1%} – {measured.high:.1%})"


def _curve(result: simulation.Simulation) -> Table:
    """At most a dozen points of the curve."""
    table = Table("labels", "accuracy on test (95 %)", "test labels", "batch → new queue")
    step = max(1, len(result.measurements) // 12)
    points = result.measurements[step - 1 :: step]
    for point in points:
        waited = f"{point.seconds_to_queue:.2f} s" if point.seconds_to_queue is not None else "–"
        table.add_row(str(point.labels), _accuracy(point) or "not measured yet", str(point.test_labels), waited)
    return table


if __name__ == "__main__":
    main()
