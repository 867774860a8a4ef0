"""Boxes of an image as files write them: corners in either order, sizes, centres; numbers as text; classes by name.

A row states that all objects of its image are boxed. So an unreadable box is never dropped: the row is rejected, with
the number and the class of its first such box. What depends on the image's size, such as a box outside it, is checked
later by the labeler, which knows the size (`box_places`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, repeat
from typing import Any, Final, Literal

from pydantic import ValidationError

from labeler.transfer.rows.texts import class_name, parsed, python
from shared.tasks.boxes import ORIGINS, Origin
from shared.wire.fields import MOST_BOXES
from shared.wire.imports import NamedBox, NamedBoxes

BOXES: Final = "boxes"
"""The column with the boxes in Flywheel's own tables."""
OBJECTS: Final = "objects"
"""The column with the boxes in tables of Hugging Face `datasets`."""
Unit = Literal["pixel", "share"]
CORNERS: Final = (("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"), ("xtl", "ytl", "xbr", "ybr"))
SIZED: Final = (("x", "y", "w", "h"), ("x", "y", "width", "height"))
NAMED_BY: Final = ("label", "category", "class", "name", "category_id", "label_id", "class_id")
LISTS: Final = ("category", "categories", "label", "labels", "category_id", "class", "classes", "name", "names", "id")
_Place = Callable[[float, float, float, float], tuple[float, float, float, float]]


class BoxRow:
    """The boxes of one image while its row is read."""

    def __init__(self, unit: Unit = "pixel", size: tuple[Any, Any] = (None, None)) -> None:
        """`size`: width and height of the image according to the file. None, 0 and anything but a number mean
        unknown.
        """
        self._unit: Unit = unit
        self._size = [_side(each) for each in size]
        self._boxes: list[NamedBox] = []
        self._count = 0
        self.problem = ""  # the error of the first unreadable box

    def __len__(self) -> int:
        return self._count

    def corners(self, label: Any, x0: Any, y0: Any, x1: Any, y1: Any, *, origin: Any = None) -> None:
        """Add a box by two opposite corners, in either order."""
        self._add(label, (x0, y0, x1, y1), origin, lambda a, b, c, d: (min(a, c), min(b, d), abs(c - a), abs(d - b)))

    def sized(self, label: Any, x: Any, y: Any, w: Any, h: Any, *, origin: Any = None) -> None:
        """Add a box by a corner and its size. A negative size leads to the opposite corner."""
        self._add(label, (x, y, w, h), origin, lambda a, b, c, d: (min(a, a + c), min(b, b + d), abs(c), abs(d)))

    def centred(self, label: Any, x: Any, y: Any, w: Any, h: Any) -> None:
        """Add a box by its centre and size."""
        self._add(label, (x, y, w, h), None, lambda a, b, c, d: (a - abs(c) / 2, b - abs(d) / 2, abs(c), abs(d)))

    def around(self, label: Any, points: Sequence[Any]) -> None:
        """Add the box around points x, y, x, y, …"""
        try:
            xs, ys = [*map(_number, points[::2])], [*map(_number, points[1::2])]
        except ValueError as error:
            self.refuse(label, str(error))
            return
        if len(xs) < 3 or len(xs) != len(ys):
            self.refuse(label, f"is a shape of {len(points)} numbers, not of three points at least")
            return
        self.corners(label, min(xs), min(ys), max(xs), max(ys))

    def record(self, given: Any, named: Any = None) -> None:
        """Add a box that a table or JSON has as an object, such as `{"label": "dog", "x": 1, …}`. A class `named`
        beside it counts instead of its own.
        """
        each = python(given)
        if not isinstance(each, Mapping):
            self.refuse("", "is not an object with label, x, y, w, h")
            return
        own = next((each[name] for name in NAMED_BY if each.get(name) is not None), None)
        label, origin = own if named is None else named, each.get("origin")
        found = next((names for names in (*CORNERS, *SIZED) if all(each.get(name) is not None for name in names)), None)
        if found is None:
            self.listed(label, each.get("bbox"), origin)
        elif found in CORNERS:
            self.corners(label, *(each[name] for name in found), origin=origin)
        else:
            self.sized(label, *(each[name] for name in found), origin=origin)

    def listed(self, label: Any, bbox: Any, origin: Any = None) -> None:
        """Add a box that is a list [x, y, width, height], as in COCO."""
        four = python(parsed(bbox) if isinstance(bbox, str) else bbox)
        if not isinstance(four, list) or len(four) != 4:
            self.refuse(label, "has no x, y, w, h: a box needs these four numbers")
            return
        self.sized(label, *four, origin=origin)

    def refuse(self, label: Any, reason: str) -> None:
        """Note that a box cannot be read."""
        self._count += 1
        shown = _shown(label)
        self.problem = self.problem or f"has a box that cannot be read: box {self._count}{shown} {reason}"

    def answer(self) -> NamedBoxes:
        """All boxes. Raises ValueError with the reason if one of them cannot be read."""
        if self.problem:
            raise ValueError(self.problem)
        if self._count > MOST_BOXES:
            raise ValueError(f"has {self._count:,} boxes, and an image has {MOST_BOXES:,} at most")
        return NamedBoxes(boxes=tuple(self._boxes), unit=self._unit, width=self._size[0], height=self._size[1])

    def _add(self, label: Any, four: tuple[Any, Any, Any, Any], origin: Any, place: _Place) -> None:
        try:
            name = class_name(label)
            numbers = [_number(each) for each in four]
            x, y, w, h = (round(each, 9 if self._unit == "share" else 3) for each in place(*numbers))
            where: Origin = origin if origin in ORIGINS else "imported"
            box = NamedBox(label=name, x=x, y=y, w=w, h=h, origin=where)
        except ValidationError as error:
            if not name:
                self.refuse("", "has no class")
                return
            first = error.errors()[0]
            message = first["msg"].removeprefix("Value error, ")
            self.refuse(label, f"has an invalid {first['loc'][0]}: {message}")
        except ValueError as error:
            self.refuse(label, str(error))
        else:
            self._count += 1
            if self._count <= MOST_BOXES:
                self._boxes.append(box)


