"""The answers behind a label, from the history in an export: those of every annotator that count.

There are none if the history has no annotators, comes from another tool, or contradicts the label; then the label
counts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any


def answers_of(history: Any, label: str) -> list[dict[str, Any]]:
    """Fields of `ImportedAnswer`s, oldest first; `history` is a list or its JSON, `label` is "" if there is none."""
    if isinstance(history, str):
        try:
            history = json.loads(history)
        except (ValueError, RecursionError):
            return []
    if not isinstance(history, list) or not all(map(_is_ours, history)):
        return []
    answers = [
        {name: each.get(name) for name in ("action", "label", "annotator", "reason", "note", "at")}
        for each in history
        if each["counts"] and each.get("annotator")
    ]
    return answers if decided((each["action"], each["label"]) for each in answers) == label else []


def _is_ours(told: Any) -> bool:
    return isinstance(told, dict) and "counts" in told and isinstance(told.get("label"), str | None)


def decided(answers: Iterable[tuple[str, str | None]]) -> str:
    """The label that follows from (action, label) pairs, by the rule of `shared.log`; "" if none does."""
    given = list(answers)
    settled = [label for action, label in given if action == "settle"]
    votes = Counter(label for action, label in given if action == "label").most_common(2)
    if settled:
        return settled[-1] or ""
    return (votes[0][0] or "") if len(votes) == 1 or (votes and votes[0][1] > votes[1][1]) else ""
