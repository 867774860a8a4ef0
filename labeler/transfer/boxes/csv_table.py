"""Boxes in CSV: one row per box, in any dialect that `dialects` detects. A row without coordinates is an image without
a box.

Columns are called x, y, w, h (or width, height), or xmin, ymin, xmax, ymax, or x1, y1, x2, y2, or bbox with a list [x,
y, width, height]; the corners may be in either order. Coordinates that are all from 0 to 1 are shares of the image. The
rows of an image need not be adjacent, so the table is read as a whole, with a size limit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from labeler.transfer.formats.csv_table import Table, cell, line
from labeler.transfer.rows.boxed_rows import told_image
from labeler.transfer.rows.boxes import BOXES, CORNERS, SIZED, BoxRow, number
from labeler.transfer.rows.exported import ExportRow, Extras
from labeler.transfer.rows.imported import BOX_PARTS, Chosen, Read
from labeler.transfer.rows.left_out import LeftOut
from shared.cells import harmless, meant
from shared.settings.services import SettingsError
from shared.wire.imports import ImportIssue

MOST_ROWS = 1_000_000
"""Maximum number of rows of a table that are kept in memory."""
_PLACE = ("label", "x", "y", "w", "h", "origin")
_JOINT = "\x1f"  # the "unit separator", which no cell contains
_PARTS = ("split", "annotator", "confidence", "status", "labeled_at", "history")


def write(rows: Iterator[ExportRow], extras: Extras, classes: object) -> Iterator[bytes]:
    """Write UTF-8 with `\\r\\n` line ends, as in RFC 4180; the history is JSON in a cell of an image's first row."""
    yield line(
        name for column in ExportRow(0, "", "", "train", None, "unlabeled").record(extras) for name in _names(column)
    )
    for row in rows:
        record = row.record(extras)
        for box in row.boxes or (None,):
            place = [""] * len(_PLACE) if box is None else [str(getattr(box, name)) for name in _PLACE]
            cells = [each for name, value in record.items() for each in (place if name == BOXES else [cell(value)])]
            yield line(map(harmless, cells))
            record = record | ({"history": None} if "history" in record else {})


def _names(column: str) -> Sequence[str]:
    return _PLACE if column == BOXES else (column,)


def read(path: Path, chosen: Chosen | None, left: LeftOut) -> Iterator[Read]:
    """Rows of a table; `line` is where an image's first box is. Raises SettingsError if it has no columns for boxes."""
    yield from BoxTable(path, chosen, left).rows()


@dataclass(slots=True)
class _Image:
    """The rows of one image: the parts of the first row, and the cells of each box, joined to save memory."""

    line: int
    parts: dict[str, str]
    places: list[str] = field(default_factory=list)
    unread: list[int] = field(default_factory=list)  # lines of unreadable rows


class BoxTable:
    """A table of boxes. Raises SettingsError if its columns cannot be determined."""

    def __init__(self, path: Path, chosen: Chosen | None, left: LeftOut) -> None:
        self._table = Table(path, chosen, naming=True)
        self._chosen, self._left = chosen, left
        self.dialect = self._table.dialect
        names = {name.strip().lower(): at for at, name in enumerate(self.dialect.names) if self.dialect.has_header}
        known = names | {part: at for part, at in self.dialect.beside.items() if part in BOX_PARTS}
        self._columns = next((each for each in (*CORNERS, *SIZED) if all(name in known for name in each)), ("bbox",))
        if self._columns == ("bbox",) and "bbox" not in known:
            raise SettingsError(
                f"{path} has no columns for boxes: x, y, w, h or xmin, ymin, xmax, ymax, or name them with "
                "--columns image=…,label=…,xmin=…,ymin=…,xmax=…,ymax=… (or x=…,y=…,w=…,h=…)."
            )
        self._at = [known[name] for name in self._columns]
        sides = ("width", "height")
        self._size = [names[side] for side in sides if side in names and side not in self._columns]
        self._origin = names.get("origin")
        self._share = False

    def told(self) -> list[str]:
        """How the table is read and, after reading, what was left out."""
        called = [self.dialect.names[at] if self.dialect.has_header else f"column {at + 1}" for at in self._at]
        said = f"read with {self.dialect}, boxes from {', '.join(map(repr, called))}"
        if self._columns == ("bbox",):
            said += " as x, y, width, height"
        if self._share:
            said += ", which are shares of the image's width and height"
        return [said, *self._left.told()]

    def rows(self) -> Iterator[Read]:
        """A row for each image."""
        images: dict[str, _Image] = {}
        count, largest = 0, 0.0
        columns = self.dialect.columns
        for given in self._table.cells():
            if isinstance(given, ImportIssue):
                yield given
                if given.uri:  # without this row, the image's boxes would be incomplete
                    images.setdefault(given.uri, _Image(given.line, {"uri": given.uri})).unread.append(given.line)
                continue
            at, cells = given
            count += 1
            if count > MOST_ROWS:
                raise SettingsError(
                    f"{self._table.path} has more than {MOST_ROWS:,} rows: split it into several files, with all boxes "
                    "of an image in one of them."
                )
            uri = meant(cells[columns["uri"]])
            image = images.get(uri)
            if image is None:
                parts = {part: meant(cells[columns[part]]) for part in _PARTS if part in columns}
                image = images[uri] = _Image(at, {"uri": uri, **parts})
            place = tuple(
                meant(cells[each]).replace(_JOINT, " ")
                for each in (columns["label"], *self._at, *self._size, *self._origins)
            )
            if any(each.strip() for each in place[: 1 + len(self._at)]):
                image.places.append(_JOINT.join(place))
                largest = max(largest, _largest(place[1 : 1 + len(self._at)]))
        self._share = 0 < largest <= 1
        last_first = [*images.values()][::-1]
        images.clear()
        while last_first:
            image = last_first.pop()  # so that its memory is freed
            found = self._boxes(image)
            if image.unread:
                found.refuse("", f"stands in line {image.unread[0]}")
            yield from told_image(image.line, image.parts, found.answer, self._chosen, self._left)

    @property
    def _origins(self) -> list[int]:
        return [] if self._origin is None else [self._origin]

    def _boxes(self, image: _Image) -> BoxRow:
        places = [each.split(_JOINT) for each in image.places]
        size = places[0][1 + len(self._at) :][: len(self._size)] if places else []
        row = BoxRow("share" if self._share else "pixel", (size[0], size[1]) if len(size) == 2 else (None, None))
        for place in places:
            label, numbers = place[0], place[1 : 1 + len(self._at)]
            if self.dialect.habits.gapped:
                label = self.dialect.habits.name(label)
            origin = place[-1] if self._origin is not None else None
            if self._columns == ("bbox",):
                row.listed(label, _list(numbers[0]), origin)
            elif self._columns in CORNERS:
                row.corners(label, *numbers, origin=origin)
            else:
                row.sized(label, *numbers, origin=origin)
        return row


def _largest(cells: Sequence[str]) -> float:
    """The largest coordinate of a box, or 0 if there is none."""
    largest = 0.0
    for each in cells:
        listed = _list(each) if each[:1] in ("[", "(") else [each]
        for one in listed if isinstance(listed, list) else []:
            with suppress(ValueError):
                largest = max(largest, abs(number(one)))
    return largest


def _list(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return [part for part in text.strip("[]() ").replace(",", " ").split() if part]
