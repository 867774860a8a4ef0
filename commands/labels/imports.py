"""`flywheel import`, and the first half of `flywheel clean`: sends the rows of a file or folder to a labeler."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from commands.running.consent import Yes, consent
from commands.running.given_paths import file_or_folder, new_file
from commands.running.place import Place, talks_to
from commands.running.reach import client, reach, token
from commands.tables import facts
from shared.cells import harmless
from shared.figures import many
from shared.importing import Outcome, take_rows
from shared.settings.services import SettingsError
from shared.tasks.classification import CLASSIFICATION
from shared.tasks.detection import DETECTION
from shared.tasks.multilabel import MULTILABEL
from shared.wire.imports import Conflicts, ImportIssue, ImportPost, ImportReceipt, ImportRow

if TYPE_CHECKING:
    from labeler.transfer.rows.imported import Chosen
    from labeler.transfer.sources import Source

console = Console()
SHOWN_CLASSES = 20
TIMEOUT_SECONDS = 600  # the labeler may have to decode a thousand large photos first


@talks_to("labeler")
def import_(
    source: Annotated[
        list[Path],
        typer.Argument(
            parser=file_or_folder,
            help="Folder per class, or CSV, JSONL, parquet, JSON or XML with labels. Several count as one import.",
            show_default=False,
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would be imported; write nothing.")] = False,
    add_classes: Annotated[bool, typer.Option("--add-classes", help="Add classes that the project lacks.")] = False,
    conflicts: Annotated[
        str,
        typer.Option(help="If an image has another answer: keep it, overwrite it, or review (open the image again)."),
    ] = "keep",
    report: Annotated[
        Path | None, typer.Option(help="CSV to write, with every rejected or contradicting row.", parser=new_file)
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            help="Columns of a table: image=NAME,label=NAME, also split, score, time, separator, encoding. Use numbers "
            "if it has no header."
        ),
    ] = None,
    layout: Annotated[
        str,
        typer.Option(help="Meaning of the folders: class, split/class, class/split, */class. Default: detected."),
    ] = "",
    empty: Annotated[
        str,
        typer.Option(
            help="Boxes: how to read an image that is listed without a box and without a status: nothing (there is "
            "nothing in it) or unlabeled."
        ),
    ] = "unlabeled",
    yes: Yes = False,
    *,
    place: Place,
) -> None:
    """Import labels into a running labeler. Run it again to continue an interrupted import.

    The exit code is 1 if rows were rejected, and 2 if every row was rejected.
    """
    rule = conflicts_named(conflicts)
    if empty != "unlabeled":
        columns = ",".join(filter(None, [columns, f"empty={empty}"]))
    if rule == "overwrite" and not dry_run:
        looked = bring(
            source,
            place.labeler,
            dry_run=True,
            add_classes=add_classes,
            conflicts=rule,
            columns=columns,
            layout=layout,
        )
        consent(f"{many(looked.counts['overwritten'], 'answer')} here will be replaced by imported ones.", yes=yes)
    outcome = bring(
        source,
        place.labeler,
        dry_run=dry_run,
        add_classes=add_classes,
        conflicts=rule,
        report=report,
        columns=columns,
        layout=layout,
    )
    if outcome.rows and outcome.counts["rejected"] == outcome.rows:
        raise SettingsError(
            f"Every row was rejected and nothing was written: do these labels belong to the project "
            f"{place.workspace or place.labeler}?"
        )
    if outcome.counts["rejected"]:
        raise typer.Exit(1)


def send(
    url: str,
    rows: Iterable[ImportRow | ImportIssue],
    folder: Path,
    *,
    dry_run: bool = False,
    add_classes: bool = False,
    conflicts: Conflicts = "keep",
    report: Path | None = None,
    token: str | None = None,
    vocabulary: Sequence[str] = (),
    located: Callable[[ImportIssue], ImportIssue] = lambda issue: issue,
    on_progress: Callable[[Outcome], None] = lambda _: None,
) -> Outcome:
    """Import `rows`. Their names are relative to `folder` or to the labeler's image folder. Raises httpx.HTTPError.

    `report` is a CSV that receives every rejected or contradicting row.
    """
    with ExitStack() as stack:
        http = stack.enter_context(client(url, seconds=TIMEOUT_SECONDS, token=token))

        def take(post: ImportPost) -> ImportReceipt:
            answer = http.post(
                "/api/import", content=post.model_dump_json(), headers={"Content-Type": "application/json"}
            )
            return ImportReceipt.model_validate_json(answer.raise_for_status().content)

        return take_rows(
            rows,
            folder,
            take,
            dry_run=dry_run,
            add_classes=add_classes,
            conflicts=conflicts,
            vocabulary=vocabulary,
            located=located,
            on_receipt=_open_report(stack, report),
            on_progress=on_progress,
        )


def conflicts_named(name: str) -> Conflicts:
    """The rule with this name. Raises SettingsError if there is none."""
    rule: Conflicts | None = next((rule for rule in get_args(Conflicts) if rule == name), None)
    if rule is None:
        raise SettingsError(f"--conflicts is one of {', '.join(get_args(Conflicts))}, not {name!r}.")
    return rule


def task_of(url: str, token: str | None) -> str:
    """The task of the labeler's project. Raises httpx.HTTPError."""
    with client(url, seconds=30, token=token) as http:
        return str(http.get("/api/project").raise_for_status().json()["task"])


