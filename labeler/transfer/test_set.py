"""A labeled test set given by the user: a folder per class, or a CSV with columns filename,label.

In a detection project, it is a file or folder with boxes, as imports read it.

Its images are added as test images with their labels, so no test images need to be asked. They are scanned before the
image folder: a photo in both is a test image and is never used for training.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labeler.images.catalog import Catalog
from labeler.images.file_registry import Root
from labeler.images.scanner import Scanner
from labeler.labeling.classes import Classes
from labeler.store.annotation_log import AnnotationLog, Draft
from labeler.store.database import Store
from labeler.transfer.boxes.opening import open_boxes
from labeler.transfer.formats.csv_table import Table
from labeler.transfer.formats.folder_layout import FolderLabels
from labeler.transfer.rows.box_places import placed
from labeler.transfer.rows.imported import Chosen, Read
from shared.class_names import key
from shared.figures import many
from shared.images.finding import find_images, locate
from shared.images.names import NamesInList
from shared.images.opening import ImageProblem
from shared.log import IMPORT
from shared.settings.services import SettingsError
from shared.storage.file_errors import cause_of
from shared.tasks.classification import CLASSIFICATION
from shared.tasks.task import AnswerRefusedError, Task, Value
from shared.wire.imports import ImportIssue, ImportRow, NamedAnswer, NamedBoxes, NamedClasses

logger = logging.getLogger(__name__)
_CHUNK = 1_000
Label = str | NamedAnswer
"""A class name; in a multi-label project, the yes and no classes; in a detection project, the boxes."""


@dataclass(frozen=True, slots=True)
class TestSet:
    """`folder` becomes the root `test`; `table` is the given CSV, if any."""

    __test__ = False  # not a test class

    folder: Path
    table: Path | None
    boxes: Path | None = None  # in a detection project: the file or folder with boxes

    def labels(self, images: Path | None, *, several: bool = False) -> dict[tuple[Root, str], Label]:
        """The label of each file. Names in a file are looked up in the image folder, then beside the file; those in a
        folder of boxes first in that folder.

        Raises SettingsError if the set cannot be read.
        """
        if self.boxes is not None:
            return _located(_boxes(self.boxes), _Folders(images, self.folder, beside_first=self.boxes.is_dir()))
        if self.table is None:
            given: dict[tuple[Root, str], Label] = {}
            for row in _in_folders(self.folder):
                if row.label is not None:
                    given["test", row.uri] = NamedClasses(yes=(row.label,)) if several else row.label
            return given
        folders = _Folders(images, self.folder)
        rows = [*_rows(self.table, several=several)]
        every = tuple(dict.fromkeys(name for _, label in rows for name in _named(label))) if several else ()
        return _located(((filename, _whole(label, every)) for filename, label in rows), folders)


def _located(rows: Iterable[tuple[str, Label]], folders: _Folders) -> dict[tuple[Root, str], Label]:
    """The label of each file, by the names in a table."""
    labels = {folders.find(filename): label for filename, label in rows}
    for difference, pairs in folders.matched.items():
        logger.warning(
            "Test set: %s matched by ignoring %s: %s is %s.", many(len(pairs), "name"), difference, *pairs[0]
        )
    return labels


def open_test_set(given: str, task: Task = CLASSIFICATION) -> TestSet:
    """Open the test set at a path.

    Raises SettingsError if it is neither a folder with images nor a CSV with rows, or has no boxes where it needs them.
    """
    path, several = Path(given).expanduser(), task.by_class
    if task.by_box:
        if next(_boxes(path), None) is None:
            raise SettingsError(f"The labeler setting 'test_set' cannot be {given!r}: no image in it has boxes.")
        return TestSet(path if path.is_dir() else path.parent, None, path)
    if path.is_dir():
        if next(_in_folders(path), None) is None:
            raise SettingsError(
                f"The labeler setting 'test_set' cannot be {given!r}: put its photos into one folder per class, such "
                f"as {path / 'shirt' / '1.jpg'}, or name a CSV with the columns filename,label."
            )
        return TestSet(path, None)
    if path.suffix.lower() != ".csv" or not path.is_file():
        raise SettingsError(
            f"The labeler setting 'test_set' cannot be {given!r}: it is neither a folder nor a CSV file."
        )
    if next(_rows(path, several=several), None) is None:
        raise SettingsError(f"The labeler setting 'test_set' cannot be {given!r}: the file has no row.")
    return TestSet(path.parent, path)


def import_test_set(
    test_set: TestSet,
    images: Path | None,
    store: Store,
    log: AnnotationLog,
    classes: Classes,
    catalog: Catalog,
    scanner: Scanner,
) -> None:
    """Scan the set and write its labels to the log; existing answers are kept."""
    task = log.fold.task
    if images is not None and not images.is_dir():  # an archive: the set names files in folders
        images = None
    labels = test_set.labels(images, several=task.by_class)
    classes.begin_with(dict.fromkeys(name for label in labels.values() for name in _named(label, task)))
    for root in ("images", "test"):
        uris = [uri for each, uri in labels if each == root]
        if uris:
            scanner.scan(root, uris, split="test")
        for start in range(0, len(uris), _CHUNK):
            image_of = catalog.files.images_of(root, uris[start : start + _CHUNK])
            catalog.move(image_of.values(), "test")
            with store.lock:
                named = {image_id: labels[root, uri] for uri, image_id in reversed(image_of.items())}
                values = _values(named, catalog, log)
                log.append(
                    [
                        Draft(action="label", image_id=image_id, annotator=IMPORT, source=IMPORT, **task.to_row(value))
                        for image_id in named
                        if (value := values[image_id]) is not None and log.fold.state(image_id).status == "unlabeled"
                    ]
                )


def _in_folders(folder: Path) -> Iterator[ImportRow]:
    """Images in class folders; if there are splits, only those of the test split."""
    rows = (row for row in FolderLabels(folder).rows() if isinstance(row, ImportRow))
    return (row for row in rows if row.split in (None, "test"))


def _named(label: Label, task: Task | None = None) -> Collection[str]:
    """The classes that a label names."""
    if isinstance(label, NamedBoxes):
        return dict.fromkeys(label.names)
    if isinstance(label, NamedClasses):
        return (*label.yes, *label.no)
    return (label,) if task is None else task.class_names(label)


def _whole(label: Label, every: Sequence[str]) -> Label:
    """The label, completed with a no to the other classes of the table where it means that."""
    if not isinstance(label, NamedClasses) or not label.rest:
        return label
    yes = set(map(key, label.yes))
    return NamedClasses(yes=label.yes, no=tuple(name for name in every if key(name) not in yes))


def _values(named: Mapping[int, Label], catalog: Catalog, log: AnnotationLog) -> dict[int, Value | None]:
    """The value of each image's label. None, with a warning, for boxes that do not fit the image."""
    task, read, by_label = log.fold.task, log.fold.named, dict[Label, Value | None]()
    boxed = [image_id for image_id, label in named.items() if isinstance(label, NamedBoxes)]
    sizes = catalog.shapes(boxed) if boxed else {}
    found: dict[int, Value | None] = {}
    for image_id, label in named.items():
        if isinstance(label, NamedBoxes):
            try:
                boxes, notes = placed(label, sizes[image_id])
                found[image_id] = task.read_answer(boxes, read)
            except AnswerRefusedError as problem:
                found[image_id], notes = None, [f"{problem}; its boxes are left out"]
            for note in notes:
                logger.warning("Test set: image %d %s.", image_id, note)
            continue
        if label not in by_label:
            by_label[label] = task.read(label, read) if isinstance(label, str) else task.read_answer(label, read)
        found[image_id] = by_label[label]
    return found


