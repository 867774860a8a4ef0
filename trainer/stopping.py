"""When training stops by itself: a metric that is surely good enough, a budget that is spent, nothing left to ask.

A threshold looks at the lower end of the 95 % interval and wants to see it met twice in a row, at least `APART` new
test labels apart, because looking again and again at a value that wavers would stop at a lucky moment. A test sample
that does not grow, because it was brought along or is complete, is looked at with models `APART_FIXED` labels apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

APART = 20  # new test labels between the two looks that count
APART_FIXED = 50  # new train labels between them, while no test label comes


class Thresholds:
    """Whether every metric has reached its threshold; remembers the first look at which all had."""

    def __init__(self, thresholds: Mapping[str, float]) -> None:
        self.thresholds = dict(thresholds)
        self.armed = True
        self.first_met: tuple[int, int] | None = None  # test and train labels at the first of the looks that met all

    def observe(self, lower_bounds: Mapping[str, float], n_test: int, n_train: int) -> str | None:
        """Look at one evaluation of a model of `n_train` labels on `n_test` images; returns why to stop, or None.

        A metric that is missing from `lower_bounds` counts as not met.
        """
        if not self.armed or not self.thresholds:
            return None
        if any(lower_bounds.get(metric, -1.0) < goal for metric, goal in self.thresholds.items()):
            self.first_met = None
            return None
        first_test, first_train = self.first_met = self.first_met or (n_test, n_train)
        fixed = n_test == first_test and n_train - first_train >= APART_FIXED
        if n_test - first_test < APART and not fixed:
            return None
        met = [
            f"{metric.replace('_', ' ')} is at least {100 * lower_bounds[metric]:.1f} % (goal {100 * goal:.1f} %)"
            for metric, goal in self.thresholds.items()
        ]
        return f"{' and '.join(met)}, seen twice in a row, the second time on {n_test} test images"

    def disarm(self) -> None:
        """Never fire again: someone resumed after it had, and wants to go on."""
        self.armed = False

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` needs, as JSON types."""
        return {"thresholds": self.thresholds, "armed": self.armed, "first_met": self.first_met}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """As it was when `to_dict` was called."""
        thresholds = cls(state["thresholds"])
        thresholds.armed = bool(state["armed"])
        first = state["first_met"]
        thresholds.first_met = tuple(first) if isinstance(first, list) else None  # one number in files of before
        return thresholds


def budget_spent(labels: int, budget: int) -> str | None:
    """Why to stop after `labels` labels, test ones included; a `budget` of 0 is none."""
    return f"the budget of {budget} labels is spent" if 0 < budget <= labels else None


def nothing_left(remaining: int) -> str | None:
    """Why to stop when `remaining` images may still be asked."""
    return "every image has been asked" if remaining == 0 else None
