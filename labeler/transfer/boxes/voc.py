"""Pascal VOC: an XML file per image, with its name, its size, and `object`s with a name and a `bndbox`.

VOC itself counts whole pixels from 1, with both corners inside: 1 to 500 is the full width of 500 pixels. Most tools
count from 0 instead. The dataset reveals which: if all of its corners are whole numbers without a decimal point, and
none is 0, it counts from 1, and a report says so. Exports count from 0 and have a decimal point, so that reading them
gives the same boxes. The image is looked up in `JPEGImages`, beside the XML file, and in the folder that corresponds to
the XML file's folder in `Annotations`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from labeler.transfer.files.archives import Pipe, write_table
from labeler.transfer.files.spooled import spool
from labeler.transfer.files.whole_files import check_xml, content_of
from labeler.transfer.files.xml_names import meant, written
from labeler.transfer.rows.boxed_rows import told_boxes
from labeler.transfer.rows.boxes import BoxRow, number
from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.imported import Chosen, Read
from labeler.transfer.rows.left_out import LeftOut
from shared.images.sources.source import folded
from shared.storage.safe_names import plain
from shared.storage.zip_writer import ZipWriter
from shared.wire.fields import Split
from shared.wire.imports import ImportIssue, NamedBoxes

FOLDER = "Annotations"
SETS = "ImageSets/Main"
_SETS: dict[Split, str] = {"train": "train", "validation": "val", "test": "test"}
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_LARGEST = 1 << 24  # bytes of a file
_PLACES = ("JPEGImages", "images", "Images")


def write(rows: Iterator[ExportRow], extras: Extras, classes: Sequence[str]) -> Iterator[bytes]:
    """Write a zip with an XML file per labeled image, and the names of each split; it contains no images."""
    pipe, sets, taken = Pipe(), dict[str, IO[bytes]](), set[int]()
    with ExitStack() as stack, ZipWriter(pipe, zipfile.ZIP_DEFLATED) as archive:
        for row in rows:
            if row.boxes is None:
                continue
            name = _name(row, taken)
            taken.add(folded(name.lower()))
            split = _SETS[row.split]
            if split not in sets:
                sets[split] = stack.enter_context(spool())
            sets[split].write(f"{name}\n".encode("utf-8", "backslashreplace"))
            archive.writestr(zipfile.ZipInfo(f"{FOLDER}/{name}.xml"), _annotation(row))
            yield pipe.drain()
        for split, table in sets.items():
            yield from write_table(archive, pipe, f"{SETS}/{split}.txt", table)
    yield from pipe.rest()


def _name(row: ExportRow, taken: Collection[int]) -> str:
    """The name of an image without its ending, as VOC has it; with its ending if another image has the same name.

    `taken` has a number for each name in lower case, which takes less memory.
    """
    path = PurePosixPath("/".join(plain(part) for part in PurePosixPath(row.uri).parts if part not in ("/", "..")))
    name = path.with_suffix("").as_posix()
    if folded(name.lower()) not in taken:
        return name
    return path.as_posix() if folded(path.as_posix().lower()) not in taken else f"{row.id}-{path.name}"


def _annotation(row: ExportRow) -> str:
    def text(tag: str, value: object) -> str:
        return f"<{tag}>{escape(written(str(value)), _LINE_ENDS)}</{tag}>"

    lines = ["<annotation>", "  <folder></folder>", f"  {text('filename', row.uri)}"]
    lines.append(f"  <size>{text('width', row.width)}{text('height', row.height)}<depth>3</depth></size>")
    lines.append("  <segmented>0</segmented>")
    for box in row.boxes or ():
        corners = zip(_CORNERS, (box.x, box.y, box.x + box.w, box.y + box.h), strict=True)
        place = "".join(text(tag, f"{value:.2f}") for tag, value in corners)
        beside = "<pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>"
        lines.append(f"  <object>{text('name', box.label)}{beside}<bndbox>{place}</bndbox></object>")
    return "\n".join([*lines, "</annotation>", ""])


_LINE_ENDS = {"\r": "&#13;", "\n": "&#10;"}


def files_in(path: Path) -> list[Path]:
    """The XML files of a dataset folder; those in a folder `Annotations` if it has one."""
    inside = [each for each in sorted(path.rglob("*.xml")) if each.is_file()]
    return [each for each in inside if FOLDER in each.relative_to(path).parts[:-1]] or inside


def is_ours(path: Path) -> bool:
    """Whether an XML file begins like VOC's."""
    with path.open("rb") as stream:
        head = stream.read(2_048)
    return b"<annotation>" in head or b"<annotation " in head


