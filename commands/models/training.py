"""`flywheel train` and `flywheel finalize` train a network on all labels, as a job of a running trainer."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import typer
from pydantic import ValidationError
from rich.console import Console

from commands.labels.filters import parse_filter
from commands.models.jobs import follow
from commands.models.saved_versions import SAVE_SECONDS, assignment, figures, show_comparison
from commands.running.place import Place, talks_to
from commands.running.reach import ask
from shared.settings.services import SettingsError
from shared.wire.jobs import Comparison, ComparisonRequest, Job
from shared.wire.models import ModelVersion, Trained

console = Console()
CHECK_SECONDS = 60.0  # the first check reads the sources of some thousand networks
NOW = "now"  # the current model, to the trainer
Arch = Annotated[str | None, typer.Option(help="Any timm name; for boxes also a detector of torchvision.")]
Weights = Annotated[str, typer.Option(help="auto, pretrained, file (your own), base, or none (from scratch).")]
InputSize = Annotated[int | None, typer.Option(help="Image size in pixels.")]
Epochs = Annotated[int | None, typer.Option(help="Maximum epochs. Default: 20 (boxes: 10), more while labels are few.")]
BatchSize = Annotated[int | None, typer.Option(help="Images per batch; halved if memory runs out.")]
Rate = Annotated[float | None, typer.Option("--learning-rate", help="Default: 0.002; from scratch it is searched.")]
Patience = Annotated[int | None, typer.Option(help="Stop after this many epochs without a gain on validation.")]
Images = Annotated[
    list[str] | None, typer.Option(help="Use only these images of the split: 'label=shirt', 'annotator=ann'.")
]
FILTERS = ("split", "label", "annotator")
Flip = Annotated[
    bool | None, typer.Option("--flip/--no-flip", help="Allow horizontal flips; not for letters and digits.")
]


@talks_to("trainer")
def train(
    name: Annotated[str, typer.Argument(help="Name of the new version.")],
    base: Annotated[str | None, typer.Option(help="Version to clone. Options that you omit are taken from it.")] = None,
    arch: Arch = None,
    weights: Weights = "auto",
    input_size: InputSize = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: Rate = None,
    patience: Patience = None,
    flip: Flip = None,
    train: Images = None,
    validation: Images = None,
    test: Images = None,
    *,
    place: Place,
) -> None:
    """Train a network on all labels and save it as a version. Ctrl-C stops watching, not the job."""
    asked = _asked(base, arch, weights, input_size, epochs, batch_size, learning_rate, patience, flip)
    asked |= _filters(train, validation, test)
    _train(place, name, asked)


@talks_to("trainer")
def finalize(
    arch: Annotated[str, typer.Option(help="Any timm name: convnext_small, vit_base_patch14_dinov2, …")],
    name: Annotated[str | None, typer.Option(help="Name of the new version.")] = None,
    base: Annotated[str | None, typer.Option(help="Version to compare with, instead of the one in use.")] = None,
    min_delta: Annotated[list[str] | None, typer.Option(help="Checks, as for `flywheel models compare`.")] = None,
    promote: Annotated[bool, typer.Option("--promote", help="Promote the new version if it is better.")] = False,
    weights: Weights = "auto",
    input_size: InputSize = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: Rate = None,
    patience: Patience = None,
    flip: Flip = None,
    train: Images = None,
    validation: Images = None,
    test: Images = None,
    *,
    place: Place,
) -> None:
    """Train a larger network on all labels, then compare it with the model in use."""
    now = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    version = name or f"{arch.partition('.')[0]}-{now}"
    request = _comparison(base or "the model in use", version, min_delta, promote=promote)
    ask(f"{place.trainer}/networks/{quote(arch)}", seconds=CHECK_SECONDS)  # check the names before hours of training
    if base is not None:
        ask(f"{place.trainer}/models/{quote(base)}")
    asked = _asked(None, arch, weights, input_size, epochs, batch_size, learning_rate, patience, flip)
    asked |= _filters(train, validation, test)
    _train(place, version, asked)
    against = base or ask(f"{place.trainer}/models")["promoted"] or NOW
    show_comparison(_compared(place, request.model_copy(update={"base": against})))


def _comparison(base: str, candidate: str, min_delta: list[str] | None, *, promote: bool) -> ComparisonRequest:
    """The request of the options. Raises SettingsError."""
    checks = dict(assignment(each) for each in min_delta or ["accuracy=0"])
    said = {"base": base, "candidate": candidate, "min_delta": checks, "promote": promote}
    try:
        return ComparisonRequest.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        where = f"--min-delta {first['loc'][1]}: " if first["loc"][:1] == ("min_delta",) else ""
        raise SettingsError(f"{where}{first['msg'].removeprefix('Value error, ')}.") from None


def _compared(place: Place, request: ComparisonRequest) -> Comparison:
    """The result of the comparison. If it fails, the version that was saved for it is deleted again."""
    said = ask(f"{place.trainer}/models/compare", "POST", json=request.model_dump(mode="json"), seconds=SAVE_SECONDS)
    job = Job.model_validate(said)
    try:
        return Comparison.model_validate(follow(place.trainer, job).result)
    except SettingsError:
        if request.base == NOW:
            with suppress(SettingsError):  # if the trainer is away, the comparison continues and needs it
                ask(f"{place.trainer}/models/{job.request['comparison']['base']}", "DELETE")
        raise


def _filters(*given: list[str] | None) -> dict[str, dict[str, str]]:
    parts = zip(("train", "validation", "test"), given, strict=True)
    return {part: parse_filter(texts, f"--{part}", FILTERS) for part, texts in parts if texts}


def _asked(
    base: str | None,
    arch: str | None,
    weights: str,
    input_size: int | None,
    epochs: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    patience: int | None,
    flip: bool | None,
) -> dict[str, Any]:
    return {
        "base": base,
        "architecture": arch,
        "weights": weights,
        "input_size": input_size,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "patience": patience,
        "flip": flip,
    }


def _train(place: Place, name: str, asked: dict[str, Any]) -> None:
    job = Job.model_validate(
        ask(f"{place.trainer}/models", "POST", seconds=CHECK_SECONDS, json={"name": name, "train": asked})
    )
    console.print(
        f"Job {job.id}: `{place.command('jobs', 'watch', job.id)}` shows its progress again.", highlight=False
    )
    trained = Trained.model_validate(follow(place.trainer, job).result)
    version = ModelVersion.model_validate(ask(f"{place.trainer}/models/{name}"))
    measured = ", ".join(f"{figure} {value}" for figure, value in figures(version).items())
    console.print(
        f"Trained {name} in {trained.seconds:,.0f} s: {trained.epochs} epochs, weights of epoch "
        f"{trained.best_epoch}. On test images: {measured}.",
        highlight=False,
    )
    for note in trained.notes:
        console.print(note, highlight=False)
