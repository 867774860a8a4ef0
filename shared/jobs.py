"""The wire types of long work: training a version, comparing two."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from shared.messages import Reply

JobKind = Literal["compare", "train", "challenge"]
JobState = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED: frozenset[JobState] = frozenset({"done", "failed", "cancelled"})


class JobProgress(Reply):
    """How far a job is: `done` of `total` steps, and in words what it does."""

    done: int = 0
    total: int = 0
    message: str = ""
    seconds_left: float | None = None
    metrics: dict[str, float] = Field(default_factory=dict)


class Job(Reply):
    """One piece of long work. It survives a kill, and goes on where it was."""

    id: str
    kind: JobKind
    state: JobState
    created_at: datetime
    ended_at: datetime | None = None
    attempts: int = 0  # times that it was begun
    request: dict[str, Any]
    progress: JobProgress = JobProgress()
    result: dict[str, Any] | None = None  # of one that is done
    error: str | None = None  # of one that failed


class JobList(Reply):
    """`GET /jobs`: newest first."""

    jobs: list[Job]
