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


class RunningSettings:
    """Shows and changes settings. `apply` gets the new values. Raises SettingsError for impossible values."""

    def __init__(
        self, settings: TrainerSettings, sources: Mapping[str, Source], apply: Callable[[dict[str, Any]], None]
    ) -> None:
        self._settings = settings
        self._sources = dict(sources)
        self._apply = apply
        self._strategy_at_start = settings.query_strategy
        _check_strategy(settings)

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
        _check_strategy(checked)
        before = self._settings.model_dump(mode="json")
        others = [name for name in changes if getattr(self._settings, name) != getattr(checked, name)]
        remember_changes(checked, {name: before[name] for name in others})
        self._sources.update(dict.fromkeys(changes, "changed while running"))
        if others:
            after = checked.model_dump(mode="json")
            audit.note("trainer settings changed", changes={name: [before[name], after[name]] for name in others})
        self._apply({name: getattr(checked, name) for name in changes})


def _check_strategy(settings: TrainerSettings) -> None:
    try:
        strategy_named(settings.query_strategy)
    except ValueError as error:
        raise SettingsError(str(error)) from None
