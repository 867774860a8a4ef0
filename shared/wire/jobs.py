"""Long-running jobs, and comparing two versions on the same images."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from shared.wire.evaluation import CalibrationBin, ClassMetrics, Interval
from shared.wire.fields import Message, Reply

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


Metric = Literal["accuracy", "macro_f1", "auc_pr", "log_loss", "calibration_error", "latency_ms", "bytes"]
LESS_IS_BETTER: frozenset[Metric] = frozenset({"log_loss", "calibration_error", "latency_ms", "bytes"})
Decision = Literal["update_model", "discard"]
VersionName = Annotated[str, Field(min_length=1, max_length=100)]


class Criteria(Message):
    """When a candidate counts as better.

    A check asks that the candidate gains at least `min_delta` in a metric (where less is better: that it loses that
    much), so that as good is good enough by default. `rule` says how many checks must pass: `all`, `any`, or a share of
    them. With `significant`, McNemar's test must not put the gain in accuracy down to chance (p < 0.05). `recorded`
    compares what both wrote down when they were saved, without running either.
    """

    split: Literal["test", "validation"] = "test"
    min_delta: dict[Metric, Annotated[float, Field(allow_inf_nan=False)]] = Field(
        default={"accuracy": 0.0}, min_length=1
    )
    rule: Literal["all", "any"] | Annotated[float, Field(gt=0, le=1)] = "all"
    significant: bool = False
    recorded: bool = False

    @model_validator(mode="after")
    def _pairable(self) -> Self:
        if self.recorded and self.significant:
            raise ValueError("what was recorded may be of different images, so that no test can pair them")
        return self


class ComparisonRequest(Criteria):
    """`POST /models/compare`: is `candidate` better than `base`? If so, `promote` promotes it."""

    base: VersionName
    candidate: VersionName
    promote: bool = False

    @model_validator(mode="after")
    def _two(self) -> Self:
        if self.base == self.candidate:
            raise ValueError("base and candidate are the same version")
        return self


class Curve(Reply):
    """Precision against recall of one class against all others; `name` is None for the mean over classes."""

    label: int | None = None
    name: str | None = None
    auc: float | None  # average precision; None where no image has the class
    support: int
    recall: list[float] = Field(default_factory=list)  # ascending
    precision: list[float] = Field(default_factory=list)


class Scores(Reply):
    """How one version did. What was not measured is None."""

    version: str
    accuracy: Interval | None = None
    macro_f1: float | None = None
    auc_pr: float | None = None  # mean over classes
    log_loss: float | None = None
    calibration_error: float | None = None
    latency_ms: float | None = None  # median, one image at a time, without opening it
    images_per_second: float | None = None  # in batches, without opening them
    bytes: int
    classes: list[ClassMetrics] = Field(default_factory=list)
    curves: list[Curve] = Field(default_factory=list)  # the mean first
    calibration: list[CalibrationBin] = Field(default_factory=list)


class Pairs(Reply):
    """The same images under both. `p` is McNemar's exact test; `gain` in accuracy with its 95 % bootstrap interval."""

    both_right: int
    only_base: int
    only_candidate: int
    both_wrong: int
    p: float
    gain: Interval


class Check(Reply):
    """One metric: `gain` counts for the candidate; None where one of the two was not measured, which fails."""

    metric: Metric
    base: float | None
    candidate: float | None
    gain: float | None
    min_delta: float
    passed: bool


class Difference(Reply):
    """A train image that the two versions take for different classes. `label` is the one given, None while none is."""

    image_id: int
    label: str | None
    base: str
    base_confidence: float
    candidate: str
    candidate_confidence: float
    learned_by: list[str] = Field(default_factory=list)  # versions that learned from this very image


class Comparison(Reply):
    """What came of it. Differing images are train images: those measured on are never shown."""

    base: Scores
    candidate: Scores
    split: str
    images: int  # that both were measured on
    left_out: dict[str, int] = Field(default_factory=dict)  # reason → images
    pairs: Pairs | None = None
    checks: list[Check]
    rule: Literal["all", "any"] | float
    decision: Decision
    winner: str
    reason: str
    looked_at: int = 0  # train images that both predicted
    differing: list[Difference] = Field(default_factory=list)
    recorded: bool = False
    created_at: datetime
