"""Processes that decode images for a GPU, because threads of one interpreter are too slow for it.

Each gets chunks of catalogue entries and writes the inputs into memory shared with this process, so that only names and
problems pass through a pipe. They start when images wait. They end after some time without images, and with the trainer
or the job that started them, even if it is killed. If a process dies, no image is lost: its images are requested again
one by one, and an image that ends two processes becomes a problem. If processes cannot start here, the caller decodes
images itself (`DecodeHere`).

Two libraries do not fit: a `ProcessPoolExecutor` fails as a whole when one of its processes ends, and torch's
`DataLoader` knows all images when it starts, while here their order changes with each label.
"""

from __future__ import annotations

import logging
import mmap
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

from numpy.typing import NDArray

from shared.images.opening import ImageLimits, ImageProblem
from shared.processes import child_environment
from shared.wire.images import ImageEntry
from trainer.embeddings.backbones.preparation import Preprocessing
from trainer.embeddings.decoding.decoding_process import LARGE, Answer, Orders, rows_of
from trainer.embeddings.decoding.preparing import Fetch

log = logging.getLogger(__name__)

CHUNK = 8
"""Images per message."""
PLACES = 2
"""Chunks that a process has at a time: it decodes one while the other waits, so that it never waits for us."""
IDLE_SECONDS = 10.0
"""Time without images after which the processes end."""
TRIES = 2
"""Number of processes that an image may end before it becomes a problem."""
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
    "MALLOC_TOP_PAD_": str(16 << 20),
}
"""One thread each. glibc keeps freed memory for the next image: allocating it anew took an eighth of the time."""
KILLED_SECONDS = 60.0
"""Time for a killed process to end; closing waits for it. It has the lowest priority, so that on a busy machine this
takes seconds."""
MOST = 64
"""Maximum number of processes."""

Prepared = Future[NDArray[Any]]


class DecodeHere(Exception):  # noqa: N818 - what to do
    """The image was not decoded by a process and must be decoded by the caller."""


@dataclass
class _Chunk:
    images: list[tuple[ImageEntry, Prepared]]
    tries: int = 0
    begun: bool = False


@dataclass
class _Process:
    number: int
    child: subprocess.Popen[bytes]
    connection: Connection[Any, Any]
    ready: bool = False
    places: dict[int, _Chunk] = field(default_factory=dict)  # oldest first: that one is being decoded

    @property
    def load(self) -> int:
        return len(self.places)


def are_possible() -> bool:
    """Whether this system shares memory with processes as it is done here."""
    return hasattr(os, "memfd_create")


def usual_count() -> int:
    """One process per usable core, except one core for the GPU and the rest of the trainer."""
    return min(max(len(os.sched_getaffinity(0)) - 1, 1), MOST) if hasattr(os, "sched_getaffinity") else 1


