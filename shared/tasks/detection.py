"""Detection: the objects in an image, each with a box and a class.

An answer says that **all** objects of the project's classes are boxed; no box at all means "nothing here". Places are
pixels of the upright original: after EXIF rotation, before any downscaling. In requests and files, `label` may hold a
class name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from shared.class_names import Spellings, key
from shared.tasks.boxes import ORIGINS, SAME_OBJECT, SLACK, STEPS, Box, Boxes, Origin
from shared.tasks.task import AnswerRefusedError, ByName, ClassBook, HoldsValue, Live, NameOf, Size, Task, in_order
from shared.wire.fields import MOST_BOXES
from shared.wire.imports import ImportedAnswer, NamedAnswer, NamedBox, NamedBoxes
from shared.wire.review import Agreement, LabelIssue, Place

if TYPE_CHECKING:
    from shared.tasks.box_matching import Joint

__all__ = ["DETECTION", "MOST_BOXES", "NOTHING_HERE", "ORIGINS", "Box", "Boxes", "Detection", "Origin"]

NOTHING_HERE: Final = "nothing here"


class Detection(Task):
    """Boxes with classes."""

    name = "detection"
    title = "Object detection"
    metric = "map_50"
    metric_name = "mAP"
    which_classes = "of the objects to find: you will draw a box around each"
    by_box = True
    counted = "labeled image"

    def check(self, answer: object, classes: ClassBook) -> Boxes:
        """Accept boxes whose classes are ids, or current or former names.

        A box is dropped if its class was deleted after the page was loaded, as in earlier answers.
        """
        said = _boxes_in(answer)
        found = []
        for number, box in enumerate(said, 1):
            label = _live(box["label"], classes)
            if label is None:
                if not _was(box["label"], classes):
                    raise AnswerRefusedError(f"box {number}: {classes.unknown(box['label'])}")
                continue
            found.append(Box(label, box["x"], box["y"], box["w"], box["h"], box["origin"]))
        if said and not found:
            raise AnswerRefusedError("the classes of all its boxes were deleted")
        try:
            return Boxes(found)
        except ValueError as problem:
            raise AnswerRefusedError(str(problem)) from None

    def fit(self, value: Boxes, size: Size) -> Boxes:
        """Clip the boxes to the image. Raises AnswerRefusedError if one exceeds it by more than a pixel."""
        if not len(value):
            return value  # "nothing here" may answer thousands of images at once, and each size is a query
        width, height = size()
        fitted, changed = [], False
        for number, box in enumerate(value.boxes, 1):
            left, top, right, bottom = box.x, box.y, box.x + box.w, box.y + box.h
            outside = max(-left, -top, right - width, bottom - height)
            if outside > SLACK + 1 / STEPS:
                raise AnswerRefusedError(f"box {number} reaches outside the image, which has {width} × {height} pixels")
            if outside > 0:
                left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
                box, changed = box._replace(x=left, y=top, w=right - left, h=bottom - top), True
            fitted.append(box)
        try:
            return Boxes(fitted) if changed else value
        except ValueError as problem:
            raise AnswerRefusedError(str(problem)) from None

    def is_same(self, value: Boxes, answer: object, classes: ClassBook) -> bool:
        """Whether `answer` means these boxes, by ids or names that may have changed since. Takes into account that
        boxes were clipped and boxes of removed classes dropped.
        """
        try:
            said = _boxes_in(answer)
        except AnswerRefusedError:
            return False
        if not len(value):
            return not said
        held = iter(value.boxes)
        box = next(held, None)
        for each in said:
            if box is not None and _is_place(each, box) and _is_class(each["label"], box.label, classes):
                box = next(held, None)
            elif _live(each["label"], classes) is not None:
                return False
        return box is None

    def to_row(self, value: Boxes) -> dict[str, Any]:
        """The boxes as `answer`."""
        return {"answer": {"boxes": [box._asdict() for box in value.boxes]}}

    def of_row(self, row: HoldsValue) -> Boxes | None:
        """The row's `answer`."""
        try:
            return Boxes(Box(**each) for each in _boxes_in(row.answer))
        except (AnswerRefusedError, ValueError, TypeError, OverflowError):
            return None

    def resolve(self, value: Boxes, live: Live) -> Boxes | None:
        """The boxes with their current classes. If all boxes of an answer are lost, the image has no answer, because
        "nothing here" might be wrong.
        """
        found = {label: live(label) for label in set(value.labels)}
        if all(label == now for label, now in found.items()):
            return value
        left = value.relabeled(found)
        return left if len(left) else None

    # ------------------------------------------------------------ several people

    def merge(self, values: Iterable[Boxes]) -> Boxes | None:
        """The boxes that a majority drew. None for a tie about a box or its class."""
        said = tuple(values)
        if len(set(said)) < 2:
            return said[0] if said else None
        return _joint(said).merged

    def differ(self, values: Iterable[Boxes]) -> bool:
        """Whether somebody has not drawn a box of another person, or has given it another class."""
        said = tuple(values)
        return len(set(said)) > 1 and _joint(said).differ

    def tied(self, values: Iterable[Boxes]) -> Collection[int]:
        """The classes of the boxes with a tie."""
        said = tuple(values)
        return _joint(said).tied if len(set(said)) > 1 else ()

    def agreement(self, votes: Iterable[Mapping[str, Boxes]], names: Mapping[int, str]) -> Agreement:
        """Agreement on the boxes (F1), and on the classes of the boxes that people have in common (κ or α)."""
        from shared.tasks.box_agreement import measure_agreement_on_boxes

        return measure_agreement_on_boxes(list(votes), names)

    # ------------------------------------------------------------ doubts

    def is_doubted(self, value: Boxes | None, issue: LabelIssue, live: Live) -> bool:
        """Whether the box that the issue doubts is still there, or the missing one is not and has room."""
        if value is None or issue.box is None or live(issue.proposed) is None:
            return False
        if issue.at is None:
            return len(value) < MOST_BOXES and not _is_boxed(issue.box, value)
        return _doubted(value, issue, live) is not None

    def corrected(self, value: Boxes, issue: LabelIssue, live: Live) -> Boxes | None:
        """The image's boxes with the proposed box in place of the doubted one."""
        label, place, number = live(issue.proposed), issue.box, _doubted(value, issue, live)
        if label is None or place is None or (issue.at is not None and number is None):
            return None
        if number is None and len(value) >= MOST_BOXES:
            return None
        boxes = list(value.boxes)
        if number is None:
            return Boxes([*boxes, Box(label, place.x, place.y, place.w, place.h, "accepted")])
        there = place if issue.kind == "place" else boxes[number]
        boxes[number] = Box(label, there.x, there.y, there.w, there.h, "corrected")
        return Boxes(boxes)

    # ------------------------------------------------------------ counts and words

    def classes_in(self, value: Boxes) -> Collection[int]:
        """The classes that have a box."""
        return sorted(set(value.labels))

    def text(self, value: Boxes, name_of: NameOf) -> str:
        """How many boxes each class has: "3 car, 1 dog"."""
        counts = Counter(value.labels)
        return ", ".join(f"{counts[each]:,} {name_of(each)}" for each in sorted(counts, key=in_order)) or NOTHING_HERE

    def read(self, text: str, class_of: Callable[[str], int | None]) -> Boxes | None:
        """Only "nothing here" is a complete answer in text."""
        if key(text) == key(NOTHING_HERE):
            return Boxes()
        raise AnswerRefusedError(f"is labeled {text!r} without a place, and this project needs boxes")

    def read_answer(self, named: NamedAnswer, class_of: Callable[[str], int | None]) -> Boxes | None:
        """The boxes with class ids for names. Their coordinates are in pixels already."""
        if not isinstance(named, NamedBoxes) or named.unit != "pixel":
            raise AnswerRefusedError("says which classes an image has, but not where: this project needs boxes")
        found = [(class_of(box.label), box) for box in named.boxes]
        boxes = [Box(label, box.x, box.y, box.w, box.h, box.origin) for label, box in found if label is not None]
        if len(boxes) < len(found):
            return None
        try:
            return Boxes(boxes)
        except ValueError as problem:
            raise AnswerRefusedError(str(problem)) from None

    def class_names(self, text: str) -> Collection[str]:
        """No names: a cell without coordinates adds no class."""
        return ()

    def by_name(self) -> ByName:
        """The reader and writer of boxes with class names."""
        return _BoxesByName(self)


