"""`flywheel export` writes the labels of a running labeler, or of a stopped workspace, to a file or folder.

The file gets its name when it is complete. Until then an older file stays.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from commands.labels import folders
from commands.labels.filters import parse_filter
from commands.running.given_paths import folder, new_file_or_folder
from commands.running.place import LabelerUrl, Place, TrainerUrl, Workspace, find, shown
from commands.running.reach import ask, client, reach, token
from commands.running.stored_labels import is_workspace, labels_of, server_of
from commands.running.whole_outputs import whole_file
from shared.figures import many
from shared.images.sources.choosing import why_not
from shared.settings.project_file import ProjectFile, place_of
from shared.settings.services import LabelerSettings, SettingsError
from shared.settings.starting import start

FILTERS = ("split", "label", "annotator", "status")
TIMEOUT_SECONDS = 60.0  # between two pieces of the response
BOXES = "boxes"  # the column of a detection project
FOLDER = "imagefolder"
FOLDERS = ("yolo", FOLDER)
TABLES = ("csv", "jsonl", "parquet")
"""Formats that have the name of their ending."""
WITH_PHOTOS = (FOLDER, "yolo", "datasets", "fiftyone")
console = Console()


@dataclass(frozen=True)
class Wanted:
    """What to export, as `GET /api/export` takes it."""

    format: str
    include: str
    where: dict[str, str]
    snapshot: str | None = None

    @classmethod
    def named(cls, format: str, include: str, where: Iterable[str], snapshot: str | None = None) -> Wanted:
        """From options of the command line; `where` holds filters such as `split=test label='red shoe'`. Raises
        SettingsError.
        """
        return cls(format, include, parse_filter(where, "--where", FILTERS), snapshot)


def export(
    target: Annotated[
        Path, typer.Argument(help="File to write, or a new folder with --files.", parser=new_file_or_folder)
    ],
    format: Annotated[
        str,
        typer.Option(
            help="csv, onehot, jsonl, parquet, imagefolder, yolo, datasets, fiftyone, coco, cvat, label_studio; "
            "for boxes voc. Default: by ending."
        ),
    ] = "",
    include: Annotated[
        str, typer.Option(help="What to add: annotators, predictions, history, separated by commas.")
    ] = ("annotators"),
    where: Annotated[
        list[str] | None,
        typer.Option(help="Export only images that match: --where 'split=test label=shirt annotator=ann'"),
    ] = None,
    files: Annotated[
        str | None,
        typer.Option(help="Write a folder per class instead of a file; each photo is a copy, hardlink or symlink."),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the photos, if they have moved.", parser=folder)
    ] = None,
    snapshot: Annotated[str | None, typer.Option(help="Export the labels of this snapshot.")] = None,
    workspace: Workspace = None,
    labeler_url: LabelerUrl = None,
    trainer_url: TrainerUrl = None,
) -> None:
    """Write the labels of a running labeler, or of a stopped workspace, to a file or folder.

    The exit code is 1 if no image matches and nothing is written, or if photos are left out.
    """
    place = find(workspace, labeler_url, trainer_url)
    running = place.workspace is None or place.is_running
    print(
        place.line("labeler") if running else f"{place} ({shown(place.workspace or Path())}), not running", flush=True
    )

    def take(wanted: Wanted, to: Path) -> None:
        if running:
            reach(place.labeler, lambda: download(place.labeler, wanted, to, token()))
        elif place.workspace is not None:
            read(place.workspace, images, wanted, to)

    given = format or (FOLDER if files else format_of(target))
    wanted = Wanted.named(given, include, where or [], snapshot)
    if files is not None and given not in FOLDERS:
        raise SettingsError(
            f"--files writes a folder per class, which is the format {' or '.join(FOLDERS)}, not {given}."
        )
    with tempfile.TemporaryDirectory(prefix="flywheel-") as scratch:
        table = Path(scratch) / "labels.jsonl"
        if files is not None or wanted.where:
            only = {"status": "labeled"} if files is not None else {}
            take(Wanted("jsonl", "", {**only, **wanted.where}, snapshot), table)
            if not table.stat().st_size:
                console.print("No image matches. Nothing was written.")
                raise typer.Exit(1)
        if files is None:
            take(wanted, target)
            console.print(f"Written: {target}", markup=False)
            return
        way = folders.way_named(files)
        settings = _running(place.labeler) if running else _at_rest(place)
        roots = folders.roots(settings, images)
        with table.open(encoding="utf-8") as lines:
            if BOXES in json.loads(lines.readline()):
                raise SettingsError(
                    "--files writes a folder per class, and boxes belong to no folder: leave it out, and write a zip "
                    "with --format yolo, which contains the photos."
                )
            lines.seek(0)
            written = folders.write(map(json.loads, lines), roots, target, way, for_yolo=given != FOLDER)
    console.print(f"Written: {target}, {many(written.count, 'image')}.", markup=False)
    if written.left_out:
        unread = "" if given == FOLDER else ", or in a format that YOLO does not read"
        count = many(len(written.left_out), "photo")
        console.print(f"Left out: {count}, missing or changed{unread}. See {folders.LEFT_OUT} in the folder.")
        raise typer.Exit(1)


def format_of(target: Path, option: str = "--format {}") -> str:
    """The format that the ending of a file means. Raises SettingsError with `option` if it means none, or several."""
    ending = target.suffix.removeprefix(".").lower()
    if ending in TABLES:
        return ending
    from labeler.transfer.formats import FORMATS  # takes a moment, and is rarely needed

    meant = [name for name, each in FORMATS.items() if each.suffix == ending]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise SettingsError(f"A .{ending} file can be {' or '.join(meant)}: say which with {option.format(meant[0])}.")
    raise SettingsError(
        f"The name {target.name!r} does not say which format to write: end it with .csv, or name a format such as "
        f"{option.format(FOLDER)}. The formats are {', '.join(FORMATS)}."
    )


def _at_rest(place: Place) -> dict[str, Any]:
    workspace = place.workspace or Path()
    folders_known = place.file.images(workspace) if place.file is not None else []
    return {"workspace": str(workspace), "images": str(folders_known[0]) if folders_known else None}


def _running(url: str) -> dict[str, Any]:
    return {name: view["value"] for name, view in ask(f"{url}/api/settings").items()}


def download(url: str, wanted: Wanted, target: Path, token: str | None) -> None:
    """Export from a running labeler. Raises httpx.HTTPError."""
    query = {"format": wanted.format, "include": wanted.include, **wanted.where}
    query |= {"snapshot": wanted.snapshot} if wanted.snapshot else {}
    with (
        client(url, seconds=TIMEOUT_SECONDS, token=token) as http,
        http.stream("GET", "/api/export", params=query) as answer,
    ):
        if answer.is_error:
            answer.read()
            answer.raise_for_status()
        _write(target, answer.iter_bytes())


def read(workspace: Path, images: Path | None, wanted: Wanted, target: Path) -> None:
    """Export from the files of a workspace. Raises SettingsError if there is none or a labeler uses it."""
    from pydantic import TypeAdapter, ValidationError

    from labeler.errors import Problem
    from labeler.service import Service
    from labeler.transfer.rows.exported import Wanted as WantedRows
    from labeler.transfer.rows.exported import extras_named

    if not is_workspace(workspace):
        raise SettingsError(f"{workspace} is not a Flywheel workspace.")
    try:
        rows = TypeAdapter(WantedRows).validate_python(wanted.where)
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(f"--where {first['loc'][0]}={first['input']} cannot be: {first['msg']}.") from None
    if "predictions" in wanted.include:
        raise SettingsError("Predictions come from a running trainer: start Flywheel first.")
    given: dict[str, Any] = {"workspace": str(workspace)} | ({"images": str(images)} if images else {})
    if server_of(workspace):
        given["database_url"] = labels_of(workspace)
    settings = LabelerSettings.load(command_line=given)[0]
    if ProjectFile.read(workspace) is not None:  # older versions did not write it
        settings = start(LabelerSettings, command_line=given, change=True).settings
    if settings.images and why_not(place_of(settings.images)) is not None:
        settings.images = ""  # the labels can be exported without it
    if wanted.format in WITH_PHOTOS and not settings.images and not (workspace / "demo").is_dir():
        raise SettingsError(f"The format {wanted.format} contains the photos: name their folder with --images.")
    service = Service(settings)
    try:
        extras = extras_named([name.strip() for name in wanted.include.split(",") if name.strip()])
        stream, _ = service.exports.begin(wanted.format, wanted=rows, extras=extras, snapshot=wanted.snapshot)
        _write(target, stream)
    except Problem as problem:
        raise SettingsError(str(problem.detail)) from None
    finally:
        service.close()


def _write(target: Path, pieces: Iterable[bytes]) -> None:
    with whole_file(target) as partial, partial.open("wb") as stream:
        stream.writelines(pieces)