def boxes_in(value: Any, size: tuple[Any, Any] = (None, None), labels: Any = None) -> NamedBoxes | None:
    """The boxes in a cell of the column `boxes`; None if it is empty. `labels` are their classes if another column has
    them: a list, or one for all. Raises ValueError.
    """
    given = python(parsed(value) if isinstance(value, str) else value)
    if given is None or given == "":
        return None
    if not isinstance(given, list):
        raise ValueError("has boxes that are no list")  # noqa: TRY004 - readers report ValueErrors
    row = BoxRow(size=size)
    for each, named in zip(given, _for_each(labels, len(given)), strict=True):
        row.record(each, named)
    return row.answer()


def objects_in(
    value: Any, names: Sequence[str] | None = None, size: tuple[Any, Any] = (None, None), labels: Any = None
) -> NamedBoxes | None:
    """The boxes in a cell of the column `objects` of `datasets`: an object of lists, or a list of objects.

    `names` are the classes by number, if the file has them. `labels` are as in `boxes_in`. None if the cell is empty.
    Raises ValueError.
    """
    given = python(parsed(value) if isinstance(value, str) else value)
    if given is None or given == "":
        return None
    row = BoxRow(size=size)
    if isinstance(given, list):
        pairs = [(_class_of(each), each) for each in map(python, given)]
        boxes = [each.get("bbox") if isinstance(each, Mapping) else None for _, each in pairs]
        classes, origins = [name for name, _ in pairs], []
    elif isinstance(given, Mapping):
        boxes = _list(given.get("bbox"))
        column = next((given[name] for name in LISTS if given.get(name) is not None), None)
        classes, origins = _list(column), _list(given.get("origin"))
    else:
        raise ValueError("has objects that are neither a list nor an object with bbox and category")  # noqa: TRY004
    if labels is not None:
        classes = _for_each(labels, len(boxes))
    _check_counts(boxes, classes)
    for label, bbox, origin in zip(classes, boxes, chain(origins, repeat(None)), strict=False):
        row.listed(named(label, names), bbox, origin)
    return row.answer()


def _for_each(labels: Any, count: int) -> list[Any]:
    """The class of each of `count` boxes, from a column with all of them or with one for all."""
    given = python(labels)
    if not isinstance(given, list):
        return [given] * count
    _check_counts(range(count), given)
    return given


def _check_counts(boxes: Sequence[Any], classes: Sequence[Any]) -> None:
    if len(boxes) != len(classes):
        raise ValueError(f"has {len(boxes)} boxes, but {len(classes)} classes of boxes")


def _class_of(each: Any) -> Any:
    return (
        next((each[name] for name in LISTS if each.get(name) is not None), None) if isinstance(each, Mapping) else None
    )


def named(label: Any, names: Sequence[str] | None) -> Any:
    """The class of a number, if the file has `names` by number; None if it has none for it."""
    if names is None or isinstance(label, bool) or not isinstance(label, int):
        return label
    return names[label] if 0 <= label < len(names) else None


def _list(value: Any) -> list[Any]:
    found = python(value)
    return found if isinstance(found, list) else []


def json_of(boxes: NamedBoxes | Sequence[NamedBox] | None) -> list[dict[str, Any]] | None:
    """The boxes in the form of the column `boxes`."""
    if boxes is None:
        return None
    some = boxes.boxes if isinstance(boxes, NamedBoxes) else boxes
    return [box.model_dump() for box in some]


def cell_of(boxes: Sequence[NamedBox] | None) -> str:
    """The boxes as JSON in one cell."""
    return "" if boxes is None else json.dumps(json_of(boxes))


def number(value: Any) -> float:
    """Parse a number, which may be text. Raises ValueError."""
    return _number(value)


def _number(value: Any) -> float:
    try:
        found = float("" if isinstance(value, bool) else value.replace(",", ".") if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError):
        said = "nothing" if value is None or value == "" else repr(str(value)[:40])
        raise ValueError(f"has {said} where a number is needed") from None
    if not math.isfinite(found):
        raise ValueError(f"has {str(value)[:40]} where a finite number is needed")
    return found


def _side(value: Any) -> int | None:
    try:
        found = _number(value)
    except ValueError:
        return None
    return round(found) if 1 <= found < 1e9 else None


def _shown(label: Any) -> str:
    try:
        name = class_name(label)
    except ValueError:
        return ""
    return f" ({name[:40]})" if name else ""
