"""What labels are brought along in: a file or folder is looked at, and read by the module of its format.

A source knows the folder that its image names are relative to. Rows come one at a time, so that memory does not grow
with the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from labeler.formats import coco, csv_table, cvat, json_lines, label_studio, parquet
from labeler.formats.folder_layout import FolderLabels
from labeler.formats.records import SPLITS, Chosen, Read
from shared.messages import ImportRow
from shared.settings import SettingsError

READERS: dict[str, Callable[[Path], Iterator[Read]]] = {
    ".csv": csv_table.read,
    ".tsv": csv_table.read,
    ".jsonl": json_lines.read,
    ".ndjson": json_lines.read,
    ".parquet": parquet.read,
    ".json": lambda path: _json(path),
    ".xml": cvat.read,
}
TABLES: dict[str, Callable[[Path, Chosen | None], Iterator[Read]]] = {
    ".csv": csv_table.read,
    ".tsv": csv_table.read,
    ".jsonl": json_lines.read,
    ".ndjson": json_lines.read,
    ".parquet": parquet.read,
}
"""Those whose columns may be named."""
METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")  # as Hugging Face `datasets` lays out an imagefolder


@dataclass(frozen=True, slots=True)
class Source:
    """Labels to read: `folder` is what their image names are relative to, `total` the rows, None if unknown.

    `told` is how it is read, in words; once the rows are read also what was left out of them.
    """

    folder: Path
    rows: Callable[[], Iterator[Read]]
    total: int | None
    told: Callable[[], list[str]] = list


def open_source(path: Path, columns: Chosen | None = None, layout: str = "") -> Source:
    """Labels in a file or folder; `columns` are those of a table, `layout` says what the folders in a folder are.

    Raises SettingsError for what cannot be read.
    """
    if columns is not None and path.suffix.lower() not in TABLES:
        raise SettingsError(f"{path} is no table, so that no columns of it can be named ({', '.join(sorted(TABLES))}).")
    if layout and not path.is_dir():
        raise SettingsError(f"{path} is no folder, so that it has no layout.")
    if path.is_dir():
        tables = [found for name in METADATA for found in (path / name, *sorted(path.glob(f"*/{name}")))]
        tables = [table for table in tables if table.is_file()]
        if tables and not layout:
            return Source(path, lambda: _imagefolder(path, tables), sum(_count(table) or 0 for table in tables))
        labels = FolderLabels(path, layout)
        if next(labels.rows(), None) is None:
            raise SettingsError(
                " ".join([f"{path} has no image in a class folder, and no metadata.jsonl.", *labels.told()])
            )
        return Source(path, labels.rows, None, labels.told)
    reader = READERS.get(path.suffix.lower())
    if reader is None or not path.is_file():
        kinds = ", ".join(sorted(READERS))
        raise SettingsError(f"{path} is no folder and no file that labels can be read from ({kinds}).")
    if reader is csv_table.read:
        table = csv_table.Table(path, columns)
        return Source(path.parent, table.rows, table.dialect.lines, table.told)
    if columns is not None:
        return Source(path.parent, lambda: TABLES[path.suffix.lower()](path, columns), _count(path))
    return Source(path.parent, lambda: reader(path), _count(path))


def _json(path: Path) -> Iterator[Read]:
    """Label Studio's is a list, COCO's an object."""
    with path.open("rb") as stream:
        start = stream.read(1_024).lstrip(b"\xef\xbb\xbf \t\r\n")
    return coco.read(path) if start[:1] == b"{" else label_studio.read(path)


def _imagefolder(folder: Path, tables: list[Path]) -> Iterator[Read]:
    """Rows of `datasets` folders: names are relative to the table's own folder, whose name may be a split."""
    for table in tables:
        prefix = table.parent.relative_to(folder).as_posix()
        split = SPLITS.get(prefix.lower())
        for row in READERS[table.suffix](table):
            if isinstance(row, ImportRow):
                uri = row.uri if prefix == "." else f"{prefix}/{row.uri}"
                yield row.model_copy(update={"uri": uri, "split": row.split or split})
            else:
                yield row


def _count(path: Path) -> int | None:
    """Rows, as far as that is quick to know."""
    if path.suffix.lower() == ".parquet":
        return parquet.count(path)
    if path.suffix.lower() in (".csv", ".tsv", ".jsonl", ".ndjson"):
        with path.open("rb") as stream:
            return sum(piece.count(b"\n") for piece in iter(lambda: stream.read(1 << 20), b""))
    return None
