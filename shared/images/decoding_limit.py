"""Limits the bytes that all decoding in a process takes at once. This module knows nothing about images.

There are two lanes, so that a small image's thumbnail never waits behind a panorama, and small images never keep a
panorama waiting forever. Each lane is first come, first served. A need larger than its lane waits until the lane is
empty.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

WAIT_SECONDS = 300.0


class NoRoom(Exception):  # noqa: N818 - it says what is the case
    """Other images used all the memory for WAIT_SECONDS."""


class Lane:
    """A number of bytes that threads share; thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._taken = 0

    @contextmanager
    def room(self, size: int, capacity: int, wait: float = WAIT_SECONDS) -> Iterator[None]:
        """Wait for `size` of `capacity` bytes and reserve them. Raises NoRoom after `wait` seconds."""
        mine = object()
        with self._changed:
            self._waiting.append(mine)
            fits = self._changed.wait_for(
                lambda: self._waiting[0] is mine and (self._taken == 0 or self._taken + size <= capacity), wait
            )
            self._waiting.remove(mine)
            self._changed.notify_all()
            if not fits:
                raise NoRoom
            self._taken += size
        try:
            yield
        finally:
            with self._changed:
                self._taken -= size
                self._changed.notify_all()


_small, _large = Lane(), Lane()


_only_small = threading.Event()


def refuse_large() -> None:
    """From now on, let `room` raise NoRoom at once for a large need.

    Call this in each of several processes that decode in parallel, because each has limits of its own.
    """
    _only_small.set()


@contextmanager
def room(size: int, unit: int, wait: float = WAIT_SECONDS) -> Iterator[None]:
    """Reserve `size` bytes during a decoding. Raises NoRoom after `wait` seconds.

    Needs of up to `unit` bytes are small and share 2 units. Larger ones share 8 units; one larger than that goes alone.
    """
    if size <= unit:
        with _small.room(size, 2 * unit, wait):
            yield
        return
    if _only_small.is_set():
        raise NoRoom
    with _large.room(size, 8 * unit, wait):
        try:
            yield
        finally:
            _give_back()


def _give_back() -> None:
    """Return freed memory to the system after a large image; glibc would keep it for the next one."""
    if _LIBC is not None:
        _LIBC.malloc_trim(0)


def _libc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        libc = ctypes.CDLL(None)
        libc.malloc_trim.argtypes, libc.malloc_trim.restype = [ctypes.c_size_t], ctypes.c_int
        libc.mallopt(_MMAP_THRESHOLD, LARGE_BLOCK)  # else glibc soon keeps these blocks too
    except (OSError, AttributeError):  # musl has no such functions
        return None
    return libc


LARGE_BLOCK = 8 << 20
"""Blocks of this size and more return to the system when freed. Pillow keeps images in blocks of 16 MiB."""
_MMAP_THRESHOLD = -3
_LIBC = _libc()
