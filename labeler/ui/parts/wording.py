"""Names of the services' states on the pages, and what a person can do about them."""

from __future__ import annotations

import re
from pathlib import Path

from labeler.trainer_link.advice import how_to_start
from shared.figures import duration, many
from shared.wire.trainer import SecondLookView

TRAINER: dict[str, tuple[str, str]] = {
    "waiting": ("Waiting for labels", "training starts with the first batch"),
    "training": ("Learning", ""),
    "paused": ("Paused", "labels are kept; press Resume to train on them"),
    "stopping": ("Stopping", "one last evaluation, then model and dataset are saved"),
    "stopped": ("Trainer safely shut down", "press Resume to continue"),
    "failed": ("Failed", "labels are kept; press Resume to try again, and see the trainer's log"),
    "absent": ("Trainer not reachable", "labels are kept and sent when it is back; {start}"),
    "taken": ("Trainer follows another labeler", "labels are kept; this labeler needs its own trainer"),
    "lost": ("Labeler not reachable", "this page continues by itself when it is back"),
}
"""Trainer state → its name, and its meaning or advice, see `trainer`. `lost` is set by the page when it cannot
reach the labeler."""

EXPORTS: dict[str, tuple[str, str]] = {
    "csv": ("CSV", "one row per image, for spreadsheets and scripts"),
    "onehot": ("CSV, a column per class", "1 if the image has the class, 0 if not, empty if unknown, for notebooks"),
    "jsonl": ("JSON lines", "one object per image, for programs"),
    "parquet": ("Parquet", "a table for pandas, DuckDB and Spark"),
    "datasets": ("Hugging Face datasets", 'a zip that `load_dataset("imagefolder", data_dir=…)` reads once unpacked'),
    "fiftyone": ("FiftyOne", "a zip that FiftyOne reads as a FiftyOneDataset once unpacked, with splits as tags"),
    "coco": ("COCO", "images, categories and annotations in one JSON"),
    "cvat": ("CVAT", "annotations to upload there as `CVAT 1.1`, one tag per image"),
    "label_studio": ("Label Studio", "tasks to import there, with the labels as annotations"),
    "imagefolder": ("Image folders", "a zip of the images, one folder per class, for torchvision, timm and fastai"),
    "yolo": (
        "YOLO classification",
        "a zip of the images that Ultralytics YOLO trains a classifier from, once unpacked",
    ),
}
"""Export format → its name and purpose. A format that is not listed is shown by its own name."""
BOX_EXPORTS: dict[str, tuple[str, str]] = EXPORTS | {
    "csv": ("CSV", "one row per box, for spreadsheets and scripts"),
    "jsonl": ("JSON lines", "one object per image with its boxes, for programs"),
    "parquet": ("Parquet", "a table for pandas, DuckDB and Spark, with a list of boxes per image"),
    "coco": ("COCO", "images, categories and boxes in one JSON, as most detectors train from"),
    "cvat": ("CVAT", "annotations to upload there as `CVAT 1.1`"),
    "voc": ("Pascal VOC", "a zip with an XML file per image, without the images"),
    "yolo": ("YOLO", "a zip of the images and boxes that Ultralytics YOLO trains a detector from, once unpacked"),
}
"""The same for boxes."""

_MARKS = re.compile(r"([\\`*_{}\[\]()#+.!|~:$<>-])")


def trainer(workspace: str | Path) -> dict[str, tuple[str, str]]:
    """`TRAINER`, with how this project's trainer starts."""
    start = how_to_start(workspace)
    return {state: (name, what.replace("{start}", start)) for state, (name, what) in TRAINER.items()}


def away(workspace: str | Path, state: str) -> tuple[str, str]:
    """Name of the state of a trainer that gives this labeler no status, and what to do."""
    return trainer(workspace)["taken" if state == "taken" else "absent"]


def second_look(view: SecondLookView) -> str:
    """What the second look at the images does, in words."""
    match view.state:
        case "off":
            return f"Second look: {view.message[:1].lower()}{view.message[1:]}"
        case "waiting":
            return "Second look: it begins when every image has its first features."
        case "used":
            return "Each image is seen as it is, mirrored, and with its middle enlarged."
    unread = f"{many(view.problems, 'image')} cannot be read now; the trainer tries again. " if view.problems else ""
    return (
        f"Second look: {view.done:,} of {view.total:,} images{time_left(view.seconds_left)}. {unread}Each image is "
        "seen again in three views, while the trainer has nothing else to do. Then the model learns from these."
    )


def time_left(seconds: float | None) -> str:
    """`, about 3 min left`, or "" if unknown."""
    return "" if seconds is None else f", about {duration(seconds)} left"


def plain(text: str) -> str:
    """Escape a user's text where Streamlit reads Markdown: a class named `![](…)` stays a name."""
    return _MARKS.sub(r"\\\1", text)
