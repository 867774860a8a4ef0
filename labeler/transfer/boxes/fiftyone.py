"""FiftyOne's dataset folders with `Detections`: FiftyOneDataset (`samples.json`), FiftyOneImageDetectionDataset.

Places are shares [x, y, width, height] of the image, which FiftyOne shows as browsers do: upright. A field that is null
says that a sample is not labeled; an empty list of detections says that nothing is in it. As with classes, only the
single field with detections counts, or `ground_truth` if there are several.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

from labeler.transfer.formats.fiftyone import PREDICTED, TRUTH
from labeler.transfer.formats.imagefolder import Pipe, write_answered, write_table
from labeler.transfer.rows.boxed_rows import told_boxes
from labeler.transfer.rows.boxes import BOXES, BoxRow
from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.imported import SPLITS, Chosen, Read
from labeler.transfer.rows.left_out import LeftOut
from labeler.transfer.rows.whole_files import content_of
from shared.settings.services import SettingsError
from shared.wire.imports import NamedBox, NamedBoxes

_IN_MEMORY = 1 << 20  # bytes of samples in memory; more are kept on disk


def write(rows: Iterator[ExportRow], extras: Extras, classes: Sequence[str]) -> Iterator[bytes]:
    """Write answered images as they come, and the label files at the end."""
    pipe = Pipe()
    with SpooledTemporaryFile(_IN_MEMORY) as samples:
        samples.write(b'{"samples": [')
        comma = b"\n"
        with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:
            for row, name in write_answered(rows, extras, archive, lambda _: "data"):
                samples.write(comma + json.dumps(_sample(row, name, extras)).encode())
                comma = b",\n"
                yield pipe.drain()
            samples.write(b"\n]}\n")
            yield from write_table(archive, pipe, "samples.json", samples)
            about = {"media_type": "image", "info": {"classes": {TRUTH: [*classes]}}}
            archive.writestr(zipfile.ZipInfo("metadata.json"), json.dumps(about) + "\n")
        yield pipe.drain()


def _sample(row: ExportRow, name: str, extras: Extras) -> dict[str, Any]:
    """The image, with its split as a tag. What FiftyOne has its own name or type for is not repeated as a field."""
    own = ("id", "split", "width", "height", BOXES)
    known = {column: value for column, value in row.record(extras).items() if column not in own}
    about = {"_cls": "ImageMetadata", "width": row.width, "height": row.height}
    return {"filepath": f"data/{name}", "tags": [row.split], "metadata": about, TRUTH: _truth(row), **known}


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
    try:
        content = json.loads(content_of(path))
        rows = _samples(content["samples"], left) if "samples" in content else _labels(content, path.parent / "data")
        for number, (parts, given, names, size) in enumerate(rows, start=1):
            if given is None and not parts.get("status"):
                left.add("sample", "without detections", number)
            yield from told_boxes(number, parts, partial(_boxes, given, names, size))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SettingsError(f"{path} is not FiftyOne's JSON: {type(error).__name__} {error}.") from None


_Told = tuple[Mapping[str, Any], list[Mapping[str, Any]] | None, Sequence[str], tuple[Any, Any]]
"""The parts of a row, its detections, the classes by number, and the image's size."""


def _samples(samples: list[Mapping[str, Any]], left: LeftOut) -> Iterator[_Told]:
    for number, sample in enumerate(samples, start=1):
        fields = {name: value for name, value in sample.items() if isinstance(value, dict) and "_cls" in value}
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
        tags = [tag.lower() for tag in sample.get("tags") or []]
        parts = {
            "uri": sample.get("filepath"),
            "split": next((tag for tag in tags if tag in SPLITS), None),
            "annotator": sample.get("annotators"),
            **{name: sample[name] for name in ("status", "labeled_at", "history") if sample.get(name) is not None},
        }
        about = sample.get("metadata") or {}
        size = about.get("width"), about.get("height")
        yield parts, next((value.get("detections") or [] for value in found.values()), None), (), size


def _labels(content: Mapping[str, Any], data: Path) -> Iterator[_Told]:
    """Image names have no extensions in this format; the files in the folder `data` have them."""
    files = {path.relative_to(data).with_suffix("").as_posix(): path for path in data.rglob("*") if path.is_file()}
    for key, given in content["labels"].items():
        uri = files[key].relative_to(data).as_posix() if key in files else key
        yield {"uri": f"data/{uri}"}, given, content.get("classes") or (), (None, None)


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
