"""The model card of a version: its purpose, training data, accuracy and limits.

After Mitchell et al. 2019, "Model Cards for Model Reporting", as Markdown. It contains only what the version records.
"""

from __future__ import annotations

from shared.figures import (
    ENOUGH,
    calibration_error_in_words,
    interval_in_words,
    is_measured,
    megabytes,
    metric_in_words,
    not_measured,
    percent,
    rounded,
)
from shared.wire.evaluation import ClassMetrics, Evaluation
from shared.wire.models import Description, ModelVersion
from trainer.embeddings.backbones import installed
from trainer.embeddings.backbones.preparation import Preprocessing, in_words
from trainer.versions.saved_learners import LEARNERS, finds_boxes, has_several

FEW = 20
"""Test images of a class below which its figures are unreliable."""


def model_card(version: ModelVersion) -> str:
    """The card as Markdown."""
    parts = [_what(version), _data(version), _figures(version), _limits(version), _use(version)]
    return f"# {version.version}\n\n" + "\n\n".join(parts) + "\n"


def _what(version: ModelVersion) -> str:
    learner = LEARNERS.get(version.learner)
    kind = learner.in_words if learner is not None else version.learner
    several = ", of which an image can have any number" if has_several(version) else ""
    work = "A detector that finds objects" if finds_boxes(version) else "An image classifier"
    parent = f" Made from version {version.parent}." if version.parent else ""
    licence = licence_of(version)
    begun = (
        f" Its network was initialised with the weights of {installed.PACKAGE}, licence {licence}." if licence else ""
    )
    return (
        f"{work} of {len(version.classes)} classes{several}. {kind}: {version.architecture}. Saved "
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
    if finds_boxes(version):
        return figures_of_boxes(said)
    if has_several(version):
        return figures_of_several(said)
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
        f"## How good it is\n\nOn {accuracy.n:,} test images, {_drawn(said)} and never "
        "used for training:\n\n| metric | value |\n|---|---|\n" + "\n".join(lines) + "\n\n"
        "| class | precision | recall | F1 | test images |\n|---|---:|---:|---:|---:|\n" + classes
    )


def _drawn(said: Evaluation) -> str:
    if not said.active:
        return "drawn at random before labeling began"
    hard = "drawn at random before labeling began, of which hard ones were asked more often"
    return f"{hard} ({'the accuracy is weighted for it' if said.at_random else 'the accuracy is probably too low'})"


def _limits(version: ModelVersion) -> str:
    limits = [
        "It knows only its classes: what else an image shows, it does not say."
        if has_several(version) or finds_boxes(version)
        else "It knows only its classes: an image of anything else also gets one of them.",
        "It was measured on images of the same pool. Measure it again on others: another camera, another season.",
    ]
    said = version.metrics
    if said is not None and said.test_labels >= ENOUGH:
        few = [_cell(each.name) for each in said.classes if each.support < FEW]
        if few:
            of = "boxes in the test images" if finds_boxes(version) else "test images"
            limits.append(f"Unreliable figures, with fewer than {FEW} {of}: {', '.join(few)}.")
    if finds_boxes(version) and version.input is not None:
        limits.append(
            f"It sees the whole image at {version.input.size} pixels per side: objects of a few of these pixels are "
            "missed."
        )
    return "## Limits\n\n" + "\n".join(f"- {each}" for each in limits)


def _use(version: ModelVersion) -> str:
    if version.input is None:
        return "## How to use it\n\nIt was fitted on vectors from a file, so its input is vectors and not images."
    prepared = in_words(Preprocessing.of(version.input))
    if finds_boxes(version):
        return (
            f"## How to use it\n\nInput: {version.input.size} × {version.input.size} pixels, RGB. {prepared} The ONNX "
            "export takes values from 0 to 255. It returns for each of its points a score for each class, and the "
            "corners of a box on that square (left, top, right, bottom). Of boxes of a class that overlap by more "
            "than half (IoU), keep the one with the best score, and place it at a mean of all of them. "
            f"run_detector.py in the documentation does all of this. From the weights: {version.how_to_use}"
        )
    return (
        f"## How to use it\n\nInput: {version.input.size} × {version.input.size} pixels, RGB, "
        f"{version.input.preparation}. {prepared} An export takes values from 0 to 255 and does the rest itself. "
        f"From the weights: {version.how_to_use}"
    )


def _class_row(each: ClassMetrics) -> str:
    shown = " | ".join(_share(value) for value in (each.precision, each.recall, each.f1))
    return f"| {_cell(each.name)} | {shown} | {each.support:,} |"


def figures_of_several(said: Evaluation | None) -> str:
    """The figures of a version that predicts several classes per image."""
    n = 0 if said is None else said.test_labels
    if said is None or n < ENOUGH or said.micro_f1 is None or said.mean_average_precision is None:
        return f"## How good it is\n\n{not_measured(n).capitalize()} when it was saved."
    value, low, high = (percent(each or 0, 1) for each in (said.macro_f1, said.macro_f1_low, said.macro_f1_high))
    lines = [f"| macro F1 | {value} ({low} – {high}) |"]
    rows = {
        "micro F1": said.micro_f1,
        "mean average precision": said.mean_average_precision,
        "all classes right": said.accuracy,
    }
    lines += [
        f"| {name} | {percent(each.value, 1)} ({interval_in_words(each)}, {each.n:,} images) |"
        for name, each in rows.items()
        if is_measured(each)
    ]
    classes = "\n".join(
        f"{_class_row(each)[:-1]}| {_share(each.average_precision.value if each.average_precision else None)} | "
        f"{'not learned' if each.threshold is None else rounded(each.threshold, 2)} |"
        for each in said.classes
    )
    return (
        f"## How good it is\n\nOn {n:,} test images, drawn at random before labeling began and never used for "
        "training, with 95 % intervals. Answers that say nothing about a class are left out for that class:\n\n"
        "| metric | value |\n|---|---|\n" + "\n".join(lines) + "\n\n| class | precision | recall | F1 | test images "
        "| average precision | predicted from |\n|---|---:|---:|---:|---:|---:|---:|\n" + classes
    )


def figures_of_boxes(said: Evaluation | None) -> str:
    """The figures of a version that finds boxes."""
    if said is None or not is_measured(said.map_50) or said.map_50 is None:
        n = said.map_50.n if said is not None and said.map_50 is not None else 0
        return f"## How good it is\n\n{not_measured(n).capitalize()} when it was saved."
    rows = {"mAP at IoU 0.5": said.map_50, "mAP at IoU 0.5 to 0.95": said.map_50_95}
    lines = [
        f"| {name} | {percent(each.value, 1)} ({interval_in_words(each)}, {each.n:,} images) |"
        for name, each in rows.items()
        if each is not None
    ]
    classes = "\n".join(
        f"{_class_row(each)[:-1]}| {_share(each.average_precision.value if each.average_precision else None)} |"
        for each in said.classes
    )
    return (
        f"## How good it is\n\nOn {said.map_50.n:,} test images, drawn at random before labeling began and never used "
        "for training, with 95 % intervals:\n\n| metric | value |\n|---|---|\n"
        + "\n".join(lines)
        + "\n\n| class | precision | recall | F1 | boxes in the test images | average precision |\n"
        + "|---|---:|---:|---:|---:|---:|\n"
        + classes
    )


def _share(value: float | None) -> str:
    return "–" if value is None else percent(value)


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
