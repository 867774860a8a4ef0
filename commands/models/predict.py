"""`flywheel predict` predicts every image of a place with a running trainer's model, and writes a table."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, TextColumn

from commands.running.given_paths import images_at, new_file
from commands.running.place import Place, talks_to
from commands.running.reach import client, reach, token
from commands.running.whole_outputs import whole_file
from shared.cells import harmless
from shared.figures import many
from shared.images.finding import Passed
from shared.images.opening import ImageLimits, ImageProblem, inspect
from shared.images.sources.addresses import shown
from shared.images.sources.choosing import Sources
from shared.images.sources.source import ImageSource
from shared.settings.project_file import place_of
from shared.settings.services import SettingsError, TrainerSettings
from shared.wire.models import Prediction, Predictions

console = Console()
BATCH_IMAGES = 32
BATCH_BYTES = 16 * 2**20
ANSWER_SECONDS = 300.0


@talks_to("trainer")
def predict(
    photos: Annotated[
        str,
        typer.Argument(
            help="Folder of images, archive or table with images, or address such as s3://bucket/photos.",
            parser=images_at,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="CSV to write.", parser=new_file)],
    version: Annotated[
        str | None, typer.Option(help="A saved version, or `now` for the current model. Default: the one in use.")
    ] = None,
    *,
    place: Place,
) -> None:
    """Predict every image of a place with a running trainer's model: its class, its classes, or its boxes.

    The exit code is 1 if some images cannot be read, and 2 if none can be read.
    """
    source = _opened(photos)
    columns = (TextColumn("Predicting"), TextColumn("{task.completed} images"))
    with Progress(*columns, console=console, transient=True) as bar:  # the last line reports the number
        task = bar.add_task("", total=None)
        count, problems, answered = reach(
            place.trainer,
            lambda: predict_all(
                source,
                output,
                place.trainer,
                version=version,
                token=token(),
                on_progress=lambda done: bar.update(task, completed=done),
            ),
        )
    if not count:
        raise SettingsError(f"None of the {many(len(problems), 'image')} can be read: see the reasons in {output}.")
    unread = f"; {len(problems):,} cannot be read" if problems else ""
    console.print(f"{many(count, 'image')} predicted by {answered}{unread}. Written: {output}", soft_wrap=True)
    if problems:
        raise typer.Exit(1)


def _opened(photos: str) -> ImageSource:
    """The source at a place. One without images is refused before the trainer is asked. Raises SettingsError."""
    place, passed = place_of(photos), Passed()
    try:
        source = Sources().source(place)
        if next(iter(source.listed(passed)), None) is None:
            skipped = "".join(f" {each}" for each in passed.sentences())
            raise SettingsError(f"There is no image in {shown(place)}: no file was written.{skipped}")
    except ImageProblem as problem:
        raise SettingsError(f"{shown(place)} {problem}.") from None
    return source


def predict_all(
    source: ImageSource,
    target: Path,
    url: str,
    *,
    version: str | None,
    token: str | None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> tuple[int, dict[str, str], str]:
    """Write one row per image of `source` to the CSV `target`; returns their number, the problems by file, and the
    version.

    Raises SettingsError if the place cannot be read, and httpx.HTTPError. After a kill, the old file is still there.
    """
    settings = TrainerSettings.load()[0]
    limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
    rows: list[tuple[str, Prediction]] = []
    problems: dict[str, str] = {}
    answered = ""
    with client(url, seconds=ANSWER_SECONDS, token=token) as trainer:
        for batch in _batches(source, limits, problems):
            files = [("images", (name, data)) for name, data in batch]
            asked: dict[str, Any] = {"params": {"version": version}} if version else {}
            said = Predictions.model_validate(trainer.post("/predict", files=files, **asked).raise_for_status().json())
            if answered and said.model_version != answered:
                raise SettingsError(
                    "The model changed while it predicted: choose a version with --version, and try again."
                )
            answered = said.model_version
            rows += zip((name for name, _ in batch), said.predictions, strict=True)
            on_progress(len(rows) + len(problems))
    if rows or problems:
        write_table(target, rows, problems)
    return len(rows), problems, answered


def _batches(source: ImageSource, limits: ImageLimits, problems: dict[str, str]) -> Iterator[list[tuple[str, bytes]]]:
    """Readable images, a few at a time. `problems` receives the others."""
    batch: list[tuple[str, bytes]] = []
    passed = Passed()
    try:
        for name, _ in source.listed(passed):
            try:
                data = source.read(name, limits)
                inspect(data, limits)
            except ImageProblem as problem:
                problems[name] = str(problem)
                continue
            if batch and (len(batch) == BATCH_IMAGES or sum(len(each) for _, each in batch) + len(data) > BATCH_BYTES):
                yield batch
                batch = []
            batch.append((name, data))
    except ImageProblem as problem:  # the place itself is unreadable
        raise SettingsError(f"{shown(source.place)} {problem}.") from None
    if batch:
        yield batch
    for said in passed.sentences():
        console.print(said, markup=False, highlight=False)


def write_table(target: Path, rows: list[tuple[str, Prediction]], problems: dict[str, str]) -> None:
    """Write a row per image, or per box where boxes were predicted. Raises SettingsError if the disk refuses."""
    boxes = any(said.boxes is not None for _, said in rows)
    table = _boxes_table(rows) if boxes else _classes_table(rows)
    with whole_file(target) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        header = next(table)
        writer.writerow([*map(harmless, header), "problem"])
        writer.writerows([*map(harmless, row), ""] for row in table)
        writer.writerows(
            [harmless(name), *[""] * (len(header) - 1), harmless(problem)] for name, problem in problems.items()
        )


def _classes_table(rows: list[tuple[str, Prediction]]) -> Iterator[list[str]]:
    """The header, then a row per image with the probability of each class."""
    classes = list(rows[0][1].probabilities) if rows else []
    yield ["filename", "label", "confidence", *(f"p:{name}" for name in classes)]
    for name, said in rows:
        yield [name, said.label, f"{said.confidence:.6f}", *(f"{said.probabilities[each]:.6f}" for each in classes)]


def _boxes_table(rows: list[tuple[str, Prediction]]) -> Iterator[list[str]]:
    """The header, then one row per box. An image without boxes has one row without a label. Coordinates are in pixels
    of the upright original.
    """
    yield ["filename", "label", "confidence", "x", "y", "width", "height"]
    for name, said in rows:
        for box in said.boxes or []:
            places = (str(each) for each in (box.x, box.y, box.w, box.h))
            yield [name, box.label, f"{box.confidence:.6f}", *places]
        if not said.boxes:
            yield [name, *[""] * 6]
