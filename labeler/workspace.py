"""The workspace folder, held by one labeler at a time."""

from __future__ import annotations

import json
from pathlib import Path

from filelock import FileLock, Timeout

from shared.settings import SettingsError


class WorkspaceLock:
    """Held from the start until `release` or the end of the process, however it ends.

    Raises SettingsError when another labeler has it, or when the folder cannot be written.
    """

    def __init__(self, workspace: Path) -> None:
        self._address = workspace / "labeler.address"
        try:
            workspace.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(workspace / "labeler.lock")
            self._lock.acquire(timeout=0)
        except Timeout:
            where = _read_address(self._address)
            reach = f"open {where}, or stop it first" if where else "stop it first"
            raise SettingsError(f"Another labeler is running on the workspace {workspace}: {reach}.") from None
        except OSError as error:
            raise SettingsError(f"The workspace {workspace} cannot be used: {error.strerror}.") from None
        self._address.unlink(missing_ok=True)

    def announce(self, address: str) -> None:
        """Say where the labeler that holds the workspace is reached."""
        self._address.write_text(json.dumps({"address": address}), encoding="utf-8")

    def release(self) -> None:
        """Let another labeler have it."""
        self._address.unlink(missing_ok=True)
        self._lock.release()


def _read_address(path: Path) -> str | None:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