def read(path: Path, chosen: Chosen | None, left: LeftOut) -> Iterator[Read]:
    """Rows of a folder, or of one file; `line` counts files. Raises SettingsError for a file that is too large."""
    root, files = (path, files_in(path)) if path.is_dir() else (path.parent, [path])
    from_one = _counts_from_one(files)
    place, split_of = partial(_uri, root), partial(_split_of, root, _splits(root))
    if from_one:
        left.add("file", "as VOC counts: pixels from 1, both corners inside", 1, what="read", count=len(files))
    for line, file in enumerate(files, start=1):
        yield from _rows(line, file, place, split_of, from_one=from_one)


def _rows(
    line: int,
    file: Path,
    place: Callable[[Path, str], str],
    split_of: Callable[[Path], str | None],
    *,
    from_one: bool,
) -> Iterator[Read]:
    try:
        root = _root(file)
    except ET.ParseError as error:
        yield ImportIssue(line=line, uri=file.name, reason=f"is not XML: {error}")
        return
    name = meant(root.findtext("filename") or "") or file.stem
    uri = place(file, name)
    size = root.findtext("size/width"), root.findtext("size/height")

    def find() -> NamedBoxes:
        row = BoxRow(size=size)
        for each in root.iter("object"):
            label, box = meant(each.findtext("name") or ""), each.find("bndbox")
            if box is None:
                row.refuse(label, "has no bndbox")
                continue
            try:
                x0, y0, x1, y1 = (number((box.findtext(tag) or "").strip()) for tag in _CORNERS)
            except ValueError as error:
                row.refuse(label, str(error))
                continue
            (x0, x1), (y0, y1) = sorted((x0, x1)), sorted((y0, y1))
            row.corners(label, x0 - from_one, y0 - from_one, x1, y1)
        return row.answer()

    yield from told_boxes(line, {"uri": uri, "split": split_of(file)}, find)


def _root(file: Path) -> ET.Element:
    check_xml(file, _LARGEST)
    root = ET.parse(file).getroot()  # noqa: S314 - without a document type, there are no entities
    if root.tag != "annotation":
        raise ET.ParseError(f"it begins with <{root.tag[:40]}>, not with <annotation>")
    return root


def _counts_from_one(files: Sequence[Path]) -> bool:
    """Whether all corners of all boxes are whole numbers of at least 1."""
    boxes = 0
    for file in files:
        try:
            found = [_root(file).findall("object/bndbox")]
        except ET.ParseError:
            continue
        for box in found[0]:
            boxes += 1
            said = [(box.findtext(tag) or "").strip() for tag in _CORNERS]
            if not all(each.isascii() and each.isdigit() and int(each) > 0 for each in said):
                return False
    return boxes > 0


def _uri(root: Path, file: Path, name: str) -> str:
    """The image of an XML file, relative to the dataset's folder if it is inside it."""
    base, below = _place(root, file)
    folders = [base / folder for folder in _PLACES]
    places = [folder / inside for folder in folders for inside in (PurePosixPath(), below)]
    places += [PurePosixPath(file.relative_to(root).parent), base / below, base]
    found = next((place / name for place in places if (root / place / name).is_file()), None)
    return (found or (PurePosixPath(name) if "/" in name else below / name)).as_posix()


def _place(root: Path, file: Path) -> tuple[PurePosixPath, PurePosixPath]:
    """The folder that contains `Annotations`, and the path of the XML file's folder below `Annotations`."""
    inside = file.relative_to(root).parts[:-1]
    at = inside.index(FOLDER) if FOLDER in inside else -1
    return PurePosixPath(*inside[: max(at, 0)]), PurePosixPath(*inside[at + 1 :])


def _splits(root: Path) -> dict[str, str]:
    """Name of an image without its extension → its split, from the lists in `ImageSets/Main`."""
    found: dict[str, str] = {}
    for split in _SETS.values():
        path = next(iter(sorted(root.glob(f"{SETS}/{split}.txt")) or sorted(root.glob(f"*/{SETS}/{split}.txt"))), None)
        if path is not None:
            names = content_of(path, _LARGEST).decode("utf-8", "replace").splitlines()
            found |= {line.strip(): split for line in names if line.strip()}
    return found


def _split_of(root: Path, splits: Mapping[str, str], file: Path) -> str | None:
    return splits.get((_place(root, file)[1] / file.stem).as_posix())
