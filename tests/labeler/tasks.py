"""Answers in projects of each task, for tests that apply to every kind of answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shared.wire.log import Annotation
from tests.labeler.projects import answer, boxes, classes

Said = Callable[..., Annotation]
"""Makes an answer about an image; different numbers from 0 to 3 give different answers, all of the classes 1 and 2."""


def _class(image_id: int, number: int, **values: Any) -> Annotation:
    return answer(image_id, number % 2 + 1, **values)


def _classes(image_id: int, number: int, **values: Any) -> Annotation:
    yes = [each for each in (1, 2) if number & each]
    return classes(image_id, yes, [each for each in (1, 2) if each not in yes], **values)


def _boxes(image_id: int, number: int, **values: Any) -> Annotation:
    drawn = [(number % 2 + 1, k, -0.5, 8, 8.123, "corrected") for k in range(number)]
    return boxes(image_id, *drawn, **values)


SAID: dict[str, Said] = {"classification": _class, "multilabel": _classes, "detection": _boxes}

every_task = pytest.mark.parametrize("task", sorted(SAID))
