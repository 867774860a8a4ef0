"""Converts the boxes of a row to pixels of the upright original, as answers store them."""

from __future__ import annotations

from shared.tasks.task import AnswerRefusedError
from shared.wire.imports import NamedBox, NamedBoxes

SLACK = 1.0
"""Pixels by which a box may exceed the image without a note, because tools round."""
SMALLEST = 1.0
"""Minimum width and height of a box in pixels."""


def placed(given: NamedBoxes, size: tuple[int, int]) -> tuple[NamedBoxes, list[str]]:
    """The boxes in an upright image of this size, and notes on what was clipped. Raises AnswerRefusedError."""
    _check_size(given, size)
    width, height = size
    across, down = size if given.unit == "share" else (1, 1)
    boxes: list[NamedBox] = []
    cut: list[str] = []
    for number, box in enumerate(given.boxes, start=1):
        named = f"box {number} ({box.label})"
        x0, y0, x1, y1 = box.x * across, box.y * down, (box.x + box.w) * across, (box.y + box.h) * down
        left, top, right, bottom = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
        if right <= left or bottom <= top:
            outside = f"lies outside the image, which has {width} × {height} pixels"
            where = outside if x1 > x0 and y1 > y0 else "has no area"
            raise AnswerRefusedError(f"{named} {where}: fix or remove it")
        x, y, w, h = round(left, 2), round(top, 2), round(right - left, 2), round(bottom - top, 2)
        if w < SMALLEST or h < SMALLEST:
            raise AnswerRefusedError(f"{named} has {w:g} × {h:g} pixels, and a box needs 1 × 1: fix or remove it")
        if max(left - x0, top - y0, x1 - right, y1 - bottom) > SLACK:
            cut.append(named)
        boxes.append(box.model_copy(update={"x": x, "y": y, "w": w, "h": h}))
    more = f" and {len(cut) - 3} more" if len(cut) > 3 else ""
    verb = "reaches" if len(cut) == 1 else "reach"
    notes = [f"{', '.join(cut[:3])}{more} {verb} outside the image: cut at its edge"] if cut else []
    return NamedBoxes(boxes=tuple(boxes)), notes


def _check_size(given: NamedBoxes, size: tuple[int, int]) -> None:
    """Raises AnswerRefusedError if the file is about an image of another size, where the boxes would be misplaced."""
    told = (given.width, given.height)
    if not all(size):
        raise AnswerRefusedError("has boxes, but its size is unknown: scan the images again")
    if not given.boxes or None in told or told == size:
        return
    says = f"has {told[0]} × {told[1]} pixels in the file"
    if told == size[::-1]:
        raise AnswerRefusedError(
            f"{says}, but is upright {size[0]} × {size[1]} here: the boxes are those of the image before EXIF turns it"
        )
    if given.unit == "pixel":
        raise AnswerRefusedError(f"{says}, but {size[0]} × {size[1]} here: the boxes would be in the wrong places")
