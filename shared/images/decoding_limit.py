"""One limit on what all decoding of a service takes at a time, in bytes. Knows nothing of images.

There are two lanes, so that the thumbnail of a small image never waits behind a panorama, nor a panorama for ever
behind small ones. In each, whoever came first goes first. What is larger than a lane goes in when the lane is empty.
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
    """Others took all the room for WAIT_SECONDS."""


class Lane:
    """Room for so many bytes; safe from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._taken = 0

    @contextmanager
    def room(self, size: int, capacity: int, wait: float = WAIT_SECONDS) -> Iterator[None]:
        """Wait for `size` bytes of `capacity`, and hold them. Raises NoRoom."""
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


@contextmanager
def room(size: int, unit: int, wait: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold room for `size` bytes while something is decoded. Raises NoRoom.

    A small need is up to `unit` bytes, and small ones take 2 units together; the others take 8, or one of them more.
    """
    if size <= unit:
        with _small.room(size, 2 * unit, wait):
            yield
        return
    with _large.room(size, 8 * unit, wait):
        try:
            yield
        finally:
            _give_back()


def _give_back() -> None:
    """glibc keeps what a thread freed for the next one; after a large image it shall go back to the system."""
    if _LIBC is not None:
        _LIBC.malloc_trim(0)


def _libc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        libc = ctypes.CDLL(None)
        libc.malloc_trim.argtypes, libc.malloc_trim.restype = [ctypes.c_size_t], ctypes.c_int
        libc.mallopt(_MMAP_THRESHOLD, LARGE_BLOCK)  # else glibc soon keeps these too
    except (OSError, AttributeError):  # musl has no such things
        return None
    return libc


LARGE_BLOCK = 8 << 20
"""Bytes from which on memory goes back to the system when it is freed. Pillow keeps images in blocks of 16 MiB."""
_MMAP_THRESHOLD = -3
_LIBC = _libc()
