"""Child processes of a service: how they find the packages, and how they stop with the process that started them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
"""The folder that holds the packages: the checkout, or site-packages."""
WATCH_SECONDS = 0.5


def child_environment() -> dict[str, str]:
    """A copy of our environment in which a child finds our packages first and the current folder last.

    So a folder named `shared` in the current folder cannot hide ours, and users' own modules are still found.
    """
    paths = [str(HOME), *filter(None, [os.environ.get("PYTHONPATH")]), str(Path.cwd())]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def when_orphaned(parent: int, act: Callable[[], None]) -> None:
    """Call `act` on a new thread as soon as `parent` is no longer this process's parent.

    An orphan would keep using the machine and hold locks that a new process needs.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        act()

    threading.Thread(target=watch, name="parent", daemon=True).start()
