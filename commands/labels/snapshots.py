"""`flywheel snapshot` names and restores versions of labels and splits; `flywheel split` draws new splits.

Both talk to a running labeler.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console

from commands.labels import grouping
from commands.running.consent import Yes, consent
from commands.running.given_paths import file
from commands.running.place import Place, talks_to
from commands.running.reach import ask
from commands.tables import Listing
from shared.figures import many
from shared.settings.services import SettingsError
from shared.wire.dataset import Restored, SnapshotDiff, SnapshotEntry, SnapshotList, SplitReceipt

app = typer.Typer(
    no_args_is_help=True, help="Save, list, compare and restore snapshots: named versions of labels and splits."
)
console = Console()
Name = Annotated[str, typer.Argument(metavar="NAME", help="A snapshot from `flywheel snapshot list`.")]
By = Annotated[str, typer.Option(help="Your name, for the log.")]
SHOWN = 20
LONG_SECONDS = 600.0  # for reading a million rows again


@app.command()
@talks_to("labeler")
def save(name: Name, annotator: By = "me", *, place: Place) -> None:
    """Save the current labels and splits under a name."""
    body = {"name": name, "annotator": annotator}
    entry = SnapshotEntry.model_validate(ask(f"{place.labeler}/api/snapshots", "POST", json=body))
    console.print(f"Snapshot {entry.name}: row {entry.seq:,} of the log.", markup=False)


@app.command("list")
@talks_to("labeler")
def list_(*, place: Place) -> None:
    """List all snapshots, oldest first."""
    table = Listing({"name": "name", "row of the log": "number", "by": "name", "at": "number"})
    for entry in SnapshotList.model_validate(ask(f"{place.labeler}/api/snapshots")).snapshots:
        table.add_row(entry.name, f"{entry.seq:,}", entry.annotator, f"{entry.at:%Y-%m-%d %H:%M} UTC")
    console.print(table)


@app.command()
@talks_to("labeler")
def diff(
    name: Name,
    other: Annotated[
        str | None, typer.Argument(metavar="OTHER", help="Another snapshot. Default: the current state.")
    ] = None,
    *,
    place: Place,
) -> None:
    """Show what differs between a snapshot and another one, or the current state."""
    query: dict[str, Any] = {"limit": SHOWN} | ({"to": other} if other else {})
    url = f"{place.labeler}/api/snapshots/{quote(name, safe='')}/diff"
    found = SnapshotDiff.model_validate(ask(url, params=query, seconds=LONG_SECONDS))
    console.print(f"{many(found.labels, 'label')} and {many(found.splits, 'split')} differ.")
    table = Listing({"image": "number", "label": "words", "split": "name"})
    for each in found.differences:
        sides = [" → ".join(str(side or "none") for side in pair) for pair in (each.label, each.split)]
        table.add_row(str(each.image_id), *sides)
    if found.differences:
        console.print(table)


@app.command()
@talks_to("labeler")
def restore(name: Name, annotator: By = "me", yes: Yes = False, *, place: Place) -> None:
    """Restore the labels and splits of a snapshot. The log keeps everything, so you can undo this."""
    url = f"{place.labeler}/api/snapshots/{quote(name, safe='')}/restore"

    def do(*, dry_run: bool) -> Restored:
        body = {"annotator": annotator, "dry_run": dry_run}
        return Restored.model_validate(ask(url, "POST", json=body, seconds=LONG_SECONDS))

    consent(
        f"Restoring {name}: {_restored(do(dry_run=True))} Save a snapshot first if you may want to come back.", yes=yes
    )
    console.print(f"Done: {_restored(do(dry_run=False))}", markup=False, highlight=False, soft_wrap=True)


def _restored(done: Restored) -> str:
    lost = f", {many(done.lost, 'label')} of deleted classes not restored" if done.lost else ""
    return (
        f"{many(done.undone, 'answer')} undone, {done.repeated:,} given again, {many(done.moved, 'image')} moved{lost}."
    )


@talks_to("labeler")
def split(
    test: Annotated[float, typer.Option(min=0, max=0.99, help="Share of the images that measure the accuracy.")],
    validation: Annotated[
        float, typer.Option(min=0, max=0.99, help="Share of the images that choose between models.")
    ] = 0.0,
    by: Annotated[
        str, typer.Option(help="image, class (the same shares for each class), folder or group (images stay together).")
    ] = "image",
    pattern: Annotated[
        str | None, typer.Option(help="Regular expression for the name; the match, or its first bracket, is the group.")
    ] = None,
    groups: Annotated[
        Path | None, typer.Option(help="Table with a group for each image: CSV, JSONL or parquet.", parser=file)
    ] = None,
    column: Annotated[str, typer.Option(help="Column of the table.")] = "group",
    seed: Annotated[int, typer.Option(help="The same seed gives the same splits.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count only; change nothing.")] = False,
    yes: Yes = False,
    *,
    place: Place,
) -> None:
    """Draw new splits: train, validation and test. Images that were answered here stay in their split."""
    body: dict[str, Any] = {"test": test, "validation": validation, "by": by, "seed": seed}
    if (by == "group") != ((pattern is None) != (groups is None)):
        raise SettingsError("--by group needs --pattern or --groups; use these options only with --by group.")
    if by == "group":
        named = grouping.find(place.labeler, pattern, groups, column)
        body |= {"groups": named.groups, "how": named.how}
        for said in named.names:
            console.print(said, markup=False, highlight=False)
        console.print(
            f"{many(len(set(named.groups.values())), 'group')}; {many(named.alone, 'image')} without a group."
        )

    def draw(*, only_count: bool) -> SplitReceipt:
        def post(part: dict[str, Any]) -> Any:
            return ask(f"{place.labeler}/api/splits", "POST", json=part, seconds=LONG_SECONDS)

        return SplitReceipt.model_validate(grouping.draw(post, body | {"dry_run": only_count}))

    drawn = draw(only_count=True)
    if not dry_run:
        consent(_drawn(drawn, "will move"), yes=yes)
        drawn = draw(only_count=False)
    console.print(_drawn(drawn, "would move" if dry_run else "moved"), highlight=False)
    if drawn.torn:
        console.print(
            f"{drawn.torn:,} folders or groups stay in several splits, because images of each are answered already."
        )


def _drawn(found: SplitReceipt, moved: str) -> str:
    counts = ", ".join(f"{count:,} {name}" for name, count in found.splits.items())
    return f"{many(found.moved, 'image')} {moved}: {counts}; {found.kept:,} answered here stay in their split."
