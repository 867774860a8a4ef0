"""A simulated person for boxes: accepts good suggestions, corrects loose ones, deletes false ones, draws the others.

The truth comes from any file with boxes that Flywheel can import. The person is as imprecise as people are: each edge
of a drawn or corrected box is off by a few percent of the box, and no object is missed. Actions are counted as in the
trainer's choice of its threshold: a correction, a new box and a deletion cost one each, accepting is free.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np

from commands.labels.annotator import Annotator, Label, Simulation
from shared.class_names import key
from shared.figures import many
from shared.settings.services import SettingsError
from shared.storage.file_errors import cause_of
from shared.tasks.box_actions import Actions, actions, used
from shared.wire.imports import ImportIssue, ImportRow, NamedBox, NamedBoxes

JITTER: Final = 0.03
"""Standard deviation of a drawn edge, as a share of the box's width or height."""
FIRST: Final = 5
"""Number of labels below which a detector learns nothing."""
LEARN_SECONDS, STILL_SECONDS, NEXT_SECONDS, POLL_SECONDS = 300.0, 60.0, 10.0, 0.1
"""Seconds to wait for the detector: in total, while it makes no progress, for the next list, and between requests."""
_FIRST: Final = 3  # maximum number of printed problems

Place = tuple[float, float, float, float]
"""x, y, width, height."""


def read_boxes(path: Path) -> tuple[dict[str, Label], list[str]]:
    """File name → its boxes, from a file or folder with boxes; and sentences about what was not read.

    An image that the file lists without a box has nothing in it, because the file is the whole truth. Raises
    SettingsError.
    """
    from labeler.transfer.boxes.opening import open_boxes
    from labeler.transfer.rows.imported import Chosen

    source = open_boxes(path, Chosen(empty=True))
    truth: dict[str, Label] = {}
    problems: list[ImportIssue] = []
    try:
        for row in source.rows():
            if isinstance(row, ImportIssue):
                problems.append(row)
            elif isinstance(row, ImportRow) and isinstance(row.answer, NamedBoxes):
                truth[row.uri] = row.answer
    except (OSError, csv.Error) as error:
        raise SettingsError(f"The boxes in {path} cannot be read: {cause_of(error)}.") from None
    said = [*source.told(), *(f"not read: {each}" for each in problems[:_FIRST])]
    if len(problems) > _FIRST:
        said.append(f"not read: {many(len(problems) - _FIRST, 'more row')}")
    return truth, said


class BoxAnnotator(Annotator):
    """One page of one person who boxes objects."""

    def __init__(
        self,
        url: str,
        truth: Mapping[str, Label],
        *,
        name: str = "simulated",
        token: str | None = None,
        suggestions: bool = True,
        jitter: float = JITTER,
        seed: int = 0,
    ) -> None:
        """`suggestions`: whether the person uses the boxes that come with an image, or draws every box."""
        super().__init__(url, truth, name=name, token=token)
        self._uses, self._jitter, self._random = suggestions, jitter, Random(seed)
        self.unseen = 0  # number of true boxes that are invisible: outside the image, or smaller than a pixel

    def measured(self) -> Any:
        """The mean average precision at IoU 0.5 of the last evaluation, with its interval."""
        return self.get("/api/project").get("map_50")

    def _wait_for_queue(self, since: float, seq: int) -> float | None:
        """Seconds from the last answer until the detector had learned it and suggested boxes again.

        A detector learns in rounds of several seconds, after the queue has processed the answers. No person answers
        faster.
        """
        if super()._wait_for_queue(since, seq) is None:
            return None
        project = self._learned(since)
        version = project["query_version"]
        until = time.monotonic() + NEXT_SECONDS
        while self.get("/api/project")["query_version"] <= version and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
        return time.monotonic() - since

    def _learned(self, since: float) -> Any:
        """The project, once the detector has learned every label or makes no more progress."""
        before, changed = -1, time.monotonic()
        while True:
            project = self.get("/api/project")
            learned = (project["trainer"]["detail"] or {}).get("labels", 0)
            if learned != before:
                before, changed = learned, time.monotonic()
            now = time.monotonic()
            labeled = project["splits"]["train"]["labeled"]
            if learned >= labeled or labeled < FIRST or now - changed > STILL_SECONDS or now - since > LEARN_SECONDS:
                return project
            time.sleep(POLL_SECONDS)

    def _fields(self, label: Label | None, item: Mapping[str, Any], result: Simulation) -> dict[str, Any]:
        if not isinstance(label, NamedBoxes):
            result.actions.append(Actions())
            return {"label": None}
        size = item["width"], item["height"]
        truth = in_pixels(label, size)
        self.unseen += len(label.boxes) - len(truth.boxes)
        suggested = item["boxes"] if self._uses else []
        boxes, done = draw(truth, suggested, size, self._jitter, self._random)
        result.actions.append(done)
        return {"answer": {"boxes": boxes}}


