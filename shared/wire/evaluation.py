"""Evaluations: metrics with intervals, advice on more labeling, and the progress page."""

from __future__ import annotations

from datetime import datetime

from pydantic import ConfigDict, Field

from shared.wire.fields import Count, Id, Reply, Time, Uuid


class Measured(Reply):
    """A part of an evaluation. What is kept of it must be readable again: its numbers are checked on the way in."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class Interval(Measured):
    """A proportion with its 95 % Wilson interval, and the number of images it was measured on."""

    value: float
    low: float
    high: float
    n: Count


class ClassMetrics(Measured):
    """One class on the test sample. Precision is None while nothing is predicted as it, recall while it has none."""

    label: Id
    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: Count


class CalibrationBin(Measured):
    """Test images on which the model was about equally sure, and how often it was right; empty bins are left out."""

    low: float  # edges of the bin: of the probability given to the class predicted
    high: float
    confidence: float  # mean of that probability
    accuracy: Interval


class Expected(Measured):
    """Accuracy expected once `labels` are trained on, with a 95 % band."""

    labels: Count
    accuracy: float
    low: float
    high: float


class Needed(Measured):
    """About `labels` more to train on, `low` to `high`, reach accuracy `goal`; None is more than can be said."""

    goal: float
    labels: Count | None
    low: Count
    high: Count | None


class Advice(Measured):
    """Whether more labels are worth it. Each part is empty while there is no ground for it; nothing stops by it."""

    agreement: float | None = None  # mean kappa of the last three models, a fixed number of labels apart
    stable: bool = False  # they agree so well that more labels change little
    slope: float | None = None  # accuracy gained per hundred labels, of late
    flat: bool = False  # that is less than half a point
    forecast: list[Expected] = Field(default_factory=list)
    needed: Needed | None = None


class RandomEstimate(Measured):
    """Accuracy that `labels` random labels would have given: an estimate made inside the test sample, for display.

    `chosen` is what the first as many labels that were asked for give on that sample; one estimate of a list has it.
    """

    labels: Count
    accuracy: Interval
    chosen: Interval | None = None


class Evaluation(Measured):
    """How good a model is on the test images labeled so far, which nothing learns from."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    id: Uuid
    log_id: Uuid
    acked_seq: Id
    model_version: str
    round: Count
    labels: Count  # that the model was trained on
    spent: Count  # all labels given, test ones included
    created_at: Time
    accuracy: Interval
    macro_f1: float | None
    macro_f1_low: float | None = None  # its 95 % bootstrap interval
    macro_f1_high: float | None = None
    log_loss: float | None
    classes: list[ClassMetrics] = Field(default_factory=list)
    confusion: list[list[Count]] = Field(default_factory=list)  # rows: truth, columns: prediction, order of `classes`
    final: bool = False  # made by a stop
    advice: Advice | None = None
    random_baseline: list[RandomEstimate] = Field(default_factory=list)  # fewest labels first; empty: too few to say
    calibration: list[CalibrationBin] = Field(default_factory=list)  # the least sure first
    calibration_error: float | None = None  # ECE: mean distance of confidence and accuracy over the images
    timings: dict[str, float] = Field(default_factory=dict)  # milliseconds of the round's steps so far, this one last


class Progress(Reply):
    """`GET /api/progress`: everything a curve needs."""

    evaluations: list[Evaluation]
    labels_per_class: dict[str, int]
    labels_per_minute: float
    labels: int


class Stretch(Reply):
    """`GET /api/history`: a stretch of labeling, with how often each class was given in it."""

    labels: int  # given up to its end
    until: datetime
    classes: dict[str, int]
