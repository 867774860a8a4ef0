"""When training stops by itself: a metric that is surely good enough, a budget that is spent, nothing left to ask.

A threshold looks at the lower end of the 95 % interval and wants to see it met twice in a row, at least `APART` new
test labels apart, because looking again and again at a value that wavers would stop at a lucky moment. A test sample
that does not grow, because it was brought along or is complete, is looked at with models `APART_FIXED` labels apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self

from shared.figures import percent
from shared.settings.services import TrainerSettings

Rule = Literal["thresholds", "budget", "nothing_left"]
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
            f"{metric.replace('_', ' ')} is at least {percent(lower_bounds[metric], 1)} (goal {percent(goal, 1)})"
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


class StoppingRules:
    """The rules of one project; each says why to stop, or None.

    `state` is all that they remember, as JSON types; whoever made them keeps it over restarts. When somebody resumes,
    the rule that fired is disarmed, and no other.
    """

    def __init__(self, settings: TrainerSettings, state: dict[str, Any]) -> None:
        self._settings = settings
        self.state = state
        wanted, kept = settings.early_stopping_metrics_thresholds, state.get("thresholds")
        if kept is not None and kept["thresholds"] == wanted:
            self._thresholds = Thresholds.from_dict(kept)
        else:
            self._thresholds = Thresholds(wanted)

    def answered(self) -> None:
        """Somebody answered here, so that it is news when nothing is left to ask."""
        self.state["asked"] = True

    def stopped(self, rule: Rule | None) -> None:
        """Training stops, by a rule or, with None, because somebody pressed the button; or goes on."""
        self.state["fired"] = rule

    def resumed(self) -> None:
        """Someone resumed after a stop: what fired does not fire again by itself."""
        fired: Rule | None = self.state.get("fired")
        if fired == "thresholds":
            self._thresholds.disarm()
            self.state["thresholds"] = self._thresholds.to_dict()
        elif fired is not None:
            self.state[f"{fired}_disarmed"] = True

    def changed(self, names: Iterable[str]) -> None:
        """These settings were changed while running: what they say is armed anew."""
        if "early_stopping_metrics_thresholds" in names:
            self._thresholds = Thresholds(self._settings.early_stopping_metrics_thresholds)
        if "label_budget" in names:
            self.state.pop("budget_disarmed", None)

    def measured(self, lower_bounds: Mapping[str, float], n_test: int, n_train: int) -> str | None:
        """After an evaluation, see `Thresholds.observe`."""
        reason = self._thresholds.observe(lower_bounds, n_test, n_train)
        self.state["thresholds"] = self._thresholds.to_dict()
        return reason

    @property
    def budget(self) -> int:
        """The label budget in force; 0: none, or somebody went on beyond it."""
        return 0 if self.state.get("budget_disarmed") else self._settings.label_budget

    def given(self, labels: int) -> str | None:
        """After `labels` labels were given here, test ones included; a budget of 0 is none."""
        budget = self.budget
        return f"the budget of {budget:,} labels is spent" if 0 < budget <= labels else None

    def left(self, images: int | None) -> str | None:
        """While so many images may still be asked; None when that cannot be said."""
        if images:
            self.state.pop("nothing_left_disarmed", None)
        ended = images == 0 and self.state.get("asked") and not self.state.get("nothing_left_disarmed")
        return "every image has been asked" if ended else None
