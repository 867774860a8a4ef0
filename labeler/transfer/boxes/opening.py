"""Finds the module that reads a file or folder with boxes, as `labeler.transfer.sources` does for classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from labeler.transfer.boxes import coco, csv_table, cvat, fiftyone, label_studio, tables, voc, yolo
from labeler.transfer.files.fiftyone import table_in
from labeler.transfer.files.layouts import METADATA, files_called, json_format, placed
from labeler.transfer.files.parquet import shards as shards_in
from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.imported import Chosen, Read
from labeler.transfer.rows.left_out import LeftOut
from shared.settings.services import SettingsError
from shared.wire.imports import ImportRow

Reader = Callable[[Path, Chosen | None, LeftOut], Iterator[Read]]
_JSON: Mapping[str, Reader] = {
    "coco": coco.read,
    "fiftyone": fiftyone.read,
    "label_studio": label_studio.read,
}
READERS: Mapping[str, Reader] = {
    ".csv": csv_table.read,
    ".tsv": csv_table.read,
    ".jsonl": tables.read_lines,
    ".ndjson": tables.read_lines,
    ".parquet": tables.read_parquet,
    ".json": lambda path, chosen, left: _JSON[json_format(path)](path, chosen, left),
    ".xml": lambda path, chosen, left: (voc.read if voc.is_ours(path) else cvat.read)(path, chosen, left),
    ".yaml": yolo.read,
    ".yml": yolo.read,
}
COCO_FILES = ("annotations.json", coco.IN_FOLDER, "labels.json")


@dataclass(frozen=True, slots=True)
class BoxFormat:
    """How a format is written, and the suffix of its file. `write` gets the classes in the project's order."""

    write: Callable[[Iterator[ExportRow], Extras, Sequence[str]], Iterator[bytes]]
    media_type: str
    suffix: str


FORMATS: dict[str, BoxFormat] = {
    "csv": BoxFormat(csv_table.write, "text/csv; charset=utf-8", "csv"),
    "jsonl": BoxFormat(tables.write_lines, "application/x-ndjson", "jsonl"),
    "parquet": BoxFormat(tables.write_parquet, "application/vnd.apache.parquet", "parquet"),
    "yolo": BoxFormat(yolo.write, "application/zip", "zip"),
    "voc": BoxFormat(voc.write, "application/zip", "zip"),
    "datasets": BoxFormat(tables.write_datasets, "application/zip", "zip"),
    "coco": BoxFormat(coco.write, "application/json", "json"),
    "fiftyone": BoxFormat(fiftyone.write, "application/zip", "zip"),
    "cvat": BoxFormat(cvat.write, "application/xml", "xml"),
    "label_studio": BoxFormat(label_studio.write, "application/json", "json"),
}


@dataclass(frozen=True, slots=True)
class Opened:
    """The opened labels: the folder to which image names are relative, the rows, and sentences for the user."""

    folder: Path
    rows: Callable[[], Iterator[Read]]
    told: Callable[[], list[str]]


def open_boxes(path: Path, chosen: Chosen | None = None) -> Opened:
    """Open the boxes in a file or folder. Raises SettingsError if they cannot be read."""
    left = LeftOut()
    if path.is_dir():
        read = _in_folder(path, chosen)
    elif path.is_file() and path.suffix.lower() in (".csv", ".tsv"):
        table = csv_table.BoxTable(path, chosen, left)
        return Opened(path.parent, partial(_again, left, table.rows), table.told)
    elif path.is_file() and path.suffix.lower() in READERS:
        read = partial(READERS[path.suffix.lower()], path, chosen)
    elif not path.exists():
        raise SettingsError(f"There is no file or folder {path}.")
    else:
        kinds = ", ".join(sorted(READERS))
        raise SettingsError(f"{path} is neither a folder nor a file that boxes can be read from ({kinds}).")
    return Opened(path if path.is_dir() else path.parent, partial(_again, left, partial(read, left)), left.told)


def _again(left: LeftOut, read: Callable[[], Iterator[Read]]) -> Iterator[Read]:
    left.clear()
    yield from read()


def _in_folder(path: Path, chosen: Chosen | None) -> Callable[[LeftOut], Iterator[Read]]:
    metadata = files_called(path, METADATA)
    if metadata:
        return partial(_in_files, path, metadata, chosen)
    samples = table_in(path)
    if samples is not None:
        return partial(fiftyone.read, samples, chosen)
    if yolo.is_folder(path):
        return partial(yolo.read, path, chosen)
    coco_files = files_called(path, COCO_FILES) or sorted(path.glob("annotations/instances_*.json"))
    if coco_files:
        return partial(_in_files, path, coco_files, chosen)
    if any(map(voc.is_ours, voc.files_in(path)[:1])):
        return partial(voc.read, path, chosen)
    shards = shards_in(path)
    if shards:
        return partial(_in_files, path, shards, chosen)
    raise SettingsError(
        f"{path} has no boxes that can be read: name a file, or a folder of YOLO (data.yaml with labels), Pascal VOC "
        "(Annotations), COCO (annotations.json), FiftyOne (samples.json) or datasets (metadata.jsonl)."
    )


def _in_files(folder: Path, files: Sequence[Path], chosen: Chosen | None, left: LeftOut) -> Iterator[Read]:
    """Rows of several files of one dataset. Image names are relative to the folder of their file, which may be named
    after a split, or to the dataset's folder.
    """
    for file, prefix, split in placed(folder, files):
        for row in READERS[file.suffix.lower()](file, chosen, left):
            if isinstance(row, ImportRow):
                beside = prefix != "." and (file.parent / row.uri).is_file()
                uri = f"{prefix}/{row.uri}" if beside else row.uri
                yield row.model_copy(update={"uri": uri, "split": row.split or split})
            elif len(files) > 1:
                yield row.model_copy(update={"reason": f"{row.reason} (in {file.relative_to(folder)})"})
            else:
                yield row
