"""Where tests keep their files: in memory, if this machine has a file system there with room.

A labeler waits for the disk with each answer, and a test run opens a thousand labelers. In memory, 241 tests of theirs
took 31 instead of 36 core-seconds, and 104 s instead of 163 s on a busy machine. The files of a run go when it ends.
After a failure they stay until the next run. TMPDIR names another place.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import psutil

from shared.processes import is_alive

MEMORY = Path("/dev/shm")  # Linux has it; containers often have a small one
NAME = "flywheel-files-"  # then the id of the process that runs the tests
ROOM_BYTES = 2 << 30
"""A run needs less than a tenth of it, because tests that pass leave no files. The rest is for everything else."""

_kept = False


def use_memory() -> None:
    """Let this process, and all that it starts, write temporary files to memory."""
    if "TMPDIR" in os.environ or not _has_room(MEMORY):
        return
    remove_left(MEMORY, NAME)
    owner = os.getpid()
    folder = tempfile.mkdtemp(prefix=f"{NAME}{owner}-", dir=MEMORY)
    os.environ["TMPDIR"] = tempfile.tempdir = folder  # pytest has looked for the usual folder before

    def end() -> None:
        if os.getpid() == owner and not _kept:  # and not a fork of the tests
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)


def remove_left(folder: Path, name: str) -> None:
    """Remove what runs that were killed have left in `folder`: folders called `name` and the id of their process."""
    for left in folder.glob(f"{name}*"):
        owner = left.name.removeprefix(name).partition("-")[0]
        if owner.isdecimal() and not is_alive(int(owner)):
            shutil.rmtree(left, ignore_errors=True)


def keep() -> None:
    """Leave the files of this run, for whoever wants to know why it failed."""
    global _kept
    _kept = True


def _has_room(folder: Path) -> bool:
    if not os.access(folder, os.W_OK):
        return False
    disk = os.statvfs(folder)
    runs_programs = not disk.f_flag & os.ST_NOEXEC  # tests write some, and containers may refuse to run them there
    room = min(disk.f_bavail * disk.f_frsize, psutil.virtual_memory().available)
    return runs_programs and room >= ROOM_BYTES
