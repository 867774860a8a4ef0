"""A share that changes with the labels spent, written as `0:0, 100:0.1, 1000:0.05`.

Steps, not slopes: from 100 labels on it is 0.1, until at 1,000 it becomes 0.05, so that what is in force can be read
off the setting.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise


def share_at(schedule: float | str, labels: int) -> float:
    """The share in force once `labels` are spent: of the last step at or below; 0 before the first."""
    if not isinstance(schedule, str):
        return schedule
    steps = read_steps(schedule)
    reached = bisect_right([at for at, _ in steps], labels)
    return steps[reached - 1][1] if reached else 0.0


def read_steps(schedule: str) -> list[tuple[int, float]]:
    """The (labels, share) pairs of a schedule. Raises ValueError with a fragment for a person."""
    steps = []
    for pair in schedule.split(","):
        labels, _, share = pair.partition(":")
        try:
            steps.append((int(labels), float(share)))
        except ValueError:
            raise ValueError(
                f"must be a share or pairs labels:share such as 0:0, 100:0.1, not {pair.strip()!r}"
            ) from None
    if any(not 0.0 <= share <= 1.0 for _, share in steps):
        raise ValueError("has a share that is not between 0 and 1")
    if steps[0][0] < 0 or any(next_at <= at for (at, _), (next_at, _) in pairwise(steps)):
        raise ValueError("must name labels from 0 up, each more than the one before")
    return steps
