"""Watches the image folders, so that a new file joins within seconds.

The operating system reports changes where it can. Otherwise (network drives, or more folders than it allows to watch),
the folders are read every few seconds. Archives and stores are listed again when `far.relisting` says so. This module
only adds new and changed files. Vanished files are left to the next scan of the whole folder, because labels must not
be lost when a disk is unplugged for a moment.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from watchfiles import Change, watch

from labeler.images.file_index import prefix
from labeler.images.file_registry import Root
from labeler.images.roots import Folders
from shared.images.finding import is_image_file, is_left_out
from shared.settings import project_file
from shared.settings.services import SettingsError

LOOK_MS = 1_000  # interval of checking project.toml and missing folders
POLL_MS = 5_000  # interval of reading folders that the operating system does not watch
MANY = 1_000  # above this many changes at once, the folder is scanned
CLOSING_SECONDS = 3

log = logging.getLogger(__name__)


class Watcher:
    """One thread that watches the folders of `folders`, and the file that names them."""

    def __init__(self, folders: Folders, workspace: Path, relisted: Callable[[], Iterable[Root]] = tuple) -> None:
        """`relisted` returns the roots to list now, among those that the operating system does not watch."""
        self._relisted = relisted
        self._folders = folders
        self._workspace = workspace
        self._closing = threading.Event()
        self._polling = False
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(CLOSING_SECONDS)

    def _run(self) -> None:
        seen = self._stamp()
        while not self._closing.is_set():
            there = {root: path for root, path in self._folders.watched.items() if path.is_dir()}
            try:
                for changes in self._changes(there):
                    self._take(there, changes)
                    if self._stamp() != seen:
                        seen = self._stamp()
                        self._refresh()
                    for root in self._relisted():
                        self._folders.scan(root)
                    now = {root: path for root, path in self._folders.watched.items() if path.is_dir()}
                    for root in now.keys() - there.keys():  # new, or back
                        self._folders.scan(root)
                    if now != there:
                        break
            except (OSError, RuntimeError) as error:
                if self._closing.wait(POLL_MS / 1_000):
                    return
                if not self._polling:
                    log.warning("The image folders cannot be watched (%s): they are read regularly instead.", error)
                self._polling = True

    def _changes(self, there: dict[Root, Path]) -> Iterator[set[tuple[Change, str]]]:
        """Yield sets of changes, possibly empty, at least every `LOOK_MS`."""
        if not there:
            while not self._closing.wait(LOOK_MS / 1_000):
                yield set()
            return
        yield from watch(
            *there.values(),
            watch_filter=None,
            stop_event=self._closing,
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
            force_polling=self._polling,
            poll_delay_ms=POLL_MS,
            raise_interrupt=False,
        )

    def _take(self, there: dict[Root, Path], changes: set[tuple[Change, str]]) -> None:
        paths = [Path(path) for change, path in changes if change is not Change.deleted]
        for root, folder in there.items():
            inside = [path for path in paths if path.is_relative_to(folder) and self._counts(path, folder)]
            files = [path for path in inside if path.is_file() and is_image_file(path)]
            unnamed = any("\ufffd" in str(path) for path in inside)  # a name that is not UTF-8
            if len(inside) > MANY or unnamed or any(path.is_dir() for path in inside):
                self._folders.scan(root)
            elif files:
                self._folders.scan(root, sorted(prefix(root) + path.relative_to(folder).as_posix() for path in files))

    def _counts(self, path: Path, folder: Path) -> bool:
        """Whether a scan would include the path: not a skipped name, and not in the workspace."""
        hidden = any(map(is_left_out, path.relative_to(folder).parts))
        return not hidden and path != folder and not path.is_relative_to(self._workspace.resolve())

    def _stamp(self) -> tuple[int, int]:
        try:
            status = (self._workspace / project_file.FILE).stat()
        except OSError:
            return 0, 0
        return status.st_mtime_ns, status.st_size

    def _refresh(self) -> None:
        try:
            self._folders.refresh()
        except SettingsError as error:
            log.warning("%s", error)
