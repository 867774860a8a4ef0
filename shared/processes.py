"""Child processes of a service: how they find the packages, let others go first, and stop with the process that started
them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
"""The folder with the packages: the checkout, or site-packages."""
WATCH_SECONDS = 0.5
LOWEST = 19
"""The lowest priority of a process."""
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


def child_environment() -> dict[str, str]:
    """A copy of our environment in which a child finds our packages first and the current folder last.

    So a folder named `shared` in the current folder cannot hide ours, and users' own modules are still found.
    """
    paths = [str(HOME), *filter(None, [os.environ.get("PYTHONPATH")]), str(Path.cwd())]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def lower_priority() -> None:
    """Let every other process go first. To be called before this process starts threads, which inherit it.

    Linux may weigh sessions against each other, and priorities only within a session (autogroup, sched(7)): then a
    session of its own at the lowest priority would get as much as all others together.
    """
    os.nice(LOWEST)
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):  # not every kernel groups
            Path("/proc/self/autogroup").write_text(str(LOWEST), encoding="ascii")


def yield_to_all() -> None:
    """Take only time that no other process wants, where the system can do that."""
    if sys.platform == "linux":
        for thread in Path("/proc/self/task").iterdir():  # each has its own policy
            with contextlib.suppress(OSError):  # it may have ended, or a container may forbid it
                os.sched_setscheduler(int(thread.name), os.SCHED_IDLE, os.sched_param(0))


def end_with_parent() -> None:
    """On Linux, be killed with the thread that started this process, even while halted.

    A halted process cannot look for its parent: `when_orphaned` alone would leave it in memory for ever.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)


def when_orphaned(parent: int, act: Callable[[], None]) -> None:
    """Call `act` on a new thread as soon as `parent` is no longer this process's parent.

    An orphan would keep using the machine and hold locks that a new process needs.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        act()

    threading.Thread(target=watch, name="parent", daemon=True).start()
