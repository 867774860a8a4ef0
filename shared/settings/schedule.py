"""A share that changes with the number of labels, written as `0:0, 100:0.1, 1000:0.05`.

It is a step function: 0.1 from 100 labels on, then 0.05 from 1,000 on, so that the current share can be read off the
setting.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise


def share_at(schedule: float | str, labels: int) -> float:
    """The share after `labels` labels: that of the last step reached; 0 before the first step."""
    if not isinstance(schedule, str):
        return schedule
    steps = read_steps(schedule)
    reached = bisect_right([at for at, _ in steps], labels)
    return steps[reached - 1][1] if reached else 0.0


def read_steps(schedule: str) -> list[tuple[int, float]]:
    """The (labels, share) pairs of a schedule. Raises ValueError with a fragment of a sentence."""
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
        raise ValueError("must list label counts from 0 on, in increasing order")
    return steps
