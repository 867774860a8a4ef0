"""Paths that a person gives as arguments."""

from __future__ import annotations

from pathlib import Path

import typer


def path(text: str) -> Path:
    """The path. Raises BadParameter if it is empty: an unset variable of a shell is not the current folder."""
    if not text.strip():
        raise typer.BadParameter("It is empty: name a file or folder.")
    return Path(text)
