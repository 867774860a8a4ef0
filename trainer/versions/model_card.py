"""The model card of a version: its purpose, training data, accuracy and limits.

After Mitchell et al. 2019, "Model Cards for Model Reporting", as Markdown. It contains only what the version records.
"""

from __future__ import annotations

from shared.figures import (
    calibration_error_in_words,
    interval_in_words,
    is_measured,
    megabytes,
    metric_in_words,
    not_measured,
    percent,
)
from shared.wire.evaluation import ClassMetrics
from shared.wire.models import Description, ModelVersion
from trainer.embeddings.backbones import installed
from trainer.embeddings.backbones.preparation import Preprocessing, in_words
from trainer.versions.saved_learners import LEARNERS

FEW = 20
"""Test images of a class below which its figures are unreliable."""


def model_card(version: ModelVersion) -> str:
    """The card as Markdown."""
    parts = [_what(version), _data(version), _figures(version), _limits(version), _use(version)]
    return f"# {version.version}\n\n" + "\n\n".join(parts) + "\n"


def _what(version: ModelVersion) -> str:
    learner = LEARNERS.get(version.learner)
    kind = learner.in_words if learner is not None else version.learner
    parent = f" Made from version {version.parent}." if version.parent else ""
    licence = licence_of(version)
    begun = (
        f" Its network was initialised with the weights of {installed.PACKAGE}, licence {licence}." if licence else ""
    )
    return (
        f"An image classifier of {len(version.classes)} classes. {kind}: {version.architecture}. Saved "
        f"{version.saved_at:%Y-%m-%d %H:%M} UTC ({version.reason}).{parent} {megabytes(version.bytes)} of weights."
        f"{begun}"
    )


def licence_of(version: Description) -> str:
    """The licence of the initial weights if they came with the installation; empty if unknown."""
    mine = version.config.get("backbone_weights") or version.config.get("weights") not in (None, "pretrained", "base")
    return installed.LICENCE if version.architecture == installed.NAME and not mine else ""


def _data(version: ModelVersion) -> str:
    rows = "\n".join(
        f"| {_cell(each.name)} | {version.labels_by_class.get(each.name, 0):,} |" for each in version.classes
    )
    chosen = ", ".join(
        f"{key} {value}" for key, value in (version.config.get("train") or {}).items() if value and key != "split"
    )
    only = f" Only images of: {_cell(chosen)}." if chosen else ""
    return (
        f"## What it learned from\n\n{version.labels:,} labeled images, as of row {version.acked_seq:,} of log "
        f"{version.log_id}. dataset.csv lists each with its hash.{only} Most were chosen by active learning and not "
        f"at random, so their class shares differ from those of the pool.\n\n| class | labels |\n|---|---:|\n{rows}"
    )


def _figures(version: ModelVersion) -> str:
    said = version.metrics
    if said is None or not is_measured(said.accuracy):
        words = not_measured(said.accuracy.n if said is not None else 0)
        return f"## How good it is\n\n{words.capitalize()} when it was saved."
    accuracy = said.accuracy
    also = f" and the confidence on {accuracy.unlabeled:,} test images without a label" if accuracy.unlabeled else ""
    lines = [
        f"| accuracy | {percent(accuracy.value, 1)} ({interval_in_words(accuracy)}, Wilson 95 %{also}) |",
        f"| macro F1 | {metric_in_words('macro_f1', said.macro_f1)} |",
        f"| log loss | {metric_in_words('log_loss', said.log_loss)} |",
        f"| calibration error | {calibration_error_in_words(said.calibration_error, accuracy.n)} |",
    ]
    classes = "\n".join(_class_row(each) for each in said.classes)
    return (
        f"## How good it is\n\nOn {accuracy.n:,} test images, drawn at random before labeling began and never "
        "used for training:\n\n| metric | value |\n|---|---|\n" + "\n".join(lines) + "\n\n"
        "| class | precision | recall | F1 | test images |\n|---|---:|---:|---:|---:|\n" + classes
    )


def _limits(version: ModelVersion) -> str:
    limits = [
        "It knows only its classes: an image of anything else also gets one of them.",
        "It was measured on images of the same pool. Measure it again on others: another camera, another season.",
    ]
    said = version.metrics
    if said is not None and is_measured(said.accuracy):
        few = [_cell(each.name) for each in said.classes if each.support < FEW]
        if few:
            limits.append(f"Unreliable figures, with fewer than {FEW} test images: {', '.join(few)}.")
    return "## Limits\n\n" + "\n".join(f"- {each}" for each in limits)


def _use(version: ModelVersion) -> str:
    if version.input is None:
        return "## How to use it\n\nIt was fitted on vectors from a file, so its input is vectors and not images."
    prepared = in_words(Preprocessing.of(version.input))
    return (
        f"## How to use it\n\nInput: {version.input.size} × {version.input.size} pixels, RGB, "
        f"{version.input.preparation}. {prepared} An export takes values from 0 to 255 and does the rest itself. "
        f"From the weights: {version.how_to_use}"
    )


def _class_row(each: ClassMetrics) -> str:
    shown = " | ".join(_share(value) for value in (each.precision, each.recall, each.f1))
    return f"| {_cell(each.name)} | {shown} | {each.support:,} |"


def _share(value: float | None) -> str:
    return "–" if value is None else percent(value)


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
