"""Reads the answers behind a label from the history in an export: every annotator's answer in force.

If the history has no annotators, comes from another tool, or contradicts the label, there are none, and the label
counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from shared.tasks.task import Value, majority

Merge = Callable[[Iterable[Value]], Value | None]
_FIELDS = ("action", "annotator", "reason", "note", "at")


def answers_of(history: Any, label: str) -> list[dict[str, Any]]:
    """Fields of `ImportedAnswer`s, oldest first; `history` is a list or its JSON, `label` is "" if there is none."""

    def read(told: Mapping[str, Any]) -> tuple[str | None, str | None]:
        given = told.get("label")
        if not isinstance(given, str | None):
            raise ValueError("is not the class of an image")  # noqa: TRY004 - readers report ValueErrors
        return given, given

    return adding_up(history, read, majority, lambda value: (value or "") == label, part="label")


def adding_up(
    history: Any,
    read: Callable[[Mapping[str, Any]], tuple[Any, Value | None]],
    merge: Merge,
    is_wanted: Callable[[Value | None], bool],
    *,
    part: str = "answer",
) -> list[dict[str, Any]]:
    """Fields of `ImportedAnswer`s, oldest first, from a history or its JSON; none unless they add up to what is wanted.

    `read` returns an answer as the `part` of an import has it, and as the log has it. It raises ValueError for what it
    cannot read; then there are none.
    """
    if history is None:
        return []
    answers: list[dict[str, Any]] = []
    said: list[tuple[str, Value | None]] = []
    try:
        for told in _counting(history):
            answer, value = read(told)
            answers.append({name: told.get(name) for name in _FIELDS} | {part: answer})
            said.append((told["action"], value))
    except ValueError:
        return []
    return answers if is_wanted(decided(said, merge)) else []


def decided(answers: Iterable[tuple[str, Value | None]], merge: Merge = majority) -> Value | None:
    """The label that follows from these actions and values, by the rules of `shared.log`; None if none does."""
    given = list(answers)
    settled = [value for action, value in given if action == "settle"]
    votes = (value for action, value in given if action == "label" and value is not None)
    return settled[-1] if settled else merge(votes)


def _counting(history: Any) -> Iterator[Mapping[str, Any]]:
    """The answers of somebody that count. Raises ValueError for a history of another tool."""
    try:
        rows = json.loads(history) if isinstance(history, str) else history
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not isinstance(rows, list) or not all(map(_is_ours, rows)):
        raise ValueError("is not a history")
    for each in rows:
        if each["counts"] and each.get("annotator"):
            yield each


def _is_ours(told: Any) -> bool:
    return isinstance(told, dict) and "counts" in told and isinstance(told.get("action"), str)
