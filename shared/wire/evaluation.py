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
    unlabeled: Count = 0  # unlabeled test images whose confidence made the interval narrower


class ClassMetrics(Measured):
    """One class on the test sample. Precision is None if it is never predicted, recall if it has no images.

    In a multi-label project, only test images count whose answer says yes or no to the class. In a detection project,
    boxes are counted; precision, recall and F1 are those of suggested boxes.
    """

    label: Id
    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: Count  # test images of the class; detection: its boxes in the test images
    average_precision: Interval | None = None  # multi-label, detection; None if no test image has the class
    threshold: float | None = None  # multi-label: minimum probability to predict the class; detection: minimum worth
    learned: bool = True  # False while train labels lack a yes or a no (multi-label) or a box (detection)


class ClassPair(Measured):
    """Multi-label: two classes, on the test images whose answers say yes or no to both. Detection: boxes of the class
    `label` where a box of the class `other` is suggested; `images` and `among` then count boxes.
    """

    label: Id
    name: str
    other: Id
    other_name: str
    images: Count  # how many show this pair …
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

    agreement: float | None = None  # mean kappa of the last three models, a fixed number of labels apart
    stable: bool = False  # the agreement is so high that more labels will change little
    slope: float | None = None  # recent gain in accuracy per hundred labels
    flat: bool = False  # the slope is below half a point
    forecast: list[Expected] = Field(default_factory=list)
    needed: Needed | None = None


class RandomEstimate(Measured):
    """Accuracy that `labels` random labels would have given, estimated within the test sample; for display only.

    `chosen` is the accuracy of equally many labels in the order asked, on the same sample; only one estimate has it.
    Multi-label: both are the macro F1.
    """

    labels: Count
    accuracy: Interval
    chosen: Interval | None = None


class Evaluation(Measured):
    """The quality of a model, measured on the test images labeled so far. No model learns from them."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    id: Uuid
    log_id: Uuid
    acked_seq: Id
    model_version: str
    round: Count
    labels: Count  # on which the model was trained
    spent: Count  # all labels given, including test labels
    created_at: Time
    accuracy: Interval  # multi-label: same as `exact_match`; n = 0: the task has no accuracy
    at_random: bool = True  # False: maybe no random test sample, so `accuracy` holds only for these images
    active: bool = False  # hard test images were asked more often: `accuracy` is weighted, other metrics are missing
    metrics: dict[str, Interval] = Field(default_factory=dict)  # further metrics of the task
    macro_f1: float | None
    macro_f1_low: float | None = None  # its 95 % bootstrap interval
    macro_f1_high: float | None = None
    micro_f1: Interval | None = None  # multi-label: F1 of all yes and no answers together
    mean_average_precision: Interval | None = None  # multi-label: mean over the classes that test images have
    exact_match: Interval | None = None  # multi-label: share of images with all classes right
    map_50: Interval | None = None  # detection: mean average precision over the classes at IoU 0.5
    map_50_95: Interval | None = None  # detection: the same, over IoU 0.5, 0.55 … 0.95
    iou_threshold: float | None = None  # detection: minimum IoU of a found box, for the metrics per class
    log_loss: float | None
    classes: list[ClassMetrics] = Field(default_factory=list)
    confusion: list[list[Count]] = Field(default_factory=list)  # rows: truth, columns: prediction, order of `classes`
    together: list[ClassPair] = Field(default_factory=list)  # multi-label: classes on the same image, most images first
    confused: list[ClassPair] = Field(default_factory=list)  # `label` missed and `other` predicted wrongly
    final: bool = False  # made when the trainer stopped
    advice: Advice | None = None
    random_baseline: list[RandomEstimate] = Field(default_factory=list)  # fewest labels first; may be empty
    calibration: list[CalibrationBin] = Field(default_factory=list)  # least confident first
    calibration_error: float | None = None  # ECE: mean distance between confidence and accuracy over the images
    timings: dict[str, float] = Field(default_factory=dict)  # milliseconds per step of the round so far

    @property
    def test_labels(self) -> int:
        """Labeled test images that it was measured on."""
        several = (self.micro_f1, self.mean_average_precision, self.exact_match, self.map_50, self.map_50_95)
        known = [each for each in several if each is not None]
        return max(each.n for each in (self.accuracy, *known, *self.metrics.values()))


class Progress(Reply):
    """`GET /api/progress`: all data of the progress page's curve."""

    evaluations: list[Evaluation]
    labels_per_class: dict[str, int]
    labels_per_minute: float
    labels: int


class Stretch(Reply):
    """`GET /api/history`: a period of labeling, and how often each class was given during it."""

    labels: int  # total number given by its end
    until: datetime
    classes: dict[str, int]
