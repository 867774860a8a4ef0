"""A warning before promoting a version: it is measurably worse than what is in use, or it was never measured."""

from __future__ import annotations

from math import hypot

from shared.figures import accuracy_in_words, is_measured
from shared.wire.evaluation import Interval


def warning(
    name: str, candidate: Interval | None, used: str, in_use: Interval | None, *, figure: str = "accuracy"
) -> str | None:
    """A warning with the `figure` of both versions, or None if nothing speaks against the promotion."""
    if candidate is None or not is_measured(candidate):
        said = f"The {figure} of {name} is unknown ({accuracy_in_words(candidate)})."
        return f"{said} {_used(used, in_use)}"
    if in_use is not None and is_measured(in_use) and is_worse(candidate, in_use):
        worse = f"{name} is measurably worse: its {figure} is {accuracy_in_words(candidate)}."
        return f"{worse[:1].upper()}{worse[1:]} {_used(used, in_use)}"
    return None


def is_worse(candidate: Interval, in_use: Interval) -> bool:
    """Whether the 95 % interval of the difference lies below zero (Newcombe 1998, from two Wilson intervals)."""
    difference = candidate.value - in_use.value
    return difference + hypot(candidate.high - candidate.value, in_use.value - in_use.low) < 0


def _used(name: str, accuracy: Interval | None) -> str:
    return f"{name[:1].upper()}{name[1:]}, in use now: {accuracy_in_words(accuracy)}."