def wait_for_scan(url: str, *, token: str | None, on_progress: Callable[[int, int | None], None]) -> None:
    """Wait until the labeler has read its image folder. Otherwise files would be read twice."""
    with client(url, seconds=30, token=token) as http:
        while True:
            scanning = http.get("/api/project").raise_for_status().json()["scanning"]
            on_progress(scanning["done"], scanning["total"])
            if not scanning["running"]:
                return
            time.sleep(0.3)


def _open_report(stack: ExitStack, report: Path | None) -> Callable[[ImportReceipt], None]:
    if report is None:
        return lambda _: None
    try:
        stream = stack.enter_context(report.open("w", newline="", encoding="utf-8", errors="replace"))
    except OSError as error:
        raise SettingsError(f"The report {report} cannot be written: {error.strerror}.") from None
    table: Any = csv.writer(stream)
    table.writerow(("line", "kind", "reason", "uri"))

    def write(receipt: ImportReceipt) -> None:
        for kind, issues in (("conflict", receipt.conflicts), ("rejected", receipt.rejected), ("cell", receipt.cells)):
            table.writerows((issue.line, kind, harmless(issue.reason), harmless(issue.uri)) for issue in issues)

    return write


def bring(
    paths: Sequence[Path],
    url: str,
    *,
    dry_run: bool = False,
    add_classes: bool = False,
    conflicts: Conflicts = "keep",
    report: Path | None = None,
    columns: str | None = None,
    layout: str = "",
) -> Outcome:
    """Import the labels in `paths` into the labeler at `url`, and print the result. Raises SettingsError."""
    from labeler.transfer.rows.imported import Chosen
    from labeler.transfer.sources import open_sources

    chosen = Chosen.of(columns) if columns else None
    opened(paths, chosen, layout)  # report files that no project could read before asking the labeler
    source = open_sources(paths, chosen, layout, task=reach(url, lambda: task_of(url, token())))
    shown = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*shown, console=console, transient=True) as progress:
        scan = progress.add_task("Reading the image folder", total=None)

        def scanned(done: int, total: int | None) -> None:
            progress.update(scan, completed=done, total=total)

        reach(url, lambda: wait_for_scan(url, token=token(), on_progress=scanned))
        task = progress.add_task("Looking at labels" if dry_run else "Importing labels", total=source.total)
        outcome: Outcome = reach(
            url,
            lambda: send(
                url,
                source.rows(),
                source.folder,
                dry_run=dry_run,
                add_classes=add_classes,
                conflicts=conflicts,
                report=report,
                token=token(),
                vocabulary=source.vocabulary(),
                located=source.located,
                on_progress=lambda so_far: progress.update(task, completed=so_far.rows),
            ),
        )
    if not outcome.rows:
        raise SettingsError(source.without_label(", ".join(path.name for path in paths)))
    prefix = f"{paths[0].name or paths[0]}: " if len(paths) == 1 else ""
    for said in [*source.told(), *outcome.names]:
        console.print(f"{prefix}{said}", markup=False, highlight=False)
    console.print(_imported(outcome, dry_run=dry_run))
    for kind, issues in outcome.issues.items():
        for issue in issues:
            console.print(f"  {issue} ({kind})", markup=False, highlight=False)
        if outcome.counts[kind] > len(issues):
            console.print(f"  … and {outcome.counts[kind] - len(issues):,} more; --report FILE has them all.")
    return outcome


def opened(paths: Sequence[Path], chosen: Chosen | None, layout: str) -> Source:
    """The labels as read by the first task that can read them. Raises SettingsError if none can."""
    from labeler.transfer.sources import open_sources

    problem: SettingsError | None = None
    for task in (CLASSIFICATION, MULTILABEL, DETECTION):
        try:
            return open_sources(paths, chosen, layout, task=task.name)
        except SettingsError as error:
            problem = problem or error
    raise problem or SettingsError("Name a file or folder of labels.")


def _imported(outcome: Outcome, *, dry_run: bool) -> Table:
    counts = outcome.counts
    table = facts("number")
    table.add_row("rows with answers", f"{outcome.rows:,}")
    table.add_row("labels to import" if dry_run else "labels imported", f"{counts['labels']:,}")
    table.add_row("imported before", f"{counts['known']:,}")
    table.add_row("new images", f"{counts['images']:,}")
    table.add_row("skipped: held-out images", f"{counts['held_out']:,}")
    table.add_row("contradicting another answer", f"{counts['conflict']:,}")
    for name, words in (
        ("kept", "  left out: the existing answer stays"),
        ("overwritten", "  replaced the existing answer"),
        ("reopened", "  open until somebody decides"),
    ):
        if counts[name]:
            table.add_row(words, f"{counts[name]:,}")
    table.add_row("rejected", f"{counts['rejected']:,}")
    if counts["cell"]:
        table.add_row("unreadable cells and cut boxes (their rows are imported)", f"{counts['cell']:,}")
    for name, rows in outcome.new_classes.most_common(SHOWN_CLASSES):
        table.add_row("new class", Text(f"{name} ({rows:,})"))
    for name, known in list(outcome.counted_as.items())[:SHOWN_CLASSES]:
        table.add_row("counted as another class", Text(f"{name} is {known}"))
    return table
