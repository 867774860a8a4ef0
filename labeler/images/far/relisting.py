"""Decides when to list a place again that the operating system does not watch: an archive when it has changed, a store
at regular intervals.

A changed archive is listed once two checks in a row find the same size and time. So it is not read while it is being
written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from labeler.images.file_index import Files
from labeler.images.file_registry import Root
from shared.images.sources.choosing import ending, is_pattern

Mark = tuple[tuple[str, int, int], ...]  # name, size and time of each file


class Relisting:
    """The places of `files` that are not folders. `seconds` is the interval between two listings of a store; 0: never.

    Create it before the first scan. Otherwise, a change to an archive right after that scan would be missed.
    """

    def __init__(self, files: Files, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._files = files
        self._seconds = seconds
        self._clock = clock
        self._listed = {root: _mark(place) for root, place in files.image_roots.items() if isinstance(place, Path)}
        self._seen: dict[Root, Mark] = {}  # at the last check
        self._next: dict[Root, float] = {}  # when each store is due

    def due(self) -> Iterator[Root]:
        """The roots to list now. Ask about once a second."""
        for root, place in self._files.image_roots.items():
            if isinstance(place, str):
                due = self._next.setdefault(root, self._clock() + self._seconds)
                if self._seconds and self._clock() >= due:
                    self._next[root] = self._clock() + self._seconds
                    yield root
            elif ending(place):
                mark, before = _mark(place), self._seen.get(root)
                self._seen[root] = mark
                if mark and mark == before and mark != self._listed.setdefault(root, mark):
                    self._listed[root] = mark
                    yield root


def _mark(place: Path) -> Mark:
    if not ending(place):
        return ()
    try:
        if is_pattern(place):
            with os.scandir(place.parent) as entries:
                found = [(each.name, each.stat()) for each in entries if fnmatchcase(each.name, place.name)]
        else:
            found = [(place.name, place.stat())]
    except OSError:
        return ()
    return tuple(sorted((name, status.st_size, status.st_mtime_ns) for name, status in found))
