"""The desired state that the person sets: run, pause or stop, and what the last stop saved.

It is one small file that is replaced atomically. So pause and stop survive a restart, and a stop that was interrupted
by a kill continues.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from shared.storage.whole_files import write_whole
from shared.wire.trainer import Saved


class DesiredState(BaseModel):
    """The current wish. `finished` says that the stop is complete: model and dataset are saved."""

    wish: Literal["run", "pause", "stop"] = "run"
    reason: str | None = None  # of a stop, in words
    finished: bool = False
    saved: Saved | None = None
    round: int = 0  # rounds so far, over all starts
    stopping: dict[str, Any] = Field(default_factory=dict)  # state of the stopping rules

    @classmethod
    def load(cls, path: Path) -> DesiredState:
        """Load the desired state; the default is to run."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return cls()

    def save(self, path: Path) -> None:
        """Replace the file atomically."""
        write_whole(path, self.model_dump_json(indent=1).encode())
