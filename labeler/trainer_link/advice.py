"""What a person can do about a trainer that does not answer."""

from __future__ import annotations

import os
from pathlib import Path

from shared.settings.project_file import trainer_command
from shared.web.server import SUPERVISED


def how_to_start(workspace: str | Path) -> str:
    """A clause. `flywheel up` starts a trainer that ended again, and a second one would find its workspace in use."""
    if os.environ.get(SUPERVISED):
        return "Flywheel starts it by itself"
    return f"start it with: {trainer_command(Path(workspace))}"


def sentence(workspace: str | Path) -> str:
    """The same as a sentence; a command has no full stop, so that it can be copied."""
    said = how_to_start(workspace)
    return said[0].upper() + said[1:] + ("" if ":" in said else ".")
