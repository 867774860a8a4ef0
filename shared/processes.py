"""Child processes of a service: they find the packages, give way to other processes, and stop with their parent."""

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
    """A copy of our environment in which a child finds our packages first.

    The current folder is left out: modules there would hide Python's own and those of libraries (`random.py`). Users'
    own modules are found by `shared.own_code`.
    """
    paths = [str(HOME), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def lower_priority() -> None:
    """Give this process the lowest priority. Call this before it starts threads, which inherit the priority.

    Linux may divide the CPU between sessions first, and apply priorities only within each (autogroup, sched(7)). Then a
    process with a session of its own would get as much time as another whole session. So the session gets the lowest
    priority, too.
    """
    os.setpriority(os.PRIO_PROCESS, 0, LOWEST)  # os.nice would add to what we were started with
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):  # not every kernel has autogroups
            Path("/proc/self/autogroup").write_text(str(LOWEST), encoding="ascii")


def yield_to_all() -> None:
    """Use only CPU time that no other process wants, where the system supports that."""
    if sys.platform == "linux":
        for thread in Path("/proc/self/task").iterdir():  # each thread has its own policy
            with contextlib.suppress(OSError):  # the thread may have ended, or a container may forbid it
                os.sched_setscheduler(int(thread.name), os.SCHED_IDLE, os.sched_param(0))


def is_alive(process: int) -> bool:
    """Whether a process with this id is running, whoever owns it."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def end_with_parent() -> None:
    """On Linux, kill this process when the thread that started it ends, even while it is halted.

    A halted process cannot check its parent, so with `when_orphaned` alone it would stay in memory for ever.
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
