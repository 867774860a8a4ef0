"""Labeling speed per annotator and in total. Counted row by row, so that showing it never reads the log."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from shared.wire.log import Person, Row

PACE_MINUTES = 5
_MOST = 2_000  # maximum remembered answers per annotator: 400 per minute
_FEWEST, _SHORTEST = 5, 5.0  # answers, and seconds since the first of them, before a forecast relies on the speed


class _Answer(NamedTuple):
    at: datetime
    image_id: int | None
    is_label: bool


class Pace:
    """Recent answers by annotator. Has no lock of its own: callers hold the store's lock."""

    def __init__(self) -> None:
        self._given: Counter[str] = Counter()
        self._recent: dict[str, deque[_Answer]] = {}

    def observe(self, row: Row) -> None:
        """Count an answer."""
        self._given[row.annotator] += 1
        answer = _Answer(row.created_at, row.image_id, row.action == "label")
        self._recent.setdefault(row.annotator, deque(maxlen=_MOST)).append(answer)

    def per_minute(self, annotator: str | None = None) -> float:
        """Labels per minute, to one decimal: of one annotator since their first recent answer, or of everyone.

        Skips and flags take time but are not labels. The total is the sum over annotators, so that it is never below
        one annotator's speed.
        """
        now = datetime.now(UTC)
        self._forget(now - timedelta(minutes=PACE_MINUTES))
        chosen = self._recent.values() if annotator is None else [self._recent.get(annotator, deque())]
        return round(sum(_rate(answers, now) for answers in chosen), 1)

    def images_per_minute(self, counts: Callable[[int], bool] = lambda _: True) -> float:
        """Images labeled per minute by everyone, for a forecast; 0 if the recent answers are too few to tell.

        Only images for which `counts` is true.

        An image counts once, whoever answered it and however often: with `overlap` people per image, or answers given
        anew, there are fewer images than labels.
        """
        rate = self.per_minute()
        answers = [answer for each in self._recent.values() for answer in each]
        labeled = [each.image_id for each in answers if each.is_label and each.image_id is not None]
        if len(answers) < _FEWEST or not labeled:
            return 0.0
        if (datetime.now(UTC) - min(answer.at for answer in answers)).total_seconds() < _SHORTEST:
            return 0.0
        return rate * sum(map(counts, set(labeled))) / len(labeled)

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
            while answers and answers[0].at < before:
                answers.popleft()
            if not answers:
                del self._recent[annotator]


def _rate(answers: deque[_Answer], now: datetime) -> float:
    labels = sum(answer.is_label for answer in answers)
    if len(answers) < 2:
        return float(labels)
    return round(60 * labels / max((now - answers[0].at).total_seconds(), 1.0), 1)