class _BoxesByName(ByName):
    """Boxes with class names."""

    held = ("boxes",)

    def value(self, answer: ImportedAnswer) -> Boxes | None:
        """The boxes. Raises ValueError for boxes that need the size of their image."""
        given = answer.answer
        if answer.label is not None:
            raise ValueError(f"An answer says {answer.label!r} without a box: merge files with boxes.")
        if not isinstance(given, NamedBoxes):
            return None
        if given.unit != "pixel":
            raise ValueError(
                "A file says where boxes are in shares of the image, which a merge cannot compare: import both sides "
                "into a project instead."
            )
        try:
            return Boxes(Box(self._id(box.label), box.x, box.y, box.w, box.h, box.origin) for box in given.boxes)
        except ValueError as problem:
            raise ValueError(f"An answer cannot be merged: {problem}. Correct the file first.") from None

    def answered(self, answer: ImportedAnswer, value: Boxes) -> ImportedAnswer:
        """The answer with these boxes."""
        boxes = tuple(NamedBox(**each) for each in self.cells(value)["boxes"])
        return answer.model_copy(update={"answer": NamedBoxes(boxes=boxes)})

    def cells(self, value: Boxes | None) -> dict[str, Any]:
        """The boxes as objects."""
        if value is None:
            return {"boxes": None}
        return {"boxes": [box._asdict() | {"label": self._name(box.label)} for box in value.boxes]}

    def spelled(self, answer: ImportedAnswer, spellings: Spellings) -> ImportedAnswer:
        """The answer with the first spelling of each class."""
        given = answer.answer
        if not isinstance(given, NamedBoxes):
            return answer
        boxes = tuple(box.model_copy(update={"label": spellings.of(box.label)}) for box in given.boxes)
        return answer.model_copy(update={"answer": given.model_copy(update={"boxes": boxes})})


