"""Long work next to the loop: one job at a time, each in its own process, so that labeling is not slowed down.

A job is a folder with its request, the images it may read, its progress and its result. Its process runs at the lowest
priority, is halted while the loop learns or is paused (SIGSTOP works at once, even within a batch), and ends when the
trainer ends, halted or not. A process on a GPU is ended if it is halted for long, because it would keep the GPU's
memory. If the trainer or the process is killed, the job starts again and continues from its checkpoint. A job fails
after its process ended three times without a reason. This module does not know what jobs do; `trainer.jobs.worker`
does.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import ValidationError

from shared.figures import choice
from shared.processes import child_environment
from shared.settings.services import TrainerSettings
from shared.storage.disk_errors import Disk, kind_of
from shared.storage.whole_files import write_whole
from shared.wire.jobs import ENDED, Job, JobKind, JobProgress
from trainer.gpu import memory as gpu
from trainer.work.worker_start import WorkerStart

logger = logging.getLogger(__name__)

ATTEMPTS = 3
MOST = 200  # jobs remembered; the oldest finished ones are dropped
LOOK_SECONDS = 0.3
HALTED_SECONDS = 60.0
"""Time after which a halted process gives its GPU's memory back. It then repeats a part of an epoch."""
END_SECONDS = 5.0  # how long to wait for the end of a killed process
REFUSED = 3  # exit code of a worker that wrote a reason to error.json
NO_ROOM = 4  # exit code of a worker that the disk stopped
TRAINER = "JOB_OF_TRAINER"  # environment variable with the process id of the trainer
CANCELLED = frozenset({"cancelled"})


class UnknownJob(KeyError):  # noqa: N818 - an answer
    """There is no job with that id. The second argument lists the existing ids."""

    def __str__(self) -> str:
        return f"There is no job {self.args[0]!r}. {choice(self.args[1])}"


class NotNow(Exception):  # noqa: N818 - an answer
    """The result cannot be used because the trainer is stopping; this happens again at the next start."""


class Outdated(Exception):  # noqa: N818 - an answer
    """The result is about what no longer exists. That is nobody's fault, so the job counts as cancelled."""


