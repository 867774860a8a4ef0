"""The folders of this user: what Flywheel keeps beside the workspaces, for all projects."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path, user_state_path

ENVIRONMENT = "FLYWHEEL_STATE"
"""Environment variable that names another folder for both."""


def state_folder() -> Path:
    """What would be missed, such as the list of recent projects. It may not exist."""
    named = os.environ.get(ENVIRONMENT)
    return Path(named) if named else user_state_path("flywheel")


def cache_folder() -> Path:
    """What can be made again. It may not exist."""
    named = os.environ.get(ENVIRONMENT)
    return Path(named) / "cache" if named else user_cache_path("flywheel")
