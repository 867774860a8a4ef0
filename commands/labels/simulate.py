"""`flywheel simulate`: a simulated person labels from a table of true labels, or from a file with true boxes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from commands.labels.annotator import Annotator, Label, Measurement, Simulation
from commands.labels.box_person import JITTER, BoxAnnotator, in_words, read_boxes, write_actions
from commands.running.given_paths import file_or_folder, new_file
from commands.running.place import Place, talks_to
from commands.running.reach import ask, reach, token
from commands.tables import Listing
from shared.class_names import key
from shared.figures import accuracy_in_words
from shared.settings.services import SettingsError
from shared.storage.file_errors import cause_of
from shared.tasks.multilabel import MULTILABEL
from shared.tasks.registry import task_named
from shared.wire.imports import ImportRow, NamedBoxes, NamedClasses

console = Console()
__all__ = ["Annotator", "demo_truth", "read_answers", "read_truth", "simulate"]


@talks_to("labeler", "--url")
def simulate(
    labels: Annotated[
        Path | None,
        typer.Option(
            help="CSV with filename,label; for boxes, a COCO file or any other with boxes. Default: the true labels of "
            "the demo.",
            parser=file_or_folder,
        ),
    ] = None,
    budget: Annotated[
        int, typer.Option(min=1, help="Number of images to answer. Images without a true label are skipped.")
    ] = 200,
    pace: Annotated[
        float,
        typer.Option(
            min=0, help="Labels per second. 0: as fast as possible, but wait for a new queue after each batch."
        ),
    ] = 0.0,
    annotator: Annotated[str, typer.Option(help="Name of the annotator.")] = "simulated",
    add_classes: Annotated[bool, typer.Option("--add-classes", help="Add classes that the project lacks.")] = False,
    suggestions: Annotated[
        bool,
        typer.Option("--suggestions/--no-suggestions", help="Boxes: use those that the model suggests, or draw all."),
    ] = True,
    jitter: Annotated[
        float, typer.Option(min=0, max=0.2, help="Boxes: how far an edge is off, as a share of the box.")
    ] = JITTER,
    seed: Annotated[int, typer.Option(help="Boxes: seed of this imprecision.")] = 0,
    actions: Annotated[
        Path | None, typer.Option(help="Boxes: CSV to write, with the actions on each image.", parser=new_file)
    ] = None,
    *,
    place: Place,
) -> None:
    """Label like a person, from a table of true labels, and show the accuracy curve at the end."""
    url = place.labeler
    if labels is None and ask(f"{url}/api/settings")["images"]["value"]:
        raise SettingsError(
            "Without --labels, the simulated person knows only the digits of the demo, but this project has other "
            "photos: name a CSV with filename,label. Nothing was written."
        )
    kind = task_named(ask(f"{url}/api/project")["task"])
    if kind.by_box:
        person: Annotator = _boxing(url, labels, annotator, suggestions=suggestions, jitter=jitter, seed=seed)
    elif actions is not None:
        raise SettingsError("Only a detection project has actions on boxes: leave out --actions.")
    elif labels is None:
        person = Annotator(url, demo_truth(), name=annotator, token=token())
    else:
        read = read_answers if kind.by_class else read_truth
        person = Annotator(url, read(labels), name=annotator, token=token())
    try:
        for line in reach(url, person.coverage).lines(labels):
            console.print(line, markup=False, highlight=False)
    except SettingsError:
        person.close()
        raise
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

        def show(count: int, measured: Measurement | None) -> None:
            progress.update(task, completed=count)
            if measured is not None:
                progress.update(task, accuracy=accuracy_in_words(measured.accuracy))

        try:
            result = reach(url, lambda: person.run(budget, pace=pace, add_classes=add_classes, on_progress=show))
        finally:
            person.close()
    console.print(_curve(result, boxed=kind.by_box))
    if result.actions:
        console.print(in_words(result.actions))
    if isinstance(person, BoxAnnotator) and person.unseen:
        console.print(f"{person.unseen:,} true boxes are outside their image or under 1 pixel: left out.")
    if actions is not None:
        write_actions(actions, result)
    console.print(f"{result.in_words()} in {result.seconds:.1f} s; {result.ended}.")


def _boxing(url: str, labels: Path | None, name: str, *, suggestions: bool, jitter: float, seed: int) -> BoxAnnotator:
    if labels is None:
        raise SettingsError("This is a detection project: name a file with the true boxes, such as --labels coco.json.")
    truth, said = read_boxes(labels)
    for each in said:
        console.print(each, markup=False, highlight=False)
    if not truth:
        raise SettingsError(f"{labels} has no boxes. Nothing was written.")
    return BoxAnnotator(url, truth, name=name, token=token(), suggestions=suggestions, jitter=jitter, seed=seed)


def read_truth(path: Path) -> dict[str, str]:
    """File name → label, from a CSV with columns such as `filename` and `label`. Raises SettingsError."""
    from labeler.transfer.formats.csv_table import Table as Labels

    try:
        rows = [row for row in Labels(path).rows() if isinstance(row, ImportRow)]
    except (OSError, csv.Error) as error:
        raise SettingsError(f"The labels in {path} cannot be read: {cause_of(error)}.") from None
    return {row.uri: row.label for row in rows if row.label}


def read_answers(path: Path) -> dict[str, Label]:
    """File name → its true yes and no classes, for a multi-label project. Raises SettingsError."""
    from labeler.transfer.sources import open_source

    try:
        source = open_source(path, task=MULTILABEL.name)
        rows, every = [row for row in source.rows() if isinstance(row, ImportRow)], source.vocabulary()
    except (OSError, csv.Error) as error:
        raise SettingsError(f"The labels in {path} cannot be read: {cause_of(error)}.") from None
    given = {row.uri: row.given for row in rows if not isinstance(row.given, NamedBoxes)}
    return {uri: label for uri, named in given.items() if (label := _whole(named, every))}


def _whole(label: Label | None, every: Sequence[str]) -> Label | None:
    """The label, completed with a no to the other classes of the table where it means that."""
    if not isinstance(label, NamedClasses) or not label.rest:
        return label
    yes = set(map(key, label.yes))
    return NamedClasses(yes=label.yes, no=tuple(name for name in every if key(name) not in yes))


def demo_truth() -> dict[str, str]:
    """The true labels of the demo, which scikit-learn contains."""
    from labeler.images.demo import truth

    return truth()


def _curve(result: Simulation, *, boxed: bool = False) -> Table:
    """At most a dozen points of the curve, including the last one."""
    measured = "mAP at IoU 0.5" if boxed else "accuracy"
    table = Listing({"labels": "number", f"{measured} on test (95 %)": "name", "batch → new queue": "number"})
    step = max(1, -(-len(result.measurements) // 12))
    for point in reversed(result.measurements[::-1][::step]):
        waited = f"{point.seconds_to_queue:.2f} s" if point.seconds_to_queue is not None else "–"
        table.add_row(f"{point.labels:,}", accuracy_in_words(point.accuracy), waited)
    return table
