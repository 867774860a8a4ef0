"""Opens files and folders of labels, and finds the module that reads each format.

A source knows the folder to which its image names are relative. Rows come one at a time, so memory does not grow with
the file.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard

from labeler.transfer.boxes.opening import open_boxes
from labeler.transfer.files.fiftyone import table_in
from labeler.transfer.files.layouts import METADATA, dataset_below, files_called, json_format, placed
from labeler.transfer.files.parquet import count, is_shard
from labeler.transfer.files.parquet import shards as shards_in
from labeler.transfer.formats import coco, csv_table, cvat, fiftyone, json_lines, label_studio, parquet
from labeler.transfer.formats.folder_layout import FolderLabels
from labeler.transfer.rows.imported import BOX_PARTS, Chosen, Read
from labeler.transfer.rows.left_out import LeftOut
from labeler.transfer.rows.several import Vocabulary
from shared.importing import one_sentence
from shared.settings.services import SettingsError
from shared.tasks.classification import CLASSIFICATION
from shared.tasks.registry import task_named
from shared.wire.imports import ImportIssue, ImportRow, NamedClasses

Reader = Callable[[Path, Chosen | None, LeftOut | None], Iterator[Read]]
READERS: dict[str, Reader] = {
    ".csv": csv_table.read,
    ".tsv": csv_table.read,
    ".jsonl": json_lines.read,
    ".ndjson": json_lines.read,
    ".parquet": parquet.read,
    ".json": lambda path, chosen, left: _JSON[json_format(path)](path, chosen, left),
    ".xml": cvat.read,
}
_JSON: dict[str, Reader] = {
    "coco": coco.read,
    "fiftyone": fiftyone.read,
    "label_studio": label_studio.read,
}
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
"""Formats whose columns may be named."""


@dataclass(frozen=True, slots=True)
class Source:
    """Labels to read. Image names are relative to `folder`. `total`: number of rows, None if unknown.

    `told` returns sentences on how it is read, and after reading also on what was skipped. `located` adds the file name
    and line to an issue.
    """

    folder: Path
    rows: Callable[[], Iterator[Read]]
    total: int | None
    told: Callable[[], list[str]] = list
    located: Callable[[ImportIssue], ImportIssue] = lambda issue: issue
    noun: str = "label"  # what it has
    vocabulary: Callable[[], tuple[str, ...]] = tuple  # multi-label: the classes named anywhere; reads all rows once

    def without_label(self, name: str) -> str:
        """The message that there are no labels, with what was skipped."""
        return one_sentence(f"{name} has no {self.noun} that can be imported", *self.told())


def open_source(
    path: Path, columns: Chosen | None = None, layout: str = "", *, task: str = CLASSIFICATION.name
) -> Source:
    """Open the labels in a file or folder. `columns` are those of a table; `layout` gives the meaning of folder levels.

    `task` is the project's: only multilabel takes several classes per image, and only detection takes boxes. Raises
    SettingsError if the labels cannot be read.
    """
    if task_named(task).by_box:
        return _boxed(path, columns, layout)
    if columns is not None and (columns.empty or columns.columns.keys() & {*BOX_PARTS}):
        raise SettingsError("Only a detection project has boxes: leave out their columns, and empty=…")
    if columns is not None and path.suffix.lower() not in TABLES:
        raise SettingsError(f"{path} is not a table, so its columns cannot be named ({', '.join(sorted(TABLES))}).")
    if layout and not path.is_dir():
        raise SettingsError(f"{path} is not a folder, so it has no layout.")
    if task_named(task).by_class:
        columns = replace(columns or Chosen(), several=True)
        return in_multilabel(_opened(path, columns, layout))
    return _opened(path, columns, layout)


def _boxed(path: Path, columns: Chosen | None, layout: str) -> Source:
    """The boxes in a file or folder, in a detection project."""
    if layout:
        raise SettingsError(
            "A folder of boxes has no layout: its format says where the boxes are. Leave out the layout."
        )
    if columns is not None and columns.columns and path.suffix.lower() not in TABLES:
        raise SettingsError(f"{path} is not a table, so its columns cannot be named ({', '.join(sorted(TABLES))}).")
    found = open_boxes(path, columns)
    return Source(found.folder, found.rows, None, found.told, noun="boxes")


def in_multilabel(source: Source) -> Source:
    """The source with its vocabulary, and with a sentence on what its lists mean."""
    vocabulary = Vocabulary(source.rows)
    return replace(source, vocabulary=vocabulary, told=lambda: [*source.told(), *vocabulary.told()])


def _opened(path: Path, columns: Chosen | None, layout: str) -> Source:
    if path.is_dir():
        tables = files_called(path, METADATA)
        if tables and not layout:
            return _counted(
                path, partial(_imagefolder, path, tables, columns), sum(_count(table) or 0 for table in tables)
            )
        labels_of_fiftyone = table_in(path)
        if labels_of_fiftyone is not None and not layout:
            read = partial(fiftyone.read, labels_of_fiftyone, columns)
            return _counted(path, read, None)
        other = dataset_below(path) if not layout else None
        if other is not None:
            inside, file = other
            raise SettingsError(
                f"{inside} is a dataset of its own ({file}), and not a folder of a class: import it by itself, or "
                "give the layout class to read every folder as a class."
            )
        shards = shards_in(path) if not layout else []
        named = [shard for shard in shards if is_shard(shard)]
        labels = FolderLabels(path, layout)
        if named or (shards and next(labels.rows(), None) is None):
            shards = named or shards
            return _counted(path, partial(_shards, shards, columns), sum(map(count, shards)))
        if next(labels.rows(), None) is None:
            raise SettingsError(" ".join([labels.needed(), *labels.told()]))
        if columns is not None and columns.several:
            alone = "a folder is a yes to its class, and says nothing about the others"
            return Source(path, partial(_of_folders, labels), None, lambda: [*labels.told(), alone])
        return Source(path, labels.rows, None, labels.told)
    if not path.exists():
        raise SettingsError(f"There is no file or folder {path}.")
    reader = READERS.get(path.suffix.lower())
    if reader is None or not path.is_file():
        kinds = ", ".join(sorted(READERS))
        raise SettingsError(f"{path} is neither a folder nor a file that labels can be read from ({kinds}).")
    if reader is csv_table.read:
        left = LeftOut()
        table = csv_table.Table(path, columns, left)
        return replace(_counted(path.parent, lambda **_: table.rows(), table.dialect.lines, left), told=table.told)
    return _counted(path.parent, partial(reader, path, columns), _count(path))


def _of_folders(labels: FolderLabels) -> Iterator[Read]:
    """Rows in a multi-label project: a folder is a yes to its class and leaves the others unknown."""
    for row in labels.rows():
        if isinstance(row, ImportRow) and row.label is not None:
            yield row.model_copy(update={"label": None, "answer": NamedClasses(yes=(row.label,))})
        else:
            yield row


def open_sources(
    paths: Sequence[Path], columns: Chosen | None = None, layout: str = "", *, task: str = CLASSIFICATION.name
) -> Source:
    """The labels of several files and folders as one source. Raises SettingsError if one cannot be read."""
    if not paths:
        raise SettingsError("Name a file or folder of labels.")
    if len(paths) == 1:
        return open_source(paths[0], columns, layout, task=task)
    named = [(str(path), open_source(path, columns, layout, task=task)) for path in paths]
    totals = [source.total for _, source in named]
    together = _Together(named)
    source = Source(
        named[0][1].folder,
        together.rows,
        None if None in totals else sum(filter(None, totals)),
        lambda: [f"{name}: {said}" for name, source in named for said in source.told()],
        together.located,
    )
    return in_multilabel(source) if task_named(task).by_class else source


class _Together:
    """Several sources, one after another. Line numbers continue from one to the next, so that issues can be located."""

    def __init__(self, named: Sequence[tuple[str, Source]]) -> None:
        self._named = named
        self._starts: list[int] = []  # offset of each source's lines

    def rows(self) -> Iterator[Read]:
        self._starts, start = [], 0
        for _, source in self._named:
            self._starts.append(start)
            last = 0
            for row in source.rows():
                last = max(last, row.line)
                changed: dict[str, Any] = {"line": start + row.line}
                path = os.path.join(source.folder, row.uri)  # noqa: PTH118 - a million times
                if isinstance(row, ImportRow) and os.path.isfile(path):  # noqa: PTH113
                    changed["uri"] = os.path.abspath(path)  # noqa: PTH100
                yield row.model_copy(update=changed)
            start += last + 1  # an issue of a whole file has line 0

    def located(self, issue: ImportIssue) -> ImportIssue:
        """The issue with the line number and name of its own file."""
        at = bisect_right(self._starts, issue.line) - 1
        name, line = self._named[at][0], issue.line - self._starts[at]
        return issue.model_copy(update={"line": line, "reason": f"{issue.reason} (in {name})"})


def _counted(
    folder: Path, read: Callable[..., Iterator[Read]], total: int | None, left: LeftOut | None = None
) -> Source:
    """A source whose reader counts the rows that it skips."""
    left = LeftOut() if left is None else left

    def rows() -> Iterator[Read]:
        left.clear()  # when reading begins: the file may be read once more meanwhile, for its vocabulary
        yield from read(left=left)

    return Source(folder, rows, total, left.told)


def _shards(paths: list[Path], chosen: Chosen | None, left: LeftOut) -> Iterator[Read]:
    """Rows of several files of one dataset. Issues name their file, because each file counts its lines from 1."""
    for path in paths:
        for row in parquet.read(path, chosen, left):
            yield row.model_copy(update={"reason": f"{row.reason} (in {path.name})"}) if _is_issue(row) else row


def _is_issue(row: Read) -> TypeGuard[ImportIssue]:
    return isinstance(row, ImportIssue)


def _imagefolder(folder: Path, tables: list[Path], chosen: Chosen | None, left: LeftOut) -> Iterator[Read]:
    """Rows of `datasets` folders: names are relative to the table's folder, whose name may be a split."""
    for table, prefix, split in placed(folder, tables):
        for row in READERS[table.suffix.lower()](table, chosen, left):
            if isinstance(row, ImportRow):
                uri = row.uri if prefix == "." else f"{prefix}/{row.uri}"
                yield row.model_copy(update={"uri": uri, "split": row.split or split})
            else:
                yield row


def _count(path: Path) -> int | None:
    """The number of rows, if it can be found quickly."""
    if path.suffix.lower() == ".parquet":
        return count(path)
    if path.suffix.lower() in (".csv", ".tsv", ".jsonl", ".ndjson"):
        with path.open("rb") as stream:
            return sum(piece.count(b"\n") for piece in iter(lambda: stream.read(1 << 20), b""))
    return None
