"""Evaluations: metrics with intervals, advice on more labeling, and the progress page."""

from __future__ import annotations

from datetime import datetime

from pydantic import ConfigDict, Field

from shared.wire.fields import Count, Id, Reply, Time, Uuid


class Measured(Reply):
    """Part of an evaluation. Stored evaluations must be readable later, so numbers are checked when created."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class Interval(Measured):
    """A metric with its 95 % interval (Wilson's for a proportion), and the number of images it was measured on."""

    value: float
    low: float
    high: float
    n: Count
    unlabeled: Count = 0  # test images without a label on which the model's confidence made it more precise


class ClassMetrics(Measured):
    """One class on the test sample. Precision is None if it is never predicted, recall if it has no images.

    In a multi-label project, only test images count whose answer says yes or no for the class. In a detection project,
    boxes are counted: precision, recall and F1 are those of suggested boxes.
    """

    label: Id
    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: Count  # test images of the class; detection: its boxes in the test images
    average_precision: Interval | None = None  # multi-label, detection; None if no test image has the class
    threshold: float | None = None  # multi-label, detection: the class is predicted from this probability on
    learned: bool = True  # multi-label: False while the train labels lack a yes or a no for the class; detection: a box


class ClassPair(Measured):
    """Multi-label: two classes on the test images whose answers say yes or no for both. Detection: boxes of the class
    `label` at whose place a box of the class `other` is suggested; `images` and `among` are then numbers of boxes."""

    label: Id
    name: str
    other: Id
    other_name: str
    images: Count  # how many it happened on …
    among: Count  # … of the test images that have the class `label`


class CalibrationBin(Measured):
    """Test images with about the same confidence, and how often the model was right; empty bins are left out."""

    low: float  # edges of the bin, in predicted probability
    high: float
    confidence: float  # mean of that probability
    accuracy: Interval


class Expected(Measured):
    """Expected accuracy after training on `labels` labels, with a 95 % band."""

    labels: Count
    accuracy: float
    low: float
    high: float


class Needed(Measured):
    """How many more labels (`low` to `high`) reach accuracy `goal`; None if this cannot be estimated."""

    goal: float
    labels: Count | None
    low: Count
    high: Count | None


class Advice(Measured):
    """Whether more labels are worth it. Each field is empty until it can be estimated; nothing stops because of it."""

    agreement: float | None = None  # mean kappa between the last three models, a fixed number of labels apart
    stable: bool = False  # their agreement is so high that more labels change little
    slope: float | None = None  # recent gain in accuracy per hundred labels
    flat: bool = False  # the slope is below half a point
    forecast: list[Expected] = Field(default_factory=list)
    needed: Needed | None = None


class RandomEstimate(Measured):
    """Accuracy that `labels` random labels would have given: an estimate within the test sample, for display only.

    `chosen` is the accuracy on that sample of as many labels in the order asked; only one estimate of a list has it.
    Multi-label: both are the macro F1.
    """

    labels: Count
    accuracy: Interval
    chosen: Interval | None = None


class Evaluation(Measured):
    """How good a model is on the test images labeled so far, from which no model learns."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    id: Uuid
    log_id: Uuid
    acked_seq: Id
    model_version: str
    round: Count
    labels: Count  # on which the model was trained
    spent: Count  # all labels given, including test labels
    created_at: Time
    accuracy: Interval  # multi-label: as `exact_match`; measured on 0 images: the task has no accuracy
    at_random: bool = True  # False: the labeled test images may be no random sample, so `accuracy` is of them alone
    active: bool = False  # hard test images were asked more often: `accuracy` is weighed, other figures are left out
    metrics: dict[str, Interval] = Field(default_factory=dict)  # what a task measures beside the fields here
    macro_f1: float | None
    macro_f1_low: float | None = None  # its 95 % bootstrap interval
    macro_f1_high: float | None = None
    micro_f1: Interval | None = None  # multi-label: F1 of all yes and no answers together
    mean_average_precision: Interval | None = None  # multi-label: mean over the classes that test images have
    exact_match: Interval | None = None  # multi-label: share of images with all classes right
    map_50: Interval | None = None  # detection: mean average precision over the classes at IoU 0.5
    map_50_95: Interval | None = None  # detection: the same, over IoU 0.5, 0.55 … 0.95
    iou_threshold: float | None = None  # detection: from which IoU on a box counts as found, in the figures of classes
    log_loss: float | None
    classes: list[ClassMetrics] = Field(default_factory=list)
    confusion: list[list[Count]] = Field(default_factory=list)  # rows: truth, columns: prediction, order of `classes`
    together: list[ClassPair] = Field(default_factory=list)  # multi-label: images that have both, most images first
    confused: list[ClassPair] = Field(default_factory=list)  # `label` missed and `other` predicted wrongly
    final: bool = False  # made when the trainer stopped
    advice: Advice | None = None
    random_baseline: list[RandomEstimate] = Field(default_factory=list)  # fewest labels first; empty: too few labels
    calibration: list[CalibrationBin] = Field(default_factory=list)  # least confident first
    calibration_error: float | None = None  # ECE: mean distance between confidence and accuracy over the images
    timings: dict[str, float] = Field(default_factory=dict)  # milliseconds of the round's steps so far, this step last

    @property
    def test_labels(self) -> int:
        """Labeled test images that it was measured on."""
        several = (self.micro_f1, self.mean_average_precision, self.exact_match, self.map_50, self.map_50_95)
        known = [each for each in several if each is not None]
        return max(each.n for each in (self.accuracy, *known, *self.metrics.values()))


class Progress(Reply):
    """`GET /api/progress`: everything that the curve needs."""

    evaluations: list[Evaluation]
    labels_per_class: dict[str, int]
    labels_per_minute: float
    labels: int


class Stretch(Reply):
    """`GET /api/history`: a period of labeling, and how often each class was given in it."""

    labels: int  # given until its end
    until: datetime
    classes: dict[str, int]
