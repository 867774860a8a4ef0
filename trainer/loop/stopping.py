"""Rules that stop training: a metric is reliably good enough, the budget is spent, or nothing is left to ask.

A threshold applies to the lower end of the 95 % interval. It must be met twice in a row, at least `APART` new test
labels apart, because repeated checks of a noisy value would stop at a lucky moment. If the test sample does not grow,
because it was imported or is complete, the two checks are `APART_FIXED` train labels apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self

from shared.figures import METRIC_NAMES, percent
from shared.settings.services import TrainerSettings

Rule = Literal["thresholds", "budget", "nothing_left"]
APART = 20  # new test labels between the two checks
APART_FIXED = 50  # new train labels between them, while the test sample does not grow


class Thresholds:
    """Whether every metric has reached its threshold. Remembers the first check at which all had."""

    def __init__(self, thresholds: Mapping[str, float]) -> None:
        self.thresholds = dict(thresholds)
        self.armed = True
        self.first_met: tuple[int, int] | None = None  # test and train labels at the first check that met all

    def observe(self, lower_bounds: Mapping[str, float], n_test: int, n_train: int) -> str | None:
        """Check the evaluation of a model with `n_train` labels on `n_test` images; returns the reason to stop, or
        None.

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
            f"{METRIC_NAMES.get(metric, metric.replace('_', ' '))} is at least {percent(lower_bounds[metric], 1)} "
            f"(goal {percent(goal, 1)})"
            for metric, goal in self.thresholds.items()
        ]
        return f"{' and '.join(met)}, twice in a row, the second time on {n_test} test images"

    def disarm(self) -> None:
        """Disable the rule, because somebody resumed after it applied."""
        self.armed = False

    def to_dict(self) -> dict[str, Any]:
        """The state for `from_dict`, as JSON types."""
        return {"thresholds": self.thresholds, "armed": self.armed, "first_met": self.first_met}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """Restore the state from `to_dict`."""
        thresholds = cls(state["thresholds"])
        thresholds.armed = bool(state["armed"])
        first = state["first_met"]
        thresholds.first_met = tuple(first) if isinstance(first, list) else None  # older files contain one number
        return thresholds


class StoppingRules:
    """The rules of one project; each returns the reason to stop, or None.

    `state` is everything they remember, as JSON types; the caller keeps it over restarts. When somebody resumes, only
    the rule that applied is disabled.
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
        """Record that somebody answered here; only then does running out of images stop training."""
        self.state["asked"] = True

    def stopped(self, rule: Rule | None) -> None:
        """Record which rule stopped training; None for a person, or when training continues."""
        self.state["fired"] = rule

    def resumed(self) -> None:
        """Disable the rule that stopped training, because somebody resumed."""
        fired: Rule | None = self.state.get("fired")
        if fired == "thresholds":
            self._thresholds.disarm()
            self.state["thresholds"] = self._thresholds.to_dict()
        elif fired is not None:
            self.state[f"{fired}_disarmed"] = True

    def changed(self, names: Iterable[str]) -> None:
        """Enable the rules of changed settings again."""
        if "early_stopping_metrics_thresholds" in names:
            self._thresholds = Thresholds(self._settings.early_stopping_metrics_thresholds)
        if "label_budget" in names:
            self.state.pop("budget_disarmed", None)

    def measured(self, lower_bounds: Mapping[str, float], n_test: int, n_train: int) -> str | None:
        """Check the thresholds after an evaluation, see `Thresholds.observe`."""
        reason = self._thresholds.observe(lower_bounds, n_test, n_train)
        self.state["thresholds"] = self._thresholds.to_dict()
        return reason

    @property
    def budget(self) -> int:
        """The current label budget; 0 if there is none or somebody resumed beyond it."""
        return 0 if self.state.get("budget_disarmed") else self._settings.label_budget

    def given(self, labels: int) -> str | None:
        """Check the budget after `labels` labels were given here, test images included."""
        budget = self.budget
        return f"the budget of {budget:,} labels is spent" if 0 < budget <= labels else None

    def left(self, images: int | None) -> str | None:
        """Check whether anything is left to ask: the number of images, or None if unknown."""
        if images:
            self.state.pop("nothing_left_disarmed", None)
        ended = images == 0 and self.state.get("asked") and not self.state.get("nothing_left_disarmed")
        return "every image has been asked" if ended else None
