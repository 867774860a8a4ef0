"""Starts both services for a notebook or a script: checks their settings, starts each process, and waits.

Settings are Python values. A list or mapping reaches a service as JSON in its environment, everything else on its
command line, so a class name may contain a comma.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from commands.running.supervisor import Child, child_environment, flags, free_port
from shared.settings.services import LabelerSettings, ServiceSettings, SettingsError, TrainerSettings
from shared.web.server import bind

ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - the address to reach such a service from this machine


class Pair:
    """A labeler and a trainer. `start` starts them; `labeler` and `trainer` are their addresses."""

    def __init__(
        self,
        images: str | Path,
        workspace: str | Path,
        classes: Sequence[str],
        labeler: Mapping[str, Any],
        trainer: Mapping[str, Any],
    ) -> None:
        """Checks all settings. Raises SettingsError for an impossible one, and for a port that is in use."""
        places = {"images": str(Path(images).absolute()), "workspace": str(Path(workspace).absolute())}
        one = _addressed({**places, **({"classes": list(classes)} if classes else {}), **labeler}, "labeler")
        other = _addressed({**places, **trainer}, "trainer")
        self.labeler, self.trainer = _url(one), _url(other)
        self.children = [
            _child(LabelerSettings, {"trainer_url": self.trainer, **one}),
            _child(TrainerSettings, {"labeler_url": self.labeler, **other}),
        ]

    def start(self) -> None:
        """Start both processes."""
        for child in self.children:
            child.start()

    def end(self) -> None:
        """End the running processes: the labeler first, because its last labels go to the trainer."""
        for child in self.children:
            child.end()
        self.children.clear()


def _child(kind: type[ServiceSettings], settings: Mapping[str, Any]) -> Child:
    """A service that is not started yet. Raises SettingsError."""
    kind.load(command_line=settings)
    given = {name: value for name, value in settings.items() if value is not None}
    structured = {name: value for name, value in given.items() if isinstance(value, list | tuple | Mapping)}
    plain = {name: str(value) for name, value in given.items() if name not in structured}
    more = {kind.environment_prefix() + name.upper(): json.dumps(value) for name, value in structured.items()}
    return Child(kind.service(), flags(plain), {**child_environment(), **more})


def _addressed(settings: dict[str, Any], service: str) -> dict[str, Any]:
    """The settings with host and port filled in. Raises SettingsError if the port is in use."""
    host = str(settings.get("host") or "127.0.0.1")
    try:
        port = int(settings.get("port") or free_port(host))
    except ValueError as error:
        if isinstance(error, SettingsError):
            raise
        raise SettingsError(
            f"The {service} setting 'port' cannot be {settings['port']!r}: it is not a number."
        ) from None
    if not 0 < port < 65_536:
        raise SettingsError(f"The {service} setting 'port' cannot be {port}: it is at most 65535.")
    bind(host, port, option=f'{service}={{"port": …}}').close()
    return {**settings, "host": host, "port": port}


def _url(settings: Mapping[str, Any]) -> str:
    host = str(settings["host"])
    return f"http://{ANYWHERE.get(host, f'[{host}]' if ':' in host else host)}:{settings['port']}"
