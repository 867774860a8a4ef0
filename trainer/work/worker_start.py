"""The start of a job's process, in words for whoever waits for it.

Until it computes, the process loads libraries: for seconds, and for minutes where others keep all cores busy, because
it has the lowest priority. How long the last start of such a job took on this machine is kept beside the jobs.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Set
from contextlib import suppress
from pathlib import Path

from shared.figures import duration
from shared.storage.whole_files import write_whole
from shared.wire.jobs import JobKind

LOADING = "Loading the libraries for networks"
SILENT_SECONDS = 5.0
"""A start that takes no longer needs no words."""
STEP_SECONDS = 5
"""The time so far changes in these steps, because the page is redrawn each time."""
MOSTLY = 0.5
HALTED = {"rest": "halted while the trainer is paused", "labeling": "halted while somebody labels"}
"""Reason to halt a process for longer → what its job says meanwhile."""
STARTS = "starts.json"


class WorkerStart:
    """The start of `process`, which runs a job of this `kind`. `folder` contains the jobs."""

    def __init__(
        self, folder: Path, kind: JobKind, process: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = folder / STARTS
        self._kind = kind
        self._process = process
        self._clock = clock
        self._began = self._looked = clock()
        self._halted = 0.0
        self._last = _kept(self._path).get(kind)
        self._over = False

    def told(self, message: str, halting: Set[str]) -> None:
        """Note what the process says it does, and why it is halted. Call it every moment: the time in which it is
        halted does not count, and its first step after the start ends the start.
        """
        now = self._clock()
        if not halting.isdisjoint(HALTED):
            self._halted += now - self._looked
        self._looked = now
        if self._over or message in ("", LOADING):
            return
        self._over = True
        seconds = {**_kept(self._path), self._kind: self._seconds}
        with suppress(OSError):  # it is a hint
            write_whole(self._path, json.dumps({"machine": platform.node(), "seconds": seconds}).encode())

    @property
    def _seconds(self) -> float:
        return self._clock() - self._began - self._halted

    def in_words(self, message: str, halting: Set[str]) -> str:
        """The message of the process; while it starts, with the time so far, that of the last start, and whether it
        waits for a core. `halting`: why it is halted.
        """
        for reason in halting & HALTED.keys():
            return HALTED[reason]
        seconds = self._seconds
        if message not in ("", LOADING) or seconds < SILENT_SECONDS:
            return message
        so_far = seconds if seconds >= 60 else seconds - seconds % STEP_SECONDS
        last = "" if self._last is None else f" ({duration(self._last)} the last time)"
        waits = (
            ". Most of the time it waits for a core: other processes compute, and a job has the lowest priority"
            if waited(self._process) >= MOSTLY * seconds
            else ""
        )
        return f"{message or 'Starting'}, {duration(so_far)} so far{last}{waits}"


def waited(process: int) -> float:
    """Seconds in which the process could compute and had no core; 0 where the system does not tell (Linux does)."""
    try:
        _, nanoseconds, _ = Path(f"/proc/{process}/schedstat").read_text(encoding="ascii").split()
        return int(nanoseconds) / 1e9
    except (OSError, ValueError):
        return 0.0


def _kept(path: Path) -> dict[str, float]:
    """Kind of a job → seconds of its last start on this machine."""
    try:
        kept = json.loads(path.read_bytes())
        return {str(kind): float(each) for kind, each in kept["seconds"].items()} if _is_here(kept) else {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _is_here(kept: dict[str, object]) -> bool:
    """Whether this machine wrote it: a workspace may be moved to another one."""
    return kept["machine"] == platform.node()
