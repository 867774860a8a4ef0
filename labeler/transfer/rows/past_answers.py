"""The answers behind a label, from the history in an export: those of every annotator that count.

There are none if the history has no annotators, comes from another tool, or contradicts the label; then the label
counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from labeler.transfer.rows.several import answers_of as sums_to
from shared.tasks.task import Value, majority
from shared.wire.imports import NamedAnswer, NamedClasses


def answers_of(
    history: Any, label: str, answer: NamedAnswer | None = None, *, several: bool = False
) -> list[dict[str, Any]]:
    """Fields of `ImportedAnswer`s, oldest first; `history` is a list or its JSON, `label` is "" if there is none.

    In a multi-label project (`several`), the row says `answer` instead of a label.
    """
    if isinstance(history, str):
        try:
            history = json.loads(history)
        except (ValueError, RecursionError):
            return []
    if not isinstance(history, list):
        return []
    if several:
        said = answer if isinstance(answer, NamedClasses) else None
        return sums_to(history, said) if all(isinstance(each, dict) and "counts" in each for each in history) else []
    if not all(map(_is_ours, history)):
        return []
    answers = [
        {name: each.get(name) for name in ("action", "label", "annotator", "reason", "note", "at")}
        for each in history
        if each["counts"] and each.get("annotator")
    ]
    return answers if (decided((each["action"], each["label"]) for each in answers) or "") == label else []


def _is_ours(told: Any) -> bool:
    return isinstance(told, dict) and "counts" in told and isinstance(told.get("label"), str | None)


Merge = Callable[[Iterable[Value]], Value | None]


def decided(answers: Iterable[tuple[str, Value | None]], merge: Merge = majority) -> Value | None:
    """The label that follows from these actions and values, by the rules of `shared.log`; None if none does."""
    given = list(answers)
    settled = [value for action, value in given if action == "settle"]
    return settled[-1] if settled else merge(value for action, value in given if action == "label")
