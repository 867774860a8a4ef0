"""Labeling speed per annotator and in total. Counted row by row, so that showing it never reads the log."""

from __future__ import annotations

from collections import Counter, deque
from datetime import UTC, datetime, timedelta

from shared.wire.log import Person, Row

PACE_MINUTES = 5
_MOST = 2_000  # maximum remembered answers per annotator: 400 per minute


class Pace:
    """Recent answers by annotator. Has no lock of its own: callers hold the store's lock."""

    def __init__(self) -> None:
        self._given: Counter[str] = Counter()
        self._recent: dict[str, deque[tuple[datetime, bool]]] = {}  # when, and whether a label was given

    def observe(self, row: Row) -> None:
        """Count an answer."""
        self._given[row.annotator] += 1
        self._recent.setdefault(row.annotator, deque(maxlen=_MOST)).append((row.created_at, row.action == "label"))

    def per_minute(self, annotator: str | None = None) -> float:
        """Labels per minute, to one decimal: of one annotator since their first recent answer, or of everyone.

        Skips and flags take time but are not labels. The total is the sum over annotators, so that it is never below
        one annotator's speed.
        """
        now = datetime.now(UTC)
        self._forget(now - timedelta(minutes=PACE_MINUTES))
        chosen = self._recent.values() if annotator is None else [self._recent.get(annotator, deque())]
        return round(sum(_rate(answers, now) for answers in chosen), 1)

    def people(self) -> list[Person]:
        """Everyone who ever answered, most answers first."""
        return [
            Person(name=name, answers=answers, per_minute=self.per_minute(name))
            for name, answers in self._given.most_common()
        ]

    def active(self) -> list[Person]:
        """Annotators who answered in the last minutes."""
        return [person for person in self.people() if person.name in self._recent]

    def _forget(self, before: datetime) -> None:
        for annotator, answers in list(self._recent.items()):
            while answers and answers[0][0] < before:
                answers.popleft()
            if not answers:
                del self._recent[annotator]


def _rate(answers: deque[tuple[datetime, bool]], now: datetime) -> float:
    labels = sum(is_label for _, is_label in answers)
    if len(answers) < 2:
        return float(labels)
    return round(60 * labels / max((now - answers[0][0]).total_seconds(), 1.0), 1)
