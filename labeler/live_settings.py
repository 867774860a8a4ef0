"""Shows and changes the settings of a running labeler. Changes are stored in the workspace's project.toml."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from labeler.errors import Invalid, NotSaved
from shared.settings.changing import changed
from shared.settings.services import LabelerSettings, SettingsError, is_loopback
from shared.settings.starting import remember_changes
from shared.settings.traits import CHANGEABLE, settings_with
from shared.storage.database import masked
from shared.storage.disk_errors import Disk
from shared.web import audit
from shared.wire.fields import Source
from shared.wire.project import SettingView


class RunningSettings:
    """The settings in use. `on_change` is called with the names of the settings whose value changed.

    If there is a token, a request may not change an address that the token is sent to.
    """

    def __init__(
        self,
        settings: LabelerSettings,
        sources: Mapping[str, Source],
        on_change: Callable[[set[str]], None],
        *,
        has_token: bool = False,
        disk: Disk | None = None,
    ) -> None:
        self._settings = settings
        self._sources: dict[str, Source] = dict(sources)
        self._on_change = on_change
        self._changeable = set(settings_with(CHANGEABLE, LabelerSettings)) - ({"trainer_url"} if has_token else set())
        self._disk = disk or Disk(settings.workspace)

    def show(self) -> dict[str, SettingView]:
        """Every setting with its value, its source and whether it can be changed now; passwords are masked."""
        values = self._settings.model_dump(mode="json")
        values["database_url"] = masked(self._settings.database_url)
        changeable = self._changeable
        return {
            name: SettingView(value=value, source=self._sources.get(name, "default"), changeable=name in changeable)
            for name, value in values.items()
        }

    def change(self, patch: Mapping[str, Any]) -> dict[str, SettingView]:
        """Set new values, all or none. Raises Invalid, which names the setting, and NotSaved."""
        if "trainer_url" in patch and "trainer_url" not in self._changeable:
            raise Invalid(
                "The labeler setting 'trainer_url' cannot change while running, because the token is sent there: "
                "start the labeler again with --trainer-url."
            )
        try:
            wanted = changed(self._settings, patch, self._changeable)
        except SettingsError as error:
            raise Invalid(str(error)) from None
        host = urlsplit(wanted.trainer_url).hostname or ""
        if wanted.trainer_url != self._settings.trainer_url and not is_loopback(host):
            raise Invalid(
                "While the labeler runs, 'trainer_url' can only become an address of this machine, such as "
                "http://127.0.0.1:3333: for another machine, start the labeler again with --trainer-url."
            )
        others = {name for name in patch if getattr(self._settings, name) != getattr(wanted, name)}
        before = self._settings.model_dump(mode="json")
        try:
            remember_changes(wanted, {name: before[name] for name in others})
        except SettingsError as error:
            trouble = self._disk.notice(error)
            if trouble is not None:
                raise NotSaved(trouble) from error
            raise Invalid(str(error)) from None
        for name in others:
            setattr(self._settings, name, getattr(wanted, name))
            self._sources[name] = "changed while running"
        if others:
            after = self._settings.model_dump(mode="json")
            audit.note("labeler settings changed", changes={name: [before[name], after[name]] for name in others})
        self._on_change(others)
        return self.show()
