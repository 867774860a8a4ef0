"""FiftyOne's dataset folders: FiftyOneDataset (`samples.json`) and those with a `labels.json`.

We write the first, as a zip: it has room for splits (tags) and for everything else known about an image (fields). Its
`metadata.json` names no version of FiftyOne's database, so that every FiftyOne reads it, like datasets from before 0.8.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labeler.transfer.files.archives import Pipe, write_answered, write_table
from labeler.transfer.files.spooled import spool
from labeler.transfer.files.whole_files import content_of
from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.imported import SPLITS
from shared.settings.services import SettingsError
from shared.storage.zip_writer import ZipWriter

TRUTH = "ground_truth"
PREDICTED = frozenset({"prediction", "predictions"})
Sample = Mapping[str, Any]
_BEGINS = re.compile(rb'\{\s*"(samples|classes|labels)"')


def write(
    rows: Iterator[ExportRow], extras: Extras, sample: Callable[[ExportRow, str], Sample], classes: Iterable[str]
) -> Iterator[bytes]:
    """Write answered images as they come, and the label files at the end; `classes` are asked for after the images."""
    pipe = Pipe()
    with spool() as samples:
        samples.write(b'{"samples": [')
        comma = b"\n"
        with ZipWriter(pipe) as archive:
            for row, name in write_answered(rows, extras, archive, lambda _: "data"):
                samples.write(comma + json.dumps(sample(row, name)).encode())
                comma = b",\n"
                yield pipe.drain()
            samples.write(b"\n]}\n")
            yield from write_table(archive, pipe, "samples.json", samples)
            about = {"media_type": "image", "info": {"classes": {TRUTH: [*classes]}}}
            archive.writestr(zipfile.ZipInfo("metadata.json"), json.dumps(about) + "\n")
        yield from pipe.rest()


def sample_of(
    row: ExportRow, name: str, extras: Extras, own: Collection[str], *, about: Any, truth: Any
) -> dict[str, Any]:
    """The image, with its split as a tag. What FiftyOne has its `own` name or type for is not repeated as a field."""
    known = {column: value for column, value in row.record(extras).items() if column not in own}
    return {"filepath": f"data/{name}", "tags": [row.split], "metadata": about, TRUTH: truth, **known}


def is_ours(path: Path) -> bool:
    """Whether a JSON file begins like one of FiftyOne's."""
    with path.open("rb") as stream:
        return bool(_BEGINS.match(stream.read(1_024).lstrip(b"\xef\xbb\xbf \t\r\n")))


def table_in(folder: Path) -> Path | None:
    """The file with the labels of a dataset folder; None if it is not a FiftyOne folder."""
    files = [folder / "samples.json", folder / "labels.json"]
    return next((path for path in files if (folder / "data").is_dir() and path.is_file() and is_ours(path)), None)


@contextmanager
def reading(path: Path) -> Iterator[Mapping[str, Any]]:
    """The content of a file. Raises SettingsError for another format, also if that shows only while it is read."""
    try:
        yield json.loads(content_of(path))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SettingsError(f"{path} is not FiftyOne's JSON: {type(error).__name__} {error}.") from None


def fields_of(sample: Sample) -> dict[str, Mapping[str, Any]]:
    """The fields of a sample that have a type."""
    return {name: value for name, value in sample.items() if isinstance(value, dict) and "_cls" in value}


def parts_of(sample: Sample) -> dict[str, Any]:
    """What a sample says of its image: path, split as a tag, and annotators."""
    tags = [tag.lower() for tag in sample.get("tags") or []]
    split = next((tag for tag in tags if tag in SPLITS), None)
    return {"uri": sample.get("filepath"), "split": split, "annotator": sample.get("annotators")}


def labels_of(content: Mapping[str, Any], table: Path) -> Iterator[tuple[str, Any]]:
    """(path of an image, its label) of a `labels.json`.

    Image names have no extensions in this format; the files in the folder `data` have them.
    """
    data = table.parent / "data"
    files = {path.relative_to(data).with_suffix("").as_posix(): path for path in data.rglob("*") if path.is_file()}
    for key, label in content["labels"].items():
        yield f"data/{files[key].relative_to(data).as_posix() if key in files else key}", label