class Decoders:
    """`count` processes that fetch and decode images for `preprocessing`. `fetch` must be possible to pickle."""

    def __init__(self, fetch: Fetch, limits: ImageLimits, preprocessing: Preprocessing, count: int) -> None:
        self._fetch, self._limits, self._preprocessing = fetch, limits, preprocessing
        self._count = count
        self._lock = threading.Lock()
        self._waiting: deque[_Chunk] = deque()
        self._processes: dict[int, _Process] = {}
        self._thread: threading.Thread | None = None  # takes answers; None while there are no processes
        self._last: threading.Thread | None = None  # may still be ending its processes
        self._closed = False
        self._false_starts = 0  # processes in a row that ended before they were ready
        self.broken = False  # processes cannot start here
        bytes_ = count * PLACES * CHUNK * 3 * preprocessing.size**2
        self._file = os.memfd_create("decoders")  # not /dev/shm, which has only 64 MB in a container
        os.ftruncate(self._file, bytes_)
        self._rows = rows_of(mmap.mmap(self._file, bytes_), preprocessing.size)

    def submit(self, entries: Sequence[ImageEntry]) -> list[Prepared]:
        """Request the inputs (3, S, S) of images. The futures raise ImageProblem and DecodeHere."""
        images: list[tuple[ImageEntry, Prepared]] = [(entry, Future()) for entry in entries]
        with self._lock:
            if self._closed or self.broken:
                _answer_all(images, DecodeHere())
                return [future for _, future in images]
            self._waiting += [_Chunk(images[start : start + CHUNK]) for start in range(0, len(images), CHUNK)]
            if self._thread is None:
                self._thread = self._last = threading.Thread(target=self._run, name="decoders", daemon=True)
                self._thread.start()
            self._hand_out()
        return [future for _, future in images]

    @property
    def pids(self) -> list[int]:
        """The processes that run now."""
        with self._lock:
            return [process.child.pid for process in self._processes.values()]

    def close(self) -> None:
        """End the processes. Images that were not decoded raise DecodeHere."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            thread = self._last
            for process in self._processes.values():
                process.child.kill()  # it holds nothing that must be saved
        if thread is not None:
            thread.join(KILLED_SECONDS)
        self._rows = self._rows[:0].copy()
        os.close(self._file)

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        ended: list[_Process] | None = None
        try:
            with self._lock:
                for number in range(0 if self._closed else self._count):
                    self._start(number)
            while ended is None:
                ended = self._serve()
        except (OSError, subprocess.TimeoutExpired):  # the latter: a killed process hangs in the kernel
            log.exception("Processes that decode images cannot be used; threads decode instead.")
            with self._lock:
                self.broken = True
                ended = self._retired()
        for process in ended or []:  # all of them first: one that takes long to end keeps no other alive
            process.connection.close()
            process.child.kill()
        for process in ended or []:
            with suppress(subprocess.TimeoutExpired):
                process.child.wait(KILLED_SECONDS)

    def _serve(self) -> list[_Process] | None:
        """Wait for answers and take them. Returns the processes to end once there is nothing more to do, else None."""
        with self._lock:
            if self._closed:
                return self._retired()
            connections = {process.connection: process for process in self._processes.values()}
        ready = wait(connections, IDLE_SECONDS)
        for connection, process in connections.items():
            if connection not in ready:
                continue
            try:
                answer = connection.recv()
            except (EOFError, OSError):
                self._lost(process)
            else:
                self._answered(process, answer)
        with self._lock:
            idle = not ready and not self._waiting and not any(each.load for each in self._processes.values())
            return self._retired() if idle or self._closed else None

    def _retired(self) -> list[_Process]:
        """Remove all processes and return them, so that the caller ends them. The lock is held."""
        ended, self._processes, self._thread = list(self._processes.values()), {}, None
        if self._closed or self.broken:
            left = [*self._waiting, *(chunk for each in ended for chunk in each.places.values())]
            self._waiting.clear()
            for chunk in left:
                _answer_all(chunk.images, DecodeHere())
        return ended

    def _start(self, number: int) -> None:
        """Start a process, only on this thread: on Linux, a process ends with the thread that started it."""
        ours, theirs = Pipe()
        with theirs:
            child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [
                    *(sys.executable, "-P", "-m", "trainer.embeddings.decoding.decoding_process"),
                    *(str(theirs.fileno()), str(self._file)),
                ],
                env={**child_environment(), **ENVIRONMENT},
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), self._file),
            )
        self._processes[number] = _Process(number, child, ours)
        first = number * PLACES * CHUNK
        ours.send(Orders(self._fetch, self._limits, self._preprocessing, first, CHUNK))

    def _hand_out(self) -> None:
        """Give waiting chunks to processes that have room, the least loaded first. The lock is held."""
        while self._waiting:
            free = [each for each in self._processes.values() if each.ready and each.load < PLACES]
            if not free:
                return
            process, chunk = min(free, key=lambda each: each.load), self._waiting.popleft()
            if not chunk.begun:
                chunk.begun = True
                chunk.images = [each for each in chunk.images if each[1].set_running_or_notify_cancel()]
            if not chunk.images:
                continue
            place = next(each for each in range(PLACES) if each not in process.places)
            process.places[place] = chunk
            try:
                process.connection.send((place, [entry for entry, _ in chunk.images]))
            except OSError:
                return  # it has ended; `_serve` notices and requests its chunks again

    def _answered(self, process: _Process, answer: Answer | None) -> None:
        if answer is None:
            with self._lock:
                process.ready, self._false_starts = True, 0
                self._hand_out()
            return
        place, problems = answer
        chunk = process.places[place]
        first = (process.number * PLACES + place) * CHUNK
        inputs = self._rows[first : first + len(problems)].copy()
        with self._lock:
            del process.places[place]
            self._hand_out()  # before notifying the others, because the process is waiting
        for (_, future), problem, row in zip(chunk.images, problems, inputs, strict=True):
            if problem is None:
                future.set_result(row)
            else:
                future.set_exception(DecodeHere() if problem == LARGE else ImageProblem(problem))

    def _lost(self, process: _Process) -> None:
        """A process ended: request its images again, one by one."""
        process.connection.close()
        code = _ended(process.child)
        guilty: list[tuple[ImageEntry, Prepared]] = []
        with self._lock:
            if self._closed:
                return
            self._false_starts += not process.ready
            if self._false_starts > TRIES:
                raise ChildProcessError(f"exit code {code}")
            log.warning("A process that decodes images ended (exit code %s); another one is started.", code)
            suspect, *others = process.places.values() or [_Chunk([])]
            if len(suspect.images) == 1 and suspect.tries + 1 >= TRIES:
                guilty = suspect.images
            else:
                self._waiting.extendleft(_Chunk([each], suspect.tries + 1, begun=True) for each in suspect.images)
            self._waiting.extendleft(others)
            self._start(process.number)
        _answer_all(guilty, ImageProblem("ended the process that decoded it: it is damaged, or memory ran out"))


def _ended(child: subprocess.Popen[bytes]) -> int:
    """The exit code of a process that closed its connection."""
    try:
        return child.wait(1.0)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait(KILLED_SECONDS)


def _answer_all(images: Sequence[tuple[ImageEntry, Prepared]], error: Exception) -> None:
    for _, future in images:
        with suppress(InvalidStateError):  # it was cancelled
            future.set_exception(error)
