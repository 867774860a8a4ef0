"""`flywheel embed` trains a network on the photos of a workspace, without labels, as a backbone.

It uses only photos of the train split. A running labeler reports which those are; otherwise they are read from its
database. Photos kept for testing or validation are never opened. The trainer's code is imported only when needed,
because torch takes seconds to import.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from commands.running.given_paths import images_at
from commands.running.place import Workspace
from commands.running.reach import client, token
from commands.running.stored_labels import is_workspace, labels_of
from shared.images.finding import Passed
from shared.images.opening import ImageLimits, ImageProblem
from shared.images.sources.addresses import shown
from shared.images.sources.choosing import Sources
from shared.images.sources.source import ImageSource
from shared.log import Fold
from shared.settings.network_names import check_network
from shared.settings.project_file import ProjectFile, default_workspace, place_of
from shared.settings.services import SettingsError, TrainerSettings
from shared.web.peers import reason
from shared.wire.images import ImageEntry, ImagePage
from shared.wire.log import Row

console = Console()
ANSWER_SECONDS = 30.0
"""Maximum seconds of a request to the labeler."""


def embed(
    simclr: Annotated[bool, typer.Option("--simclr", help="Train a network on the photos, without labels.")] = False,
    images: Annotated[
        str | None,
        typer.Option(
            help="Folder, archive or address of the photos, if the workspace does not know it.", parser=images_at
        ),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="How often each photo is used.")] = 100,
    arch: Annotated[str, typer.Option(help="Any timm name.")] = "resnet18",
    input_size: Annotated[int, typer.Option(min=8, max=4_096, help="Image size in pixels.")] = 128,
    batch_size: Annotated[int, typer.Option(min=2, help="Photos per batch: more is better.")] = 128,
    workspace: Workspace = None,
) -> None:
    """Train a backbone on your own photos, without labels. Run it again to continue an interrupted run."""
    if not simclr:
        raise SettingsError("Choose how to train: `flywheel embed --simclr`.")
    check_network(arch)
    train_simclr(
        workspace or default_workspace(),
        images,
        arch=arch,
        input_size=input_size,
        epochs=epochs,
        batch_size=batch_size,
        console=console,
        token=token(),
    )


def train_simclr(
    workspace: Path,
    images: str | Path | None,
    *,
    arch: str,
    input_size: int,
    epochs: int,
    batch_size: int,
    console: Console,
    token: str | None = None,
) -> Path:
    """Train `arch` on the train photos of `workspace`, or continue an interrupted run; returns the file of weights.

    `images` is the place of the photos, if the workspace does not know it. Raises SettingsError if there is no
    workspace, no photo to train on, or no such network.
    """
    entries, source = _train_photos(workspace, images, token, console)
    from trainer.embeddings.backbones.backbone import load_backbone
    from trainer.learners.simclr import Plan, Step, train
    from trainer.threads import leave_a_core

    settings = TrainerSettings.load()[0]
    limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
    leave_a_core()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(compact=True))
    with Progress(*columns, console=console, speed_estimate_period=120) as progress:
        tasks: list[Any] = []

        def show(step: Step) -> None:
            loss = f", loss {step.loss:.3f}" if step.loss is not None else ""
            text = f"epoch {step.epoch} of {epochs}{loss}"
            if not tasks:  # created here, so that the epochs of a killed run do not count as speed
                tasks.append(progress.add_task(text, total=step.total, completed=step.done))
            progress.update(tasks[0], completed=step.done, description=text)

        weights = train(
            entries,
            lambda entry: source.read(entry.uri, limits),
            Plan(arch, input_size, epochs, batch_size, settings.seed),
            workspace.absolute() / "trainer" / "backbones",
            limits=limits,
            device=settings.device,
            on_step=show,
        )
    use = {"backbone": arch, "backbone_weights": str(weights), "input_size": str(input_size)}
    load_backbone(TrainerSettings.load(command_line=use)[0], weights.parent)  # reports refused weights now
    up = ["flywheel", "up", str(source.place), "--workspace", str(workspace)]
    up += [f"--set=trainer.{name}={value}" for name, value in use.items()]
    alone = ["flywheel", "trainer", "--workspace", str(workspace)]
    alone += [word for name, value in use.items() for word in (f"--{name.replace('_', '-')}", value)]
    console.print(f"Trained. Use it with\n  {shlex.join(up)}", soft_wrap=True, highlight=False, markup=False)
    console.print(
        f"or, for a trainer alone, with\n  {shlex.join(alone)}", soft_wrap=True, highlight=False, markup=False
    )
    return weights


def _train_photos(
    workspace: Path, images: str | Path | None, token: str | None, console: Console
) -> tuple[list[ImageEntry], ImageSource]:
    """The photos for training, and their source. Prints how many there are."""
    catalogue, known = _catalogue(workspace, token)
    given = images or known
    if given is None:
        raise SettingsError(
            f"The workspace {workspace} does not know where its photos are: name their folder with --images."
        )
    place = place_of(given)
    train = [entry for entry in catalogue if entry.split == "train"]
    try:
        source = Sources().source(place)
        there = {uri for uri, _ in source.listed(Passed())} if source.is_there() else set()
    except ImageProblem as problem:
        raise SettingsError(f"{shown(place)} {problem}.") from None
    entries = [entry for entry in train if entry.uri in there]
    if len(entries) < 2:
        raise SettingsError(
            f"Of the {len(train)} photos that {workspace} may train on, {len(entries)} are in {shown(place)}: "
            "name their folder with --images."
        )
    elsewhere = f"; {len(train) - len(entries)} more are in another folder" if len(entries) < len(train) else ""
    console.print(
        f"Training on {len(entries)} photos{elsewhere}. {len(catalogue) - len(train)} are kept for measuring and are "
        "not opened.",
        highlight=False,
    )
    return entries, source


def _catalogue(workspace: Path, token: str | None) -> tuple[list[ImageEntry], str | Path | None]:
    """Every image with its current split, and the place of the images if it is known."""
    if not is_workspace(workspace) and ProjectFile.read(workspace) is None:
        raise SettingsError(
            f"{workspace} is not a Flywheel workspace yet: start `flywheel up` once, so that it decides which "
            "photos are kept for measuring."
        )
    demo = workspace / "demo" / "images"
    try:
        with FileLock(workspace / "labeler.lock", timeout=0):
            pass  # no labeler is running, so the database is up to date
    except Timeout:
        entries, said = _from_labeler(workspace, token)
        return entries, said or demo
    return _from_database(workspace), demo if demo.is_dir() else None


def _from_labeler(workspace: Path, token: str | None) -> tuple[list[ImageEntry], str | None]:
    entries: dict[int, ImageEntry] = {}
    project = ProjectFile.read(workspace)
    address = project.labeler_address if project is not None else None
    try:
        with client(address or "", seconds=ANSWER_SECONDS, token=token) as labeler:
            after, page = 0, None
            while page is None or page.images:
                answer = labeler.get("/api/images", params={"after": after, "limit": 10_000}).raise_for_status()
                page = ImagePage.model_validate_json(answer.content)
                entries |= {entry.id: entry for entry in page.images}
                after = page.next
            folder = labeler.get("/api/settings").raise_for_status().json()["images"]["value"]
    except (OSError, ValueError, KeyError, httpx.HTTPError) as error:
        raise SettingsError(
            f"The labeler of {workspace} does not answer at {address} ({reason(error)}): try again in a moment, or "
            "stop it first."
        ) from None
    return [entry for entry in entries.values() if not entry.removed], folder or None


def _from_database(workspace: Path) -> list[ImageEntry]:
    """The same, read from the database: splits as drawn, with the changes in the log."""
    from sqlalchemy import select  # slow to import, like torch
    from sqlalchemy.exc import SQLAlchemyError

    from labeler.store.tables import IMAGE, LOG
    from shared.storage.database import open_engine
    from shared.storage.database import read as reading

    fold = Fold()
    engine = open_engine(labels_of(workspace))
    try:
        with reading(engine) as base:
            for row in base.execute(select(LOG).order_by(LOG.c.seq)).mappings():
                fold.apply(Row.model_validate(dict(row)))
            images = base.execute(select(IMAGE.c.id, IMAGE.c.uri, IMAGE.c.sha256, IMAGE.c.split)).mappings().all()
    except SQLAlchemyError as error:
        raise SettingsError(
            f"The labels of {workspace} cannot be read: {getattr(error, 'orig', None) or error}."
        ) from None
    finally:
        engine.dispose()
    return [
        ImageEntry(id=row["id"], uri=row["uri"], sha256=row["sha256"], split=split, removed=False)
        for row in images
        if row["id"] not in fold.removed
        for split in [fold.splits.get(row["id"], row["split"])]
    ]