def _boxes(path: Path) -> Iterator[tuple[str, Label]]:
    return _labeled(path, lambda: open_boxes(path).rows())


def _rows(table: Path, *, several: bool = False) -> Iterator[tuple[str, Label]]:
    return _labeled(table, lambda: Table(table, Chosen(several=several)).rows())


def _labeled(path: Path, read: Callable[[], Iterator[Read]]) -> Iterator[tuple[str, Label]]:
    """File and label of each labeled row. Raises SettingsError if they cannot be read."""
    try:
        for row in read():
            if isinstance(row, ImportRow) and row.given is not None:
                yield row.uri, row.given
            elif isinstance(row, ImportIssue):
                logger.warning("The test set %s, %s.", path, row)
    except (OSError, csv.Error) as error:
        raise SettingsError(f"The test set {path} cannot be read: {cause_of(error)}.") from None


class _Folders:
    """Finds the files of a table in the image folder or beside the table, even by inexact names."""

    def __init__(self, images: Path | None, beside: Path, *, beside_first: bool = False) -> None:
        """`beside_first`: the test set is a folder, so that names mean its own photos first."""
        folders: dict[Root, Path] = {"images": images} if images is not None else {}
        self._folders: dict[Root, Path] = {"test": beside, **folders} if beside_first else {**folders, "test": beside}
        self._listed: dict[Root, list[str]] = {}
        self._names: dict[Root, NamesInList] = {}
        self.matched: dict[str, list[tuple[str, str]]] = {}  # by difference: (name, file)

    def find(self, name: str) -> tuple[Root, str]:
        """The root and file that a name means."""
        for root, folder in self._folders.items():
            if _is_in(folder, name):
                return root, name
        for root, folder in self._folders.items():
            if root not in self._names:
                self._listed[root] = list(find_images(folder))
                self._names[root] = NamesInList(self._listed[root])
            difference, places = self._names[root].find(name)
            files = [self._listed[root][place] for place in places]
            if len(files) == 1:
                self.matched.setdefault(difference or "", []).append((name, files[0]))
                return root, files[0]
            if files:
                logger.warning("In the test set, %s may mean %s: include its folder.", name, ", ".join(files[:3]))
        return "test", name


def _is_in(folder: Path, uri: str) -> bool:
    try:
        locate(uri, folder)
    except ImageProblem:
        return False
    return True
