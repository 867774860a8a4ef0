"""FiftyOne's dataset folders: FiftyOneDataset (`samples.json`), FiftyOneImageClassificationDataset (`labels.json`).

We write the first, as a zip: it has room for splits (tags) and for everything else known about an image (fields). Its
`metadata.json` names no version of FiftyOne's database, so that every FiftyOne reads it, like datasets from before 0.8.

When reading, only the single classification field of a sample counts, or `ground_truth` if there are several; a tag
with a split's name gives the split. Everything else in a sample (detections, predictions beside the truth) is counted
by field.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

from labeler.transfer.formats.imagefolder import Pipe, write_answered, write_table
from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.imported import SPLITS, Read, told
from labeler.transfer.rows.left_out import LeftOut
from labeler.transfer.rows.several import ABSENT
from shared.settings.services import SettingsError
from shared.wire.imports import ImportIssue

TRUTH = "ground_truth"
PREDICTED = frozenset({"prediction", "predictions"})
_IN_MEMORY = 1 << 20  # bytes of samples in memory; more are kept on disk
_BEGINS = re.compile(rb'\{\s*"(samples|classes|labels)"')


def write(rows: Iterator[ExportRow], extras: Extras) -> Iterator[bytes]:
    """Write answered images as they come, and the label files at the end."""
    pipe = Pipe()
    classes: dict[str, None] = {}
    with SpooledTemporaryFile(_IN_MEMORY) as samples:
        samples.write(b'{"samples": [')
        comma = b"\n"
        with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:
            for row, name in write_answered(rows, extras, archive, lambda _: "data"):
                samples.write(comma + json.dumps(_sample(row, name, extras)).encode())
                comma = b",\n"
                classes |= dict.fromkeys([*row.present, *(row.answer[1] if row.answer is not None else ())])
                yield pipe.drain()
            samples.write(b"\n]}\n")
            yield from write_table(archive, pipe, "samples.json", samples)
            about = {"media_type": "image", "info": {"classes": {TRUTH: list(classes)}}}
            archive.writestr(zipfile.ZipInfo("metadata.json"), json.dumps(about) + "\n")
        yield pipe.drain()


def _sample(row: ExportRow, name: str, extras: Extras) -> dict[str, Any]:
    """The image, with its split as a tag. What FiftyOne has its own name or type for is not repeated as a field."""
    own = ("id", "split", "label", "prediction", "prediction_confidence")
    known = {column: value for column, value in row.record(extras).items() if column not in own}
    sample = {"filepath": f"data/{name}", "tags": [row.split], "metadata": None, TRUTH: _truth(row), **known}
    if "predictions" in extras:
        sample["prediction"] = _class(*row.predicted or (None,))
    return sample


def _truth(row: ExportRow) -> dict[str, Any] | None:
    if row.answer is None:
        return _class(row.label)
    return {"_cls": "Classifications", "classifications": [_class(name) for name in row.present]}


def _class(label: str | None, confidence: float | None = None) -> dict[str, Any] | None:
    given = {"_cls": "Classification", "label": label}
    return None if label is None else given | ({} if confidence is None else {"confidence": confidence})


def is_ours(path: Path) -> bool:
    """Whether a JSON file begins like one of FiftyOne's."""
    with path.open("rb") as stream:
        return bool(_BEGINS.match(stream.read(1_024).lstrip(b"\xef\xbb\xbf \t\r\n")))


def table_in(folder: Path) -> Path | None:
    """The file with the labels of a dataset folder; None if it is not a FiftyOne folder."""
    files = [folder / "samples.json", folder / "labels.json"]
    return next((path for path in files if (folder / "data").is_dir() and path.is_file() and is_ours(path)), None)


def read(path: Path, left: LeftOut | None = None, *, several: bool = False) -> Iterator[Read]:
    """Rows of the file; `line` counts samples from 1. Raises SettingsError for another file format."""
    counted = LeftOut() if left is None else left
    try:
        content = json.loads(path.read_bytes())
        rows = _samples(content["samples"], counted) if "samples" in content else _labels(content, path.parent / "data")
        for number, parts in enumerate(rows, start=1):
            if isinstance(parts, str):
                yield ImportIssue(line=number, uri="", reason=parts)
                continue
            silent = True
            for row in told(number, parts, several=several):
                silent = False
                yield row
            if silent:
                counted.add("sample", "without a classification", number)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SettingsError(f"{path} is not FiftyOne's JSON: {type(error).__name__} {error}.") from None


def _samples(samples: list[Mapping[str, Any]], left: LeftOut) -> Iterator[Mapping[str, Any] | str]:
    for number, sample in enumerate(samples, start=1):
        fields = {name: value for name, value in sample.items() if isinstance(value, dict) and "_cls" in value}
        classes = {name: value for name, value in fields.items() if value["_cls"].startswith("Classification")}
        beside = classes.keys() - {TRUTH}
        if TRUTH not in classes:  # if the truth is null, a prediction is not a label either
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
        tags = [tag.lower() for tag in sample.get("tags") or []]
        yield {
            "uri": sample.get("filepath"),
            "label": [each.get("label") for each in many] if isinstance(many, list) and many else given.get("label"),
            "split": next((tag for tag in tags if tag in SPLITS), None),
            "confidence": given.get("confidence"),
            "annotator": sample.get("annotators"),
            **{name: sample.get(name) for name in ("status", "labeled_at", "history", ABSENT)},
        }


def _labels(content: Mapping[str, Any], data: Path) -> Iterator[Mapping[str, Any] | str]:
    """Image names have no extensions in this format; the files in the folder `data` have them."""
    names: list[str] | None = content.get("classes")
    files = {path.relative_to(data).with_suffix("").as_posix(): path for path in data.rglob("*") if path.is_file()}
    for key, target in content["labels"].items():
        label = target.get("label") if isinstance(target, dict) else target
        try:
            label = _named(label, names)
        except IndexError:
            yield "has a label that is not among the classes of the file"
            continue
        uri = files[key].relative_to(data).as_posix() if key in files else key
        yield {"uri": f"data/{uri}", "label": label}


def _named(label: Any, names: list[str] | None) -> Any:
    if isinstance(label, list):
        return [_named(each, names) for each in label]
    return names[label] if names and isinstance(label, int) else label
