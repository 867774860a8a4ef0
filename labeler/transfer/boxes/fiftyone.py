"""FiftyOne's dataset folders with `Detections`: FiftyOneDataset, FiftyOneImageDetectionDataset.

Coordinates are shares [x, y, width, height] of the upright image, as FiftyOne shows it. If the field is null, the
sample is not labeled; an empty list of detections means that nothing is there. As with classes, only the single field
with detections counts, or `ground_truth` if there are several.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from labeler.transfer.files import fiftyone
from labeler.transfer.files.fiftyone import PREDICTED, TRUTH, fields_of, labels_of, parts_of, reading, sample_of
from labeler.transfer.rows.boxed_rows import told_boxes
from labeler.transfer.rows.boxes import BOXES, BoxRow
from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.imported import Chosen, Read
from labeler.transfer.rows.left_out import LeftOut
from shared.wire.imports import NamedBox, NamedBoxes


def write(rows: Iterator[ExportRow], extras: Extras, classes: Sequence[str]) -> Iterator[bytes]:
    """Write each answered image as its row arrives, and the label files at the end. A class that is added or renamed
    during the export comes last.
    """
    known = dict.fromkeys(classes)

    def sample(row: ExportRow, name: str) -> Mapping[str, Any]:
        known.update(dict.fromkeys(box.label for box in row.boxes or ()))
        about = {"_cls": "ImageMetadata", "width": row.width, "height": row.height}
        own = ("id", "split", "width", "height", BOXES)
        return sample_of(row, name, extras, own, about=about, truth=_truth(row))

    return fiftyone.write(rows, extras, sample, known)


def _truth(row: ExportRow) -> dict[str, Any] | None:
    if row.boxes is None:
        return None
    return {"_cls": "Detections", "detections": [_detection(box, row) for box in row.boxes]}


def _detection(box: NamedBox, row: ExportRow) -> dict[str, Any]:
    width, height = row.width or 1, row.height or 1
    place = [round(share, 9) for share in (box.x / width, box.y / height, box.w / width, box.h / height)]
    return {"_cls": "Detection", "label": box.label, "bounding_box": place, "origin": box.origin, "tags": []}


def read(path: Path, chosen: Chosen | None, left: LeftOut) -> Iterator[Read]:
    """Rows of the file; `line` counts samples from 1. Raises SettingsError for another file format."""
    with reading(path) as content:
        rows = _samples(content["samples"], left) if "samples" in content else _labels(content, path)
        for number, (parts, given, names, size) in enumerate(rows, start=1):
            if given is None and not parts.get("status"):
                left.add("sample", "without detections", number)
            yield from told_boxes(number, parts, partial(_boxes, given, names, size))


_Told = tuple[Mapping[str, Any], list[Mapping[str, Any]] | None, Sequence[str], tuple[Any, Any]]
"""The parts of a row, its detections, the classes by number, and the image's size."""


def _samples(samples: list[Mapping[str, Any]], left: LeftOut) -> Iterator[_Told]:
    for number, sample in enumerate(samples, start=1):
        fields = fields_of(sample)
        fields.pop("metadata", None)
        found = {name: value for name, value in fields.items() if value["_cls"] == "Detections"}
        beside = found.keys() - {TRUTH} if TRUTH in found else found.keys() & PREDICTED
        for name in sorted(beside):
            left.add("field", f"{name} with detections beside {TRUTH}", number)
            del found[name]
        for name in sorted(fields.keys() - found.keys() - beside):
            left.add("field", f"{name} of the kind {fields[name]['_cls']}, which has no boxes", number)
        if len(found) > 1:
            raise ValueError(f"sample {number} has boxes in several fields ({', '.join(found)}): keep one")
        parts = {
            **parts_of(sample),
            **{name: sample[name] for name in ("status", "labeled_at", "history") if sample.get(name) is not None},
        }
        about = sample.get("metadata") or {}
        size = about.get("width"), about.get("height")
        yield parts, next((value.get("detections") or [] for value in found.values()), None), (), size


def _labels(content: Mapping[str, Any], path: Path) -> Iterator[_Told]:
    for uri, given in labels_of(content, path):
        yield {"uri": uri}, given, content.get("classes") or (), (None, None)


def _boxes(given: list[Mapping[str, Any]] | None, names: Sequence[str], size: tuple[Any, Any]) -> NamedBoxes | None:
    if given is None:
        return None
    row = BoxRow("share", size)
    for each in given:
        label = each.get("label")
        if isinstance(label, int) and not isinstance(label, bool) and names:
            label = names[label] if 0 <= label < len(names) else None
        row.listed(label, each.get("bounding_box"), each.get("origin"))
    return row.answer()
