"""Ultralytics YOLO's detection datasets: `data.yaml`, `images/train/1.jpg`, and `labels/train/1.txt` with one line per
box.

A line is `class cx cy w h`: the class by its number in `data.yaml`, and centre, width and height as shares of the
image's. YOLO turns images upright by EXIF, as Flywheel does. An empty text file means that nothing is in the image; an
image without a text file is not labeled. A line with more numbers is an outline (segmentation) or a rotated box: its
bounding box is read.

Classes come from `names` of a YAML file, or from `classes.txt` or `obj.names` with one class per line, as labelImg,
Label Studio, CVAT and Darknet write them.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import yaml

from labeler.errors import Problem
from labeler.transfer.files.archives import LEFT_OUT, Pipe, file_name, write_left_out
from labeler.transfer.files.whole_files import content_of
from labeler.transfer.formats.yolo import SPLITS as FOLDERS
from labeler.transfer.formats.yolo import ending
from labeler.transfer.rows.boxed_rows import told_boxes
from labeler.transfer.rows.boxes import BoxRow
from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.imported import SPLITS, Chosen, Read
from labeler.transfer.rows.left_out import LeftOut
from shared.images.finding import is_image_file
from shared.settings.services import SettingsError
from shared.storage.zip_writer import ZipWriter
from shared.wire.imports import NamedBoxes

IMAGES, LABELS = "images", "labels"
"""A folder with images, and the matching folder with their boxes."""
_LISTS = ("classes.txt", "obj.names")
_NOT_LABELS = frozenset({*_LISTS, LEFT_OUT, "readme.txt", "README.roboflow.txt", "README.dataset.txt"})
_LARGEST = 1 << 20  # maximum bytes of the YAML file, and of one text file
_MOST_CLASSES = 100_000


def write(rows: Iterator[ExportRow], extras: Extras, classes: Sequence[str]) -> Iterator[bytes]:
    """Write labeled images uncompressed, each with its text file. Classes are numbered as in the project. A class
    that is added or renamed during the export comes last.

    YOLO needs images to train and to validate: a project without validation images names its test images, else its
    train images, as `val`.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    pipe, used, left_out = Pipe(), set[str](), list[str]()
    with ZipWriter(pipe) as archive:
        for row in rows:
            if row.boxes is None or not row.width or not row.height:
                continue
            try:
                data = row.read()
                name = file_name(row.id, row.uri + ending(row.uri, data))
            except Problem as problem:
                left_out.append(f"{row.uri}: {problem.detail}")
                continue
            split = FOLDERS[row.split]
            used.add(split)
            archive.writestr(zipfile.ZipInfo(f"images/{split}/{name}"), data)
            text = PurePosixPath(name).with_suffix(".txt")
            archive.writestr(zipfile.ZipInfo(f"labels/{split}/{text}"), _lines(row, numbers))
            yield pipe.drain()
        folders = {split: f"images/{split}" for split in FOLDERS.values() if split in used}
        first = next((folders[split] for split in ("val", "test", "train") if split in folders), "images/val")
        known = {"train": "images/train", "val": first} | folders
        about = {**known, "nc": len(numbers), "names": dict(enumerate(numbers))}
        archive.writestr(zipfile.ZipInfo("data.yaml"), yaml.safe_dump(about, sort_keys=False, allow_unicode=True))
        write_left_out(archive, left_out)
    yield from pipe.rest()


def _lines(row: ExportRow, numbers: dict[str, int]) -> str:
    lines = [
        f"{numbers.setdefault(box.label, len(numbers))} "
        f"{(box.x + box.w / 2) / row.width:.8f} {(box.y + box.h / 2) / row.height:.8f} "
        f"{box.w / row.width:.8f} {box.h / row.height:.8f}\n"
        for box in row.boxes or ()
    ]
    return "".join(lines)


def is_folder(path: Path) -> bool:
    """Whether a folder is such a dataset: it names its classes, and has a text file for an image."""
    return _about(path) is not None and next(_Files(path).texts(), None) is not None


def read(path: Path, chosen: Chosen | None, left: LeftOut) -> Iterator[Read]:
    """Rows of the folder, or of the folder of a YAML file; `line` counts text files. Raises SettingsError."""
    folder = path.parent if path.is_file() else path
    about = _yaml(path) if path.is_file() else _about(folder)
    if about is None:
        raise SettingsError(
            f"{path} does not say the names of its classes: data.yaml with `names`, or classes.txt, is needed."
        )
    files, taken, number = _Files(folder), set[str](), 0
    for number, text in enumerate(files.texts(), start=1):
        image = files.image_of(text)
        if image is None:
            left.add("text file", "without an image beside it or in the folder `images`", number)
            continue
        uri = image.relative_to(folder).as_posix()
        taken.add(uri)
        parts = {"uri": uri, "split": about.split_of(uri)}
        yield from told_boxes(number, parts, partial(_boxes, text, about.names, number, left))
    if number == 0:
        raise SettingsError(f"{path} has no text file with boxes: they are in `labels`, as `images` has the images.")
    empty = chosen is not None and chosen.empty
    for uri in files.images():
        if uri not in taken and empty:
            number += 1
            yield from told_boxes(number, {"uri": uri, "split": about.split_of(uri)}, lambda: NamedBoxes(boxes=()))
        elif uri not in taken:
            left.add("image", "without a text file, which may be unlabeled (empty=nothing: nothing is in it)", 0)