def _joint(said: tuple[Boxes, ...]) -> Joint:
    from shared.tasks.box_matching import joint  # numpy takes a tenth of a second to import

    return joint(said)


def _boxes_in(answer: object) -> list[dict[str, Any]]:
    """The boxes in JSON: each with a class id or name, four numbers, and an origin."""
    boxes = answer.get("boxes") if isinstance(answer, dict) and answer.keys() == {"boxes"} else None
    if not isinstance(boxes, list):
        raise AnswerRefusedError(
            'its answer is not of the form {"boxes": [{"label": …, "x": …, "y": …, "w": …, "h": …}]}'
        )
    if len(boxes) > MOST_BOXES:
        raise AnswerRefusedError(f"it has {len(boxes):,} boxes, and an image may have at most {MOST_BOXES:,}")
    return [_box_in(number, each) for number, each in enumerate(boxes, 1)]


def _box_in(number: int, box: object) -> dict[str, Any]:
    fields = {"label", "x", "y", "w", "h"}
    if not isinstance(box, dict) or not fields <= box.keys() <= {*fields, "origin"}:
        raise AnswerRefusedError(f"box {number} needs label, x, y, w and h, and takes nothing else but an origin")
    if isinstance(box["label"], bool) or not isinstance(box["label"], int | str):
        raise AnswerRefusedError(f"box {number}: its label is no class id and no class name")
    if box.get("origin", "drawn") not in ORIGINS:
        raise AnswerRefusedError(f"box {number}: its origin is none of {', '.join(ORIGINS)}")
    try:
        places = {each: _number(box[each]) for each in ("x", "y", "w", "h")}
    except (TypeError, OverflowError):
        raise AnswerRefusedError(f"box {number} has a place that is no finite number") from None
    return {"label": box["label"], **places, "origin": box.get("origin", "drawn")}


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)


def _live(label: int | str, classes: ClassBook) -> int | None:
    return classes.named(label) if isinstance(label, str) else classes.resolve(label)


def _was(label: int | str, classes: ClassBook) -> bool:
    """Whether a class with this id ever existed. A deleted class's name cannot be told from a typo."""
    try:
        return not isinstance(label, str) and bool(classes.names_of(label))
    except KeyError:
        return False


def _is_class(label: int | str, held: int, classes: ClassBook) -> bool:
    live = _live(label, classes)
    if live is not None and live == classes.resolve(held):
        return True
    return label == held if isinstance(label, int) else key(label) in {key(name) for name in classes.names_of(held)}


def _is_place(box: Mapping[str, Any], held: Box) -> bool:
    """Whether `held` is this box after rounding and clipping."""
    if box["origin"] != held.origin:
        return False
    rounding = 1.5 / STEPS
    edges = (
        (held.x, box["x"]),
        (held.y, box["y"]),
        (-(held.x + held.w), -(box["x"] + box["w"])),
        (-(held.y + held.h), -(box["y"] + box["h"])),
    )
    return all(-rounding <= inner - outer <= SLACK + rounding for inner, outer in edges)


def _doubted(value: Boxes, issue: LabelIssue, live: Live) -> int | None:
    """The position of the box that an issue is about, if the box is unchanged."""
    at = issue.at
    if at is None:
        return None
    for number, each in enumerate(value.boxes):
        moved = max(abs(each.x - at.x), abs(each.y - at.y), abs(each.w - at.w), abs(each.h - at.h))
        if moved <= 2 / STEPS and each.label == live(issue.label):
            return number
    return None


def _is_boxed(place: Place, value: Boxes) -> bool:
    from shared.tasks.iou import iou

    boxes = [box[1:5] for box in value.boxes]
    return bool((iou(boxes, [[place.x, place.y, place.w, place.h]]) >= SAME_OBJECT).any())


DETECTION = Detection()
