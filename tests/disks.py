"""Disks that a test can fill: a small file system where one can be mounted, else a limit on file sizes.

In both cases the kernel refuses the services' writes, without their help. The limit works for any user on Linux: no
file of the process can grow.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.services import Process


class SmallDisk:
    """A folder that can be full. `mounted`: it is a file system of its own; otherwise `fill` limits the processes."""

    def __init__(self, folder: Path, mounted: bool) -> None:
        self.folder = folder
        self.mounted = mounted
        self._limited: list[int] = []

    def fill(self, *processes: Process) -> None:
        """Fill the disk. At least these processes can then write nothing more."""
        for database in [*self.folder.rglob("flywheel.db"), *self.folder.rglob("replica.db")]:
            with contextlib.closing(sqlite3.connect(database, timeout=10)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if not self.mounted:
            self._limited = [process.process.pid for process in processes if process.process is not None]
            for pid in self._limited:
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            return
        size = 1 << 20
        with (self.folder / ".filler").open("ab", buffering=0) as stream:
            while size:
                try:
                    stream.write(bytes(size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size //= 2

    def free(self) -> None:
        """Free the space again."""
        if self.mounted:
            (self.folder / ".filler").unlink(missing_ok=True)
        for pid in self._limited:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self._limited = []


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int, *, mount: bool = True) -> Iterator[SmallDisk]:
    """A disk of that many megabytes at the new `folder`; `mount`: as its own file system, where that is allowed."""
    folder.mkdir(parents=True)
    mounted = mount and _mount(folder, megabytes)
    try:
        yield SmallDisk(folder, mounted)
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)


@contextlib.contextmanager
def no_room() -> Iterator[None]:
    """Within the block, no file of this process can grow."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def no_more_files() -> Iterator[None]:
    """Within the block, this process can open no file."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(each.name) for each in Path("/dev/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, before[1]))
    held: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        yield
    finally:
        for each in held:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _mount(folder: Path, megabytes: int) -> bool:
    if os.geteuid() != 0:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False