@dataclass(frozen=True)
class _About:
    """The dataset's description: its classes by number, and the folder of each split."""

    names: Mapping[int, str]
    folders: Sequence[tuple[str, str]] = ()

    def split_of(self, uri: str) -> str | None:
        """The split of an image: the one whose folder contains it, else the one named by a folder in its path.

        One folder may serve several splits, because YOLO requires `val`. Then the folder's name decides.
        """
        inside = list(dict.fromkeys(split for folder, split in self.folders if f"/{folder}/" in f"/{uri}"))
        called = next((part for part in PurePosixPath(uri).parent.parts if part.lower() in SPLITS), None)
        return called if not inside or (len(inside) > 1 and called) else inside[0]


def _boxes(text: Path, names: Mapping[int, str], number: int, left: LeftOut) -> NamedBoxes:
    row = BoxRow("share")
    for line in content_of(text, _LARGEST).decode("utf-8-sig", "replace").splitlines():
        cells = line.split()
        if not cells:
            continue
        label = names.get(int(cells[0])) if cells[0].isascii() and cells[0].isdigit() else None
        if label is None:
            row.refuse("", f"has the class {cells[0][:40]}, which has no name in the dataset")
        elif len(cells) in (5, 6):  # the sixth is a score
            row.centred(label, *cells[1:5])
        elif len(cells) < 5:
            row.refuse(label, f"has {len(cells)} numbers where class, centre, width and height are needed")
        else:
            row.around(label, cells[1:])
            left.add("outline", "as the box around it", number, what="read")
    return row.answer()


class _Files:
    """The files of a dataset folder. It caches the names of one folder, whose files are read one after another."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listed: Path | None = None
        self._stems: dict[str, list[str]] = {}

    def texts(self) -> Iterator[Path]:
        """The text files with boxes: those in `labels` folders, or those beside images if there is no such folder."""
        every = [
            each for each in sorted(self._folder.rglob("*.txt")) if each.name not in _NOT_LABELS and each.is_file()
        ]
        inside = [each for each in every if LABELS in each.relative_to(self._folder).parts[:-1]]
        yield from inside or (each for each in every if self.image_of(each) is not None)

    def images(self) -> Iterator[str]:
        """The images in `images` folders."""
        for each in sorted(self._folder.rglob("*")):
            uri = each.relative_to(self._folder)
            if IMAGES in uri.parts[:-1] and is_image_file(each) and each.is_file():
                yield uri.as_posix()

    def image_of(self, text: Path) -> Path | None:
        """The image with the same name: in the folder `images` instead of `labels`, or beside the text file."""
        parts = text.relative_to(self._folder).parts
        places = [text.parent]
        if LABELS in parts[:-1]:
            at = len(parts) - 1 - parts[::-1].index(LABELS)
            places.insert(0, self._folder.joinpath(*parts[:at], IMAGES, *parts[at + 1 : -1]))
        beside = ((place, name) for place in places for name in self._names(place, text.stem))
        return next((place / name for place, name in beside if is_image_file(place / name)), None)

    def _names(self, folder: Path, stem: str) -> list[str]:
        """Files in the folder with this stem, other than text files."""
        if self._listed != folder:
            self._listed, self._stems = folder, {}
            for name in sorted(os.listdir(folder)) if folder.is_dir() else ():  # noqa: PTH208 - a million times
                root, suffix = os.path.splitext(name)  # noqa: PTH122 - a million times
                if suffix.lower() != ".txt":
                    self._stems.setdefault(root, []).append(name)
        return self._stems.get(stem, [])


def _about(folder: Path) -> _About | None:
    for path in sorted(folder.glob("*.y*ml")):
        if (found := _yaml(path)) is not None:
            return found
    for name in _LISTS:
        if (folder / name).is_file():
            lines = content_of(folder / name, _LARGEST).decode("utf-8-sig", "replace").splitlines()
            return _About({number: line.strip() for number, line in enumerate(lines) if line.strip()})
    return None


def _yaml(path: Path) -> _About | None:
    """Read a YAML file: `names` is a list, or maps number to name. Raises SettingsError if it is not YAML."""
    try:
        said = yaml.safe_load(content_of(path, _LARGEST))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingsError(f"{path} is not YAML: {str(error).splitlines()[0]}.") from None
    names = said.get("names") if isinstance(said, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or len(names) > _MOST_CLASSES:
        return None
    known = {int(number): str(name) for number, name in names.items() if _is_name(number, name)}
    if not known:
        return None
    places = [(split, said.get(split)) for split in ("train", "val", "test")]
    told = [(place, split) for split, some in places for place in (some if isinstance(some, list) else [some])]
    folders = [("/".join(_inside(place)), split) for place, split in told if isinstance(place, str)]
    return _About(known, [(folder, split) for folder, split in folders if folder])


def _inside(place: str) -> list[str]:
    return [part for part in PurePosixPath(place.replace("\\", "/")).parts if part not in ("..", ".", "/")]


def _is_name(number: object, name: object) -> bool:
    return isinstance(name, str | int | float) and str(number).isascii() and str(number).isdigit()
