"""Rows with boxes: the row of an image, and several people's answers from the history in an export.

An image without a box is ambiguous. The file may state that nothing is in it: by its status, by an empty list, or by an
empty file. Or it may only list the image. Then the image stays unlabeled, unless the user says otherwise
(`Chosen.empty`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from labeler.transfer.rows.box_places import placed
from labeler.transfer.rows.boxes import BOXES, boxes_in
from labeler.transfer.rows.imported import UNLABELED, Chosen, Read, told
from labeler.transfer.rows.left_out import LeftOut
from labeler.transfer.rows.past_answers import adding_up
from shared.class_names import Spellings
from shared.tasks.detection import DETECTION, Box, Boxes
from shared.wire.imports import ImportIssue, NamedBoxes


def told_boxes(line: int, parts: Mapping[str, Any], find: Callable[[], NamedBoxes | None]) -> Iterator[Read]:
    """The results for an image, as in `imported.told`. `find` returns its boxes, returns None if it has no answer, or
    raises ValueError.
    """
    try:
        answer = find()
    except ValueError as error:
        yield ImportIssue(line=line, uri=str(parts.get("uri") or "")[:4_096], reason=str(error))
        return
    status = str(parts.get("status") or "").lower()
    if status in UNLABELED or status == "unlabeled":
        answer = None
    known = {name: value for name, value in parts.items() if name != "label"}
    yield from told(line, known | {"answer": answer, "answers": answers_of(parts.get("history"), answer)})


def told_image(
    line: int,
    parts: Mapping[str, Any],
    find: Callable[[], NamedBoxes],
    chosen: Chosen | None,
    left: LeftOut,
    *,
    noun: str = "image",
) -> Iterator[Read]:
    """The results for an image that a file lists with any number of boxes. No box means that nothing is there only if
    the file or the user says so.
    """

    def answer() -> NamedBoxes | None:
        found, says = find(), parts.get("status") == "labeled" or (chosen is not None and chosen.empty)
        return found if found.boxes or says else None

    rows, says_nothing = told_boxes(line, parts, answer), not parts.get("status")
    which = "without a box, which may be unlabeled (empty=nothing: nothing is in it)"
    yield from left.if_none(rows, noun, which, line) if says_nothing else rows


def answers_of(history: Any, answer: NamedBoxes | None) -> list[dict[str, Any]]:
    """Fields of `ImportedAnswer`s from a history in an export; none unless they add up to `answer`."""
    numbers, spellings = dict[str, int](), Spellings()

    def value(named: NamedBoxes | None) -> Boxes | None:
        if named is None:
            return None
        names = [spellings.of(box.label) for box in named.boxes]
        ids = [numbers.setdefault(name, len(numbers) + 1) for name in names]
        return Boxes(Box(label, box.x, box.y, box.w, box.h) for label, box in zip(ids, named.boxes, strict=True))

    def read(told: Mapping[str, Any]) -> tuple[NamedBoxes | None, Boxes | None]:
        named = boxes_in(told.get(BOXES))
        return named, value(named)

    def is_wanted(together: Boxes | None) -> bool:
        try:
            wanted = value(None if answer is None else _in_pixels(answer))
        except ValueError:
            return False
        if together is None or wanted is None:
            return together is wanted
        return sorted(together.boxes) == sorted(wanted.boxes)

    return adding_up(history, read, DETECTION.merge, is_wanted)


def _in_pixels(answer: NamedBoxes) -> NamedBoxes:
    """The boxes in pixels. Raises ValueError for relative coordinates of an image of unknown size."""
    relative = answer.unit == "share" and answer.boxes  # no box needs no size
    return placed(answer, (answer.width or 0, answer.height or 0))[0] if relative else answer
