"""Settings that can be shown and changed while the trainer runs. Changes are kept in the workspace's project.toml."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shared.settings.changing import changed
from shared.settings.services import SettingsError, TrainerSettings
from shared.settings.starting import remember_changes
from shared.settings.traits import CHANGEABLE, settings_with
from shared.web import audit
from shared.wire.fields import Source
from shared.wire.project import SettingView
from trainer.strategies import strategy_named
from trainer.tasks.task import Task


class RunningSettings:
    """Shows and changes settings. `apply` gets the new values, `task` is that of the project, if one is known. Raises
    SettingsError for impossible values.
    """

    def __init__(
        self,
        settings: TrainerSettings,
        sources: Mapping[str, Source],
        apply: Callable[[dict[str, Any]], None],
        task: Callable[[], Task | None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._sources = dict(sources)
        self._apply = apply
        self._task = task
        self._strategy_at_start = settings.query_strategy
        _check_strategy(settings, None)

    @property
    def problem(self) -> str | None:
        """Why a setting cannot work in the project that is followed now, or None."""
        try:
            _check(self._settings, self._task())
        except SettingsError as error:
            return str(error)
        return None

    def show(self) -> dict[str, SettingView]:
        """Every setting with its value, its source, and whether it can be changed while running."""
        values, changeable = self._settings.model_dump(mode="json"), settings_with(CHANGEABLE, TrainerSettings)
        return {
            name: SettingView(value=value, source=self._sources.get(name, "default"), changeable=name in changeable)
            for name, value in values.items()
        }

    def change(self, changes: Mapping[str, Any]) -> None:
        """Apply new values. Raises SettingsError with one sentence, and then changes nothing."""
        checked = changed(self._settings, changes, settings_with(CHANGEABLE, TrainerSettings))
        named = changes.get("query_strategy", self._strategy_at_start)
        if ":" in str(named) and named != self._strategy_at_start:
            raise SettingsError("Your own query strategy can only be named in the settings at start, not by a request.")
        _check_strategy(checked, self._task() if "query_strategy" in changes else None)
        if "early_stopping_metrics_thresholds" in changes:
            _check_thresholds(checked, self._task())
        before = self._settings.model_dump(mode="json")
        others = [name for name in changes if getattr(self._settings, name) != getattr(checked, name)]
        remember_changes(checked, {name: before[name] for name in others})
        self._sources.update(dict.fromkeys(changes, "changed while running"))
        if others:
            after = checked.model_dump(mode="json")
            audit.note("trainer settings changed", changes={name: [before[name], after[name]] for name in others})
        self._apply({name: getattr(checked, name) for name in changes})


def _check(settings: TrainerSettings, task: Task | None) -> None:
    _check_strategy(settings, task)
    _check_thresholds(settings, task)


def _check_strategy(settings: TrainerSettings, task: Task | None) -> None:
    try:
        boxes = task is not None and task.learns_from_images
        strategy_named(settings.query_strategy, several=task is not None and task.several, boxes=boxes)
    except ValueError as error:
        raise SettingsError(str(error)) from None


def _check_thresholds(settings: TrainerSettings, task: Task | None) -> None:
    measured = None if task is None else task.measures
    wrong = sorted(set(settings.early_stopping_metrics_thresholds) - measured) if measured is not None else []
    if task is not None and measured is not None and wrong:
        raise SettingsError(
            f"The trainer setting 'early_stopping_metrics_thresholds' names {wrong[0]!r}, which the task {task.name} "
            f"does not measure; choose from {', '.join(sorted(measured))}."
        )