def in_pixels(boxes: NamedBoxes, size: tuple[int, int]) -> NamedBoxes:
    """The boxes in pixels of an image of this size, without those outside it or smaller than a pixel.

    Raises SettingsError for boxes of an image of another size.
    """
    from labeler.transfer.rows.box_places import placed
    from shared.tasks.task import AnswerRefusedError

    across, down = size if boxes.unit == "share" else (1, 1)

    def is_seen(box: NamedBox) -> bool:
        wide = min((box.x + box.w) * across, size[0]) - max(box.x * across, 0)
        high = min((box.y + box.h) * down, size[1]) - max(box.y * down, 0)
        return wide >= 1 and high >= 1

    try:
        return placed(boxes.model_copy(update={"boxes": tuple(filter(is_seen, boxes.boxes))}), size)[0]
    except AnswerRefusedError as problem:
        raise SettingsError(f"An image {problem}. Correct the file of true boxes first.") from None


def draw(
    truth: NamedBoxes, suggested: Sequence[Mapping[str, Any]], size: tuple[int, int], jitter: float, random: Random
) -> tuple[list[dict[str, Any]], Actions]:
    """The boxes that the person confirms on an image, and the actions it took."""
    shown = [(each["x"], each["y"], each["w"], each["h"]) for each in suggested]
    wanted = [(box.x, box.y, box.w, box.h) for box in truth.boxes]
    names = [key(str(each["name"])) for each in suggested], [key(box.label) for box in truth.boxes]
    found = used(shown, wanted, np.array(names[0], str)[:, None] == np.array(names[1], str)[None])
    boxes: list[dict[str, Any]] = []
    for number, box in enumerate(truth.boxes):
        place, good = found.get(number, (None, False))
        if place is not None and good:
            given = suggested[place]
            kept = {name: given[name] for name in ("x", "y", "w", "h")}
            boxes.append({"label": box.label, **kept, "origin": "accepted"})
        else:
            drawn = imprecise(wanted[number], size, jitter, random)
            origin = "drawn" if place is None else "corrected"
            boxes.append({"label": box.label, **dict(zip("xywh", drawn, strict=True)), "origin": origin})
    return boxes, actions(found, len(suggested), len(truth.boxes))


def imprecise(place: Place, size: tuple[int, int], jitter: float, random: Random) -> Place:
    """The box as a person draws it: each edge is off by about `jitter` of its width or height, inside the image."""
    x, y, w, h = place
    off = [max(-2.0, min(2.0, random.gauss(0, 1))) * jitter for _ in range(4)]
    left, right = sorted((x + off[0] * w, x + w + off[1] * w))
    top, bottom = sorted((y + off[2] * h, y + h + off[3] * h))
    left, top = max(0.0, min(left, size[0] - 1.0)), max(0.0, min(top, size[1] - 1.0))
    right, bottom = min(float(size[0]), max(right, left + 1)), min(float(size[1]), max(bottom, top + 1))
    return round(left, 2), round(top, 2), round(right - left, 2), round(bottom - top, 2)


def write_actions(path: Path, result: Simulation) -> None:
    """A CSV with a row per image, in the order of the answers. Raises SettingsError if it cannot be written."""
    try:
        with path.open("w", newline="", encoding="utf-8") as stream:
            table = csv.writer(stream)
            table.writerow(("image_id", "purpose", "answer", "drawn", "corrected", "deleted", "accepted", "actions"))
            for (image_id, said, purpose), done in zip(result.answers, result.actions, strict=True):
                counts = (done.drawn, done.corrected, done.deleted, done.accepted, done.total)
                table.writerow((image_id, purpose, said or "skip", *counts))
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}.") from None


def in_words(actions: Iterable[Actions]) -> str:
    """All actions in a sentence, compared with their number without suggestions."""
    done = sum(actions, Actions())
    boxes = done.drawn + done.corrected + done.accepted
    return (
        f"{done.total:,} actions ({done.drawn:,} drawn, {done.corrected:,} corrected, {done.deleted:,} deleted; "
        f"{done.accepted:,} accepted without one). Without suggestions: {boxes:,}."
    )
