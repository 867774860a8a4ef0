"""Long-running jobs, and comparisons of two versions on the same images."""

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
    """The progress of a job: `done` of `total` steps, and the current step in words."""

    done: int = 0
    total: int = 0
    message: str = ""
    seconds_left: float | None = None
    metrics: dict[str, float] = Field(default_factory=dict)


class Job(Reply):
    """One long task. It survives a kill and continues where it stopped."""

    id: str
    kind: JobKind
    state: JobState
    created_at: datetime
    ended_at: datetime | None = None
    attempts: int = 0  # number of starts
    request: dict[str, Any]
    progress: JobProgress = JobProgress()
    result: dict[str, Any] | None = None  # once done
    error: str | None = None  # if it failed


class JobList(Reply):
    """`GET /jobs`: newest first."""

    jobs: list[Job]


Metric = Literal[
    "accuracy",
    "macro_f1",
    "micro_f1",
    "auc_pr",
    "map_50",
    "map_50_95",
    "log_loss",
    "calibration_error",
    "latency_ms",
    "bytes",
]
LESS_IS_BETTER: frozenset[Metric] = frozenset({"log_loss", "calibration_error", "latency_ms", "bytes"})
Decision = Literal["update_model", "discard"]
VersionName = Annotated[str, Field(min_length=1, max_length=100)]


class Criteria(Message):
    """The criteria by which a candidate counts as better.

    A check requires that the candidate gains at least `min_delta` in a metric (or loses that much, if less is better);
    by default, an equal value passes. `rule` says how many checks must pass: `all`, `any`, or a share of them. With
    `significant`, the gain in accuracy must be significant by McNemar's test (p < 0.05). `recorded` compares the
    metrics stored when the versions were saved, without running either.

    Detectors are compared by `map_50` by default. For them, `auc_pr` is the mean average precision at `iou_threshold`
    (default: the setting). Multi-label versions are compared by `macro_f1`; for them, `accuracy` is the exact match.
    For both, a gain is significant if its 95 % bootstrap interval is above 0.
    """

    split: Literal["test", "validation"] = "test"
    min_delta: dict[Metric, Annotated[float, Field(allow_inf_nan=False)]] = Field(
        default={"accuracy": 0.0}, min_length=1
    )
    rule: Literal["all", "any"] | Annotated[float, Field(gt=0, le=1)] = "all"
    significant: bool = False
    recorded: bool = False
    iou_threshold: Annotated[float, Field(ge=0.1, le=0.95)] | None = None

    @model_validator(mode="after")
    def _pairable(self) -> Self:
        if self.recorded and self.significant:
            raise ValueError("recorded metrics may come from different images, so a paired test is not possible")
        return self


class ComparisonRequest(Criteria):
    """`POST /models/compare`: is `candidate` better than `base`? `promote` promotes it if so.

    The base `now` is the current model, which is saved as a version for the comparison.
    """

    base: VersionName
    candidate: VersionName
    promote: bool = False

    @model_validator(mode="after")
    def _two(self) -> Self:
        if self.base == self.candidate:
            raise ValueError("base and candidate are the same version")
        return self


class Curve(Reply):
    """The precision-recall curve of one class against all others; `name` is None for the mean over classes."""

    label: int | None = None
    name: str | None = None
    auc: float | None  # average precision; None if no image has the class
    support: int
    recall: list[float] = Field(default_factory=list)  # ascending
    precision: list[float] = Field(default_factory=list)


class Scores(Reply):
    """The metrics of one version. None means: not measured."""

    version: str
    accuracy: Interval | None = None  # multi-label: share of images with all classes right
    macro_f1: float | None = None
    micro_f1: Interval | None = None  # multi-label: F1 of all yes and no answers together
    auc_pr: float | None = None  # mean over classes
    map_50: Interval | None = None  # detector: mean average precision at IoU 0.5
    map_50_95: Interval | None = None  # detector: the same, over IoU 0.5, 0.55 … 0.95
    log_loss: float | None = None
    calibration_error: float | None = None
    latency_ms: float | None = None  # median, one image at a time, without decoding it
    images_per_second: float | None = None  # in batches, without decoding the images
    bytes: int
    classes: list[ClassMetrics] = Field(default_factory=list)
    curves: list[Curve] = Field(default_factory=list)  # mean first
    calibration: list[CalibrationBin] = Field(default_factory=list)


class Pairs(Reply):
    """Both versions on the same images. `p`: McNemar's exact test. `gain`: gain in accuracy, with its 95 % bootstrap
    interval.
    """

    both_right: int
    only_base: int
    only_candidate: int
    both_wrong: int
    p: float
    gain: Interval


class Check(Reply):
    """One metric. A positive `gain` favours the candidate. None means that one side was not measured; the check then
    fails.
    """

    metric: Metric
    base: float | None
    candidate: float | None
    gain: float | None
    min_delta: float
    passed: bool


class Difference(Reply):
    """A train image that the versions classify differently. `label` is the given class, or None.

    Multi-label: `label` has all classes of the image, separated by `;`, and there is no confidence.
    """

    image_id: int
    label: str | None
    base: str
    base_confidence: float | None = None
    candidate: str
    candidate_confidence: float | None = None
    learned_by: list[str] = Field(default_factory=list)  # the versions trained on this image


class Comparison(Reply):
    """The result. Differing images are train images; held-out images are never shown."""

    base: Scores
    candidate: Scores
    split: str
    images: int  # images on which both were measured
    left_out: dict[str, int] = Field(default_factory=dict)  # reason → images
    pairs: Pairs | None = None
    map_gain: Interval | None = None  # detectors: gain in `map_50`, with its 95 % bootstrap interval
    macro_f1_gain: Interval | None = None  # multi-label: gain in `macro_f1`, likewise
    checks: list[Check]
    rule: Literal["all", "any"] | float
    decision: Decision
    winner: str
    reason: str
    looked_at: int = 0  # train images predicted by both
    differing: list[Difference] = Field(default_factory=list)
    recorded: bool = False
    created_at: datetime
