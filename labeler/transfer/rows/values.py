"""Numbers and times as people write them in tables: `0,9`, `90 %`, Excel's days, `31.12.2025 14:05`.

Some questions can only be answered from the whole column: whether scores are percentages, and whether the day or the
month comes first. An ambiguous time is refused, not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

_DATE: Final = re.compile(
    r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})(?:[ T,]+(\d{1,2}):(\d{2})(?::(\d{2}))?\s*([ap]\.?m\.?)?)?", re.IGNORECASE
)
_WHOLE: Final = re.compile(r"\d+\.0")
_EXCEL_BEGAN: Final = datetime(1899, 12, 30, tzinfo=UTC)
_EXCEL_DAYS: Final = (25_569.0, 80_000.0)  # 1970 to 2119


@dataclass(frozen=True, slots=True)
class Habits:
    """How a table writes numbers and times; None if unknown: then each number above 1 is a percentage."""

    percent: bool | None = None
    day_first: bool | None = None
    gapped: bool = False  # whether gaps in the column turned whole-number classes into 1.0

    def told(self) -> list[str]:
        """Sentence fragments for the report."""
        order = {True: ["dates as day, month, year"], False: ["dates as month, day, year"], None: []}[self.day_first]
        numbers = ["classes 1.0 as 1, since their column has gaps"] if self.gapped else []
        return [*(["scores in percent"] if self.percent else []), *order, *numbers]

    def name(self, label: str) -> str:
        """The class name in a cell of the class column."""
        return label[:-2] if self.gapped and _WHOLE.fullmatch(label) else label


def habits_of(scores: Sequence[str], times: Sequence[str], labels: Sequence[str] = ()) -> Habits:
    """Detect the habits from cells of the columns for score, time and class."""
    numbers = [number for text in scores if (number := _number(text)) is not None]
    dates = [found for text in times if (found := _DATE.fullmatch(text.strip()))]
    day_first = None
    if dates:
        first, second = ({int(found[group]) for found in dates} for group in (1, 3))
        if max(first) > 12 or any(found[2] == "." for found in dates):
            day_first = True
        elif max(second) > 12:
            day_first = False
    percent = sum(number > 1 for number in numbers) * 2 > len(numbers) if numbers else None
    named = [label for label in labels if label]
    gapped = 0 < len(named) < len(labels) and all(map(_WHOLE.fullmatch, named))  # as pandas writes integers
    return Habits(percent, day_first, gapped)


def share(text: str, habits: Habits) -> float:
    """A score as a number from 0 to 1. Raises ValueError."""
    number = _number(text)
    if number is None:
        raise ValueError(f"{text!r} is not a number")
    if habits.percent or text.rstrip().endswith("%") or (habits.percent is None and number > 1):
        number /= 100
    if not 0 <= number <= 1:
        raise ValueError(f"{text!r} is not from 0 to 1" + ("" if habits.percent is False else ", nor from 0 to 100 %"))
    return number


def moment(text: str, habits: Habits) -> str | datetime:
    """A time in a form that the messages accept. Raises ValueError."""
    if text[4:5] == "-":
        return text
    try:
        days = float(text.replace(",", "."))
    except ValueError:
        days = 0.0
    if _EXCEL_DAYS[0] <= days < _EXCEL_DAYS[1]:
        return _EXCEL_BEGAN + timedelta(seconds=round(days * 86_400))
    found = _DATE.fullmatch(text)
    if found is None:
        return text
    first, separator, second, year, hour, minute, seconds, half = found.groups()
    day_first = habits.day_first if habits.day_first is not None or separator != "." else True
    if day_first is None:
        if int(first) <= 12 and int(second) <= 12 and first != second:
            raise ValueError(f"{text!r} may have the day or the month first: write it as 2025-12-31")
        day_first = int(first) > 12
    day, month = (first, second) if day_first else (second, first)
    hours = int(hour or 0)
    if half:
        hours = hours % 12 + 12 * (half[0].lower() == "p")
    return datetime(int(year), int(month), int(day), hours, int(minute or 0), int(seconds or 0), tzinfo=UTC)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        try:
            return float(text.replace("%", "").strip().replace(",", "."))
        except ValueError:
            return None