class Jobs:
    """The jobs under `folder`; the last `keep` are remembered."""

    def __init__(self, folder: Path, settings: TrainerSettings, *, keep: int = MOST, disk: Disk | None = None) -> None:
        self.folder = folder
        self._keep = keep
        self._disk = disk or Disk(folder)
        self._disk.on_recovery(self._wake)
        self._settings = settings
        self._on_done: Callable[[Job], None] = lambda _: None
        self._lock = threading.RLock()
        self._news = threading.Condition(self._lock)
        self._closing = False
        self._process: subprocess.Popen[bytes] | None = None
        self._running: str | None = None
        self._start: WorkerStart | None = None  # of the running process
        self._halting: set[str] = set()  # reasons to halt the running process
        self._halted_at = 0.0
        self._ended_halted = False  # the process was ended while halted, and starts again afterwards
        self._parked = False
        folder.mkdir(parents=True, exist_ok=True)
        for torn in folder.glob(".*"):
            shutil.rmtree(torn, ignore_errors=True)
        self._jobs = {job.id: job for job in sorted(self._read(), key=lambda job: job.created_at)}
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)

    def start(self, on_done: Callable[[Job], None] = lambda _: None) -> None:
        """Start the thread, which continues unfinished jobs. `on_done` is called with each successful job before it
        counts as done. It may raise NotNow and Outdated.
        """
        self._on_done = on_done
        self._thread.start()

    def close(self) -> None:
        """End the running process; its job continues at the next start."""
        with self._news:
            self._closing = True
            self._news.notify_all()
        _end(self._process)
        if self._thread.is_alive():
            self._thread.join(2 * END_SECONDS)

    def submit(self, kind: JobKind, request: Mapping[str, Any], images: Iterable[Mapping[str, Any]]) -> Job:
        """Add a job to the queue; it is on disk on return. Its worker reads `images`."""
        return self._add(_new(kind, request), images)

    def remember(self, kind: JobKind, request: Mapping[str, Any], result: Mapping[str, Any]) -> Job:
        """Record a job that needed no process, so that its result is listed with the others."""
        job = _new(kind, request).model_copy(update={"result": dict(result), "attempts": 1})
        self._on_done(job)
        return self._add(job.model_copy(update={"state": "done", "ended_at": datetime.now(UTC)}), [])

    def list(self) -> list[Job]:
        """All jobs, newest first."""
        with self._lock:
            return [self._seen(job) for job in reversed(self._jobs.values())]

    def get(self, job_id: str) -> Job:
        """One job with its progress. Raises UnknownJob."""
        with self._lock:
            if job_id not in self._jobs:
                raise UnknownJob(job_id, [*reversed(self._jobs)])
            return self._seen(self._jobs[job_id])

    @property
    def busy(self) -> bool:
        """Whether any job is running or queued."""
        with self._lock:
            return any(job.state not in ENDED for job in self._jobs.values())

    @property
    def mark(self) -> str:
        """Changes when any job changes or progresses."""
        with self._lock:
            jobs = [self._seen(job) if job.state not in ENDED else job for job in self._jobs.values()]
        told = "".join(f"{job.id}{job.state}{job.progress.model_dump_json()}" for job in jobs)
        return blake2b(told.encode(), digest_size=8).hexdigest()

    def cancel(self, job_id: str) -> Job:
        """Stop a job; its checkpoint stays, so that it can be resumed. Raises UnknownJob."""
        process = None
        with self._news:
            if self.get(job_id).state not in ENDED:
                self._set(job_id, state="cancelled", ended_at=datetime.now(UTC))
                process = self._process if self._running == job_id else None
        _end(process)  # without the lock, so that pausing and incoming labels do not wait for it
        return self.get(job_id)

    def resume(self, job_id: str) -> Job:
        """Continue a job that failed or was cancelled. Raises UnknownJob, ValueError for one that is done."""
        with self._news:
            job = self.get(job_id)
            if job.state == "done":
                raise ValueError(f"Job {job_id} is done.")
            if job.state in ENDED:
                self._set(job_id, state="queued", ended_at=None, error=None, attempts=0)
                self._news.notify_all()
            return self.get(job_id)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Halt the running process within the block; it loses nothing."""
        self._halt("round", True)
        try:
            yield
        finally:
            self._halt("round", False)

    def rest(self, wanted: bool) -> None:
        """Halt the running process until `rest(False)`."""
        self._halt("rest", wanted)

    def give_way(self, wanted: bool) -> None:
        """Halt the running process while somebody labels, until `give_way(False)`."""
        self._halt("labeling", wanted)

    def park(self, wanted: bool) -> None:
        """End the running process, which frees its memory, and start none until `park(False)`. Its job then continues
        from its checkpoint.
        """
        process = None
        with self._news:
            if self._parked != wanted:
                self._parked = wanted
                process = self._process if wanted else None
                self._news.notify_all()
        _end(process)

    def _halt(self, why: str, wanted: bool) -> None:
        with self._lock:
            before = bool(self._halting)
            (self._halting.add if wanted else self._halting.discard)(why)
            if bool(self._halting) != before:
                self._halted_at = time.monotonic()
                self._signal(signal.SIGSTOP if wanted else signal.SIGCONT)
                self._news.notify_all()

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._closing or self._next() is not None)
                if self._closing:
                    return
                job = self._next()
                assert job is not None  # noqa: S101 - that is what was waited for
                try:
                    self._begin(job)
                except OSError as error:
                    if self._disk.notice(error) is None:  # such as too many processes: this job fails, others go on
                        logger.exception("Job %s cannot be started", job.id)
                        why = f"Its process cannot be started: {error}."
                        self._set(job.id, unless=CANCELLED, state="failed", ended_at=datetime.now(UTC), error=why)
                    continue
            process = self._process
            assert process is not None  # noqa: S101 - just begun
            while process.poll() is None:
                with self._news:
                    self._news.wait_for(lambda: self._closing, LOOK_SECONDS)
                    long = bool(self._halting) and time.monotonic() - self._halted_at > HALTED_SECONDS
                    self._ended_halted = long and gpu.is_used()
                    if self._start is not None:
                        self._start.told(self._progress(job).message, self._halting)
                if self._ended_halted:
                    _end(process)
            with self._lock:
                self._process, self._running = None, None
            while not self._closing:
                try:
                    self._conclude(job.id, process.returncode)
                    break
                except Exception as error:  # keep the result until the disk can store it
                    if self._disk.notice(error) is None:
                        raise
                    with self._news:
                        self._news.wait_for(lambda: self._closing or self._disk.trouble is None)

    def _wake(self) -> None:
        with self._news:
            self._news.notify_all()

    def _next(self) -> Job | None:
        if self._parked or (self._ended_halted and self._halting) or self._disk.trouble is not None:
            return None
        return next((job for job in self._jobs.values() if job.state in ("queued", "running")), None)

    def _begin(self, job: Job) -> None:
        self._set(job.id, state="running", attempts=job.attempts + 1)
        self._complete_settings(self.folder / job.id / "settings.json")
        (self.folder / job.id / "progress.json").unlink(missing_ok=True)  # of an earlier process
        self._process = start_worker(self.folder / job.id, child_environment())
        self._start = WorkerStart(self.folder, job.kind, self._process.pid)
        self._running, self._ended_halted = job.id, False
        if self._halting:
            self._signal(signal.SIGSTOP)

    def _conclude(self, job_id: str, code: int) -> None:
        job, now = self._jobs.get(job_id), datetime.now(UTC)
        if job is None or job.state != "running":  # it was cancelled meanwhile
            return
        folder = self.folder / job_id
        try:
            if code == 0:
                result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
                done = job.model_copy(update={"result": result})
                self._on_done(done)
                self._set(job_id, unless=CANCELLED, state="done", ended_at=now, result=done.result)
                for name in ("checkpoint.safetensors", "images.jsonl"):  # large, and only for a job that continues
                    (folder / name).unlink(missing_ok=True)
                return
            if code == REFUSED:
                error = str(json.loads((folder / "error.json").read_text(encoding="utf-8"))["error"])
            elif self._parked or self._ended_halted or code == NO_ROOM:
                if code == NO_ROOM:
                    logger.warning("Job %s is waiting until the disk is writable again", job_id)
                self._set(job_id, unless=CANCELLED, state="queued", attempts=job.attempts - 1)
                return
            elif job.attempts < ATTEMPTS:
                logger.warning("Job %s ended (exit code %s) and is started again", job_id, code)
                self._set(job_id, unless=CANCELLED, state="queued")
                return
            else:
                error = (
                    f"Its process ended {job.attempts} times without a reason (exit code {code}). It may have died "
                    f"because memory ran out. See {folder / 'log.txt'}."
                )
        except NotNow:
            return
        except Outdated as reason:
            logger.info("Job %s is dropped: %s", job_id, reason)
            self._set(job_id, state="cancelled", ended_at=now)
            return
        except Exception as problem:  # an error in what follows must not end this thread
            if kind_of(problem) is not None:
                raise
            logger.exception("Job %s", job_id)
            error = str(problem)
        self._set(job_id, unless=CANCELLED, state="failed", ended_at=now, error=error)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    # ------------------------------------------------------------ files

    def _add(self, job: Job, images: Iterable[Mapping[str, Any]]) -> Job:
        partial = self.folder / f".{job.id}"
        partial.mkdir()
        write_whole(partial / "job.json", job.model_dump_json(indent=2).encode())
        write_whole(partial / "images.jsonl", "".join(f"{json.dumps(dict(each))}\n" for each in images).encode())
        write_whole(partial / "settings.json", self._settings.model_dump_json().encode())
        partial.rename(self.folder / job.id)
        with self._news:
            self._jobs[job.id] = job
            self._forget()
            self._news.notify_all()
        return job

    def _complete_settings(self, path: Path) -> None:
        """Give a job of an older version the settings that it does not know, and drop those that are gone."""
        try:
            asked = json.loads(path.read_bytes())
        except (FileNotFoundError, ValueError):
            return  # its process fails, and says why in its log
        now = self._settings.model_dump(mode="json")
        if asked.keys() != now.keys():
            write_whole(path, json.dumps({name: asked.get(name, value) for name, value in now.items()}).encode())

    def _set(self, job_id: str, *, unless: frozenset[str] = frozenset(), **changes: Any) -> None:
        with self._lock:
            job = self._jobs[job_id].model_copy(update=changes)
            if self._jobs[job_id].state not in unless:
                write_whole(self.folder / job_id / "job.json", job.model_dump_json(indent=2).encode())
                self._jobs[job_id] = job

    def _seen(self, job: Job) -> Job:
        """The job with its current progress."""
        progress = self._progress(job)
        if job.id == self._running and self._start is not None:
            said = self._start.in_words(progress.message, self._halting)
            progress = progress.model_copy(update={"message": said})
        return job.model_copy(update={"progress": progress})

    def _progress(self, job: Job) -> JobProgress:
        """What the process of the job writes."""
        try:
            return JobProgress.model_validate_json((self.folder / job.id / "progress.json").read_bytes())
        except (OSError, ValidationError):
            return job.progress

    def _read(self) -> Iterator[Job]:
        for path in self.folder.glob("*/job.json"):
            try:
                yield Job.model_validate_json(path.read_bytes())
            except (OSError, ValidationError) as error:
                logger.warning("The job in %s cannot be read and is ignored: %s", path.parent, error)

    def _forget(self) -> None:
        ended = [job.id for job in self._jobs.values() if job.state in ENDED]
        for job_id in ended[: max(len(self._jobs) - self._keep, 0)]:
            del self._jobs[job_id]
            shutil.rmtree(self.folder / job_id, ignore_errors=True)


def _end(process: subprocess.Popen[bytes] | None) -> None:
    """Kill a process and wait for its end. On a busy machine it may take longer to free its memory: it does no more."""
    if process is None or process.poll() is not None:
        return
    process.kill()  # checkpoints are always whole
    with suppress(subprocess.TimeoutExpired):
        process.wait(END_SECONDS)


def start_worker(folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start the process of the job in `folder`; its output goes to log.txt there."""
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-m", "trainer.jobs.worker", str(folder)],
            env={**environment, TRAINER: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _new(kind: JobKind, request: Mapping[str, Any]) -> Job:
    now = datetime.now(UTC)
    name = f"{now:%Y%m%dT%H%M%S}-{uuid4().hex[:8]}"
    return Job(id=name, kind=kind, state="queued", created_at=now, request=dict(request))
