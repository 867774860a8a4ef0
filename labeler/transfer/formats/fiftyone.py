"""FiftyOne's dataset folders with classes: FiftyOneDataset, FiftyOneImageClassificationDataset.

When reading, only the single classification field of a sample counts, or `ground_truth` if there are several; a tag
with a split's name gives the split. Everything else in a sample (detections, predictions next to the truth) is
ignored, and counted by field.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from labeler.transfer.files import fiftyone
from labeler.transfer.files.fiftyone import PREDICTED, TRUTH, fields_of, labels_of, parts_of, reading, sample_of
from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.imported import Chosen, Read, told
from labeler.transfer.rows.left_out import LeftOut
from labeler.transfer.rows.several import ABSENT
from shared.wire.imports import ImportIssue


def write(rows: Iterator[ExportRow], extras: Extras) -> Iterator[bytes]:
    """Write each answered image as its row arrives, and the label files at the end."""
    classes: dict[str, None] = {}

    def sample(row: ExportRow, name: str) -> Mapping[str, Any]:
        classes.update(dict.fromkeys(row.named))
        own = ("id", "split", "label", "prediction", "prediction_confidence")
        said = sample_of(row, name, extras, own, about=None, truth=_truth(row))
        return said | ({"prediction": _class(*row.predicted or (None,))} if "predictions" in extras else {})

    return fiftyone.write(rows, extras, sample, classes)


def _truth(row: ExportRow) -> dict[str, Any] | None:
    if row.answer is None:
        return _class(row.label)
    return {"_cls": "Classifications", "classifications": [_class(name) for name in row.present]}


def _class(label: str | None, confidence: float | None = None) -> dict[str, Any] | None:
    given = {"_cls": "Classification", "label": label}
    return None if label is None else given | ({} if confidence is None else {"confidence": confidence})


def read(path: Path, chosen: Chosen | None = None, left: LeftOut | None = None) -> Iterator[Read]:
    """Rows of the file; `line` counts samples from 1. Raises SettingsError for another file format."""
    several = chosen is not None and chosen.several
    counted = LeftOut() if left is None else left
    with reading(path) as content:
        rows = _samples(content["samples"], counted) if "samples" in content else _labels(content, path)
        for number, parts in enumerate(rows, start=1):
            if isinstance(parts, str):
                yield ImportIssue(line=number, uri="", reason=parts)
            else:
                rows_of_it = told(number, parts, several=several)
                yield from counted.if_none(rows_of_it, "sample", "without a classification", number)


def _samples(samples: list[Mapping[str, Any]], left: LeftOut) -> Iterator[Mapping[str, Any] | str]:
    for number, sample in enumerate(samples, start=1):
        fields = fields_of(sample)
        classes = {name: value for name, value in fields.items() if value["_cls"].startswith("Classification")}
        beside = classes.keys() - {TRUTH}
        if TRUTH not in classes:  # if the truth is null, a prediction must not count as the label
            beside &= PREDICTED if TRUTH in sample else set()
        for name in sorted(beside):
            left.add("classification", f"of the field {name} beside {TRUTH}", number)
            del classes[name]
        for name, value in fields.items():
            if not value["_cls"].startswith("Classification"):
                left.add("field", f"{name} of the kind {value['_cls']}, which gives the image no class", number)
        if len(classes) > 1:
            yield f"has a class in several fields ({', '.join(classes)}), and an image has one: keep one"
            continue
        given = next(iter(classes.values()), {})
        many = given.get("classifications")
        yield {
            **parts_of(sample),
            "label": [each.get("label") for each in many] if isinstance(many, list) and many else given.get("label"),
            "confidence": given.get("confidence"),
            **{name: sample.get(name) for name in ("status", "labeled_at", "history", ABSENT)},
        }


def _labels(content: Mapping[str, Any], path: Path) -> Iterator[Mapping[str, Any] | str]:
    names: list[str] | None = content.get("classes")
    for uri, target in labels_of(content, path):
        label = target.get("label") if isinstance(target, dict) else target
        try:
            yield {"uri": uri, "label": _named(label, names)}
        except IndexError:
            yield "has a label that is not among the classes of the file"


def _named(label: Any, names: list[str] | None) -> Any:
    if isinstance(label, list):
        return [_named(each, names) for each in label]
    return names[label] if names and isinstance(label, int) else label
