"""What the person wants of the trainer: to run, to pause, or to stop, and what a stop left behind.

Kept in one small file that is replaced atomically, so that pause and stop survive a restart, and a stop that a kill
interrupted is taken up again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from shared.storage.whole_files import write_whole
from shared.wire.trainer import Saved


class DesiredState(BaseModel):
    """The wish in force. `finished` says that a wished stop is complete: model and dataset are saved."""

    wish: Literal["run", "pause", "stop"] = "run"
    reason: str | None = None  # of a stop, in words
    finished: bool = False
    saved: Saved | None = None
    round: int = 0  # rounds learned so far, over all starts
    stopping: dict[str, Any] = Field(default_factory=dict)  # the state of the stopping rules

    @classmethod
    def load(cls, path: Path) -> DesiredState:
        """The wish of before; to run when there is none that can be read."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return cls()

    def save(self, path: Path) -> None:
        """Replace the file; a kill leaves the old one or the new one."""
        write_whole(path, self.model_dump_json(indent=1).encode())
