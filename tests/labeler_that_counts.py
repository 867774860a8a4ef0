"""`python -m labeler` where projects can have the toy task of `tests/shared/tasks/count.py`."""

from __future__ import annotations

from collections.abc import Sequence

from labeler.app import main as labeler
from tests.shared.tasks.count import registered


def main(arguments: Sequence[str]) -> int:
    """Start it; returns the exit code."""
    with registered():
        return labeler(arguments)
