"""When a place that the operating system does not watch is listed again: an archive when it has changed, a store by the
clock.

An archive is listed once its size and time stand still for a look, so that one that is being written is not read in
between.
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
    """The places of `files` that are not folders. `seconds`: between two lists of a store; 0: never.

    Make it before the first scan, which may read an archive that changes right after.
    """

    def __init__(self, files: Files, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._files = files
        self._seconds = seconds
        self._clock = clock
        self._listed = {root: _mark(place) for root, place in files.image_roots.items() if isinstance(place, Path)}
        self._seen: dict[Root, Mark] = {}  # as of the last look
        self._next: dict[Root, float] = {}  # when a store is listed again

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
