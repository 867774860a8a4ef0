"""The answers that could settle an image on whose boxes people differ: each person's, the majority's, every box of
anybody, and the boxes that everybody drew."""

from __future__ import annotations

from collections.abc import Mapping

from shared.log import Fold
from shared.tasks.box_matching import Group, groups, mean
from shared.tasks.detection import MOST_BOXES, Boxes
from shared.wire.review import Choice


def choices(fold: Fold, votes: Mapping[str, Boxes], majority: Boxes | None) -> list[Choice]:
    """Different answers, each once. A combined answer has no object whose class is a tie."""
    found = [Choice(kind="one", annotator=who, **_said(fold, said)) for who, said in votes.items()]
    objects = groups(list(votes.values()))
    common = [each for each in objects if len(each) == len(votes)]
    joint = {"majority": majority, "all": _boxes(objects), "common": _boxes(common)}
    told = set(votes.values())
    for kind, value in joint.items():
        if value is not None and value not in told:
            told.add(value)
            found.append(Choice.model_validate({"kind": kind, **_said(fold, value)}))
    return found


def _boxes(objects: list[Group]) -> Boxes | None:
    try:
        return Boxes(sorted(map(mean, objects))) if len(objects) <= MOST_BOXES else None
    except ValueError:
        return None  # a tie on a class


def _said(fold: Fold, value: Boxes) -> dict[str, object]:
    return {"name": fold.text(value), "answer": fold.shown_answer(value)}
