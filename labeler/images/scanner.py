"""Scans the roots in the background, so that labeling can begin while a large folder is still being read.

A scan first lists the place. New and changed files wait in a spool on disk, and one bit for each known file says
whether it still exists, so that names do not fill the memory. Then two workers (more for a remote store) read, hash and
check files ahead, several at a time. Results are written in batches. A file with unchanged size and modification time
is not read again. Only a complete scan removes vanished files, and never if the folder is missing or suddenly empty:
unplugging a disk must not remove all images. An image that its store cannot deliver now is tried again later, and its
entry stays unchanged until then.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice, takewhile

from labeler.images.catalog import Catalog
from labeler.images.file_index import Files
from labeler.images.file_registry import Census, Found, Root
from shared.figures import many
from shared.images.finding import Passed
from shared.images.opening import ImageProblem
from shared.images.sources.addresses import shown
from shared.images.sources.source import NONE, ImageAway, Listed
from shared.storage.spool import Spool
from shared.wire.fields import Split
from shared.wire.images import ScanView

BATCH = 500
BATCH_SECONDS = 0.5
CLOSING_SECONDS = 2
_AHEAD = 32  # tasks of the workers ahead of the next result
_TASK_SECONDS, _TASK_FILES = 0.02, 64  # maximum of one task; one small file per task took twice the time
PAUSES = (1.0, 4.0, 15.0)  # seconds before images that a store did not deliver are tried again in the same scan
LATER = 60.0  # seconds before another scan tries them

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Progress:
    """The progress of the scan of a root."""

    done: int
    total: int
    began: float
    unread: int = 0  # files in `done` that were unchanged and took no time

    def seconds_left(self) -> float | None:
        """Remaining seconds at the rate so far; None before the first file was read."""
        read = self.done - self.unread
        return (self.total - self.done) * (time.monotonic() - self.began) / read if read > 0 else None


class Scanner:
    """One thread that runs steps one after another, and reports progress."""

    def __init__(
        self,
        files: Files,
        catalog: Catalog,
        steps: Sequence[Callable[[], None]],
        changed: Callable[[], None],
        trouble: Callable[[], str | None] = lambda: None,
    ) -> None:
        """`steps` are run by `start`; they scan with `scan`. `changed` is called on progress. `trouble` says what
        else cannot be read at the moment."""
        self._trouble = trouble
        self._files = files
        self._catalog = catalog
        self._steps = steps
        self._waiting: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()  # guards _waiting and _running
        self._changed = changed
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._running = False
        self._progress = _Progress(0, 0, time.monotonic())  # replaced as a whole, by the scanner's thread
        self._error: str | None = None
        self._waits = False  # a store did not answer; another scan will try it
        self._failed = False  # a step failed in a way that a retry may fix
        self._left_out: dict[Root, list[str]] = {}  # sentences about skipped files

    def start(self) -> None:
        """Scan everything."""
        self.ask(*self._steps)

    def ask(self, *steps: Callable[[], None]) -> None:
        """Run these steps after those already waiting."""
        with self._lock:
            self._waiting.extend(steps)
            if not self._running and self._waiting:
                self._running, self._error = True, None
                self._thread = threading.Thread(target=self._run, name="scanner", daemon=True)
                self._thread.start()

    def again(self) -> None:
        """Scan everything again if a scan failed, for example because the disk was full."""
        if self._failed:
            self._failed = False
            self.start()

    def close(self) -> None:
        """Stop after the current file. Everything written so far is kept."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(CLOSING_SECONDS)

    def wait(self, timeout: float) -> None:
        """Wait until the scan is done. Raises TimeoutError."""
        if self._thread is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                raise TimeoutError("The image folder is still being scanned.")

    def view(self) -> ScanView:
        """The progress of the scan."""
        running, progress = self._running, self._progress
        left = progress.seconds_left() if running else None
        told = [f"{shown(self._files.roots[root])}: {each}" for root, some in self._left_out.items() for each in some]
        return ScanView(
            running=running,
            done=progress.done,
            total=progress.total,
            seconds_left=left,
            error=self._error or self._trouble(),
            left_out=told,
        )

    def scan(self, root: Root, uris: Iterable[str] | None = None, split: Split | None = None) -> None:
        """Update the catalogue from a root: all its images, or only `uris`.

        New images go into `split`; None draws it.
        """
        place = shown(self._files.roots[root])
        passed, census = Passed(), self._catalog.files.census()
        with ExitStack() as spools:
            unread = spools.enter_context(Spool())
            try:
                source = self._files.source(root)
                listed = self._files.listed(root, passed) if uris is None else ((uri, None) for uri in uris)
                total = self._compare(root, listed, census, unread)
                if uris is None:
                    total += self._compare(root, self._still_there(root, census), census, unread)
            except ImageProblem as problem:
                self._fail(f"The folder {place} {problem}; its images are kept.", again=isinstance(problem, ImageAway))
                return
            if self._closing.is_set():
                return  # the listing may be incomplete
            if uris is None:
                self._tell(root, passed.sentences())
            if not total and self._catalog.files.has(root):
                self._fail(f"The folder {place} is now empty; its images are kept.")
                return
            same = total - len(unread)
            self._progress = _Progress(same, total, time.monotonic(), same)
            with ThreadPoolExecutor(source.readers, thread_name_prefix="scanner") as pool:
                for pause in (*PAUSES, 0.0):
                    away = spools.enter_context(Spool())
                    self._read(pool, root, unread, away, split)
                    unread = away
                    if not away or self._closing.wait(pause):
                        break
        if away and not self._closing.is_set():
            self._fail(f"{many(len(away), 'image')} of {place} cannot be read now: they are tried again.", again=True)
        if not self._closing.is_set():
            self._progress = replace(self._progress, done=total)
            if uris is None:
                self._catalog.files.forget(root, census)
            self._catalog.settle_images()
            self._changed()

    def _compare(self, root: Root, listed: Iterator[Listed], census: Census, unread: Spool) -> int:
        """Put new and changed files into `unread`. Returns the number of images in the listing."""
        total = 0
        while (chunk := list(islice(listed, BATCH))) and not self._closing.is_set():
            total += len(chunk)
            known = self._catalog.files.known(root, [uri for uri, _ in chunk])
            for uri, stamp in chunk:
                before = known.get(uri)
                if before is not None:
                    census.meet(before.file_id)
                    try:
                        if before.stamp == (stamp or self._files.stamp(root, uri)):
                            continue
                    except ImageAway:
                        pass  # `look_at` meets the same problem and reports it
                unread.append((uri, stamp))
        return total

    def _still_there(self, root: Root, census: Census) -> Iterator[Listed]:
        """Answered images that exist though the walk did not list them, for example behind a link that it skipped."""
        for each in self._catalog.unlisted(root, census):
            stamp = self._files.stamp(root, each.uri)
            if stamp != NONE:
                yield each.uri, None

    def _read(self, pool: ThreadPoolExecutor, root: Root, unread: Spool, away: Spool, split: Split | None) -> None:
        """Read and record new and changed files. Put those that their store cannot deliver now into `away`."""
        pending: list[Found] = []
        written = time.monotonic()
        for found in self._look_at(pool, root, ((uri, stamp and (stamp[0], stamp[1])) for uri, stamp in unread)):
            if found.away:
                away.append((found.uri, None))
            else:
                pending.append(found)
            if len(pending) >= BATCH or time.monotonic() - written > BATCH_SECONDS:
                self._write(root, pending, split)
                pending, written = [], time.monotonic()
        self._write(root, pending, split)

    def _run(self) -> None:
        while (step := self._next()) is not None:
            try:
                step()
            except Exception as error:  # shown on the page; labeling continues
                if not self._closing.is_set():
                    log.exception("The scan of the image folder failed.")
                    self._error, self._failed = f"The scan failed: {str(error).rstrip('.')}.", True
        self._changed()

    def _next(self) -> Callable[[], None] | None:
        with self._lock:
            if self._waiting and not self._closing.is_set():
                return self._waiting.popleft()
            self._running = False
            return None

    def _look_at(self, pool: ThreadPoolExecutor, root: Root, listed: Iterator[Listed]) -> Iterator[Found]:
        """The workers' results, in the order of the listing."""

        def some(files: list[Listed]) -> tuple[list[Found], float]:
            began = time.monotonic()
            going_on = takewhile(lambda _: not self._closing.is_set(), files)
            found = list(self._files.look_at_some(root, going_on))
            return found, (time.monotonic() - began) / len(files)

        ahead: deque[Future[tuple[list[Found], float]]] = deque()
        size = 1
        while not self._closing.is_set():
            while len(ahead) < _AHEAD and (files := list(islice(listed, size))):
                ahead.append(pool.submit(some, files))
            if not ahead:
                return
            found, seconds = ahead.popleft().result()
            size = max(1, min(_TASK_FILES, 2 * size, int(_TASK_SECONDS / max(seconds, 1e-9))))
            yield from found

    def _write(self, root: Root, found: list[Found], split: Split | None) -> None:
        if found and not self._closing.is_set():
            self._catalog.record(root, found, split)
            self._advance(len(found))
            self._changed()

    def _advance(self, files: int) -> None:
        self._progress = replace(self._progress, done=self._progress.done + files)

    def _tell(self, root: Root, left_out: list[str]) -> None:
        """Log the files skipped in a folder, unless already logged."""
        if left_out != self._left_out.get(root, []):
            for each in left_out:
                log.info("%s: %s", shown(self._files.roots[root]), each)
            self._left_out = {**self._left_out, root: left_out}

    def _fail(self, message: str, *, again: bool = False) -> None:
        log.error(message)
        self._error = message
        if again and not self._waits:
            self._waits = True
            threading.Thread(target=self._scan_later, name="scan-again", daemon=True).start()

    def _scan_later(self) -> None:
        if not self._closing.wait(LATER):
            self._waits = False
            self.start()
